-- Deleted products leave a tombstone, by which the other databases learn of it.

create trigger products_tombstone after delete on public.products
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');
create trigger product_variants_tombstone after delete on public.product_variants
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');
create trigger product_reviews_tombstone after delete on public.product_reviews
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');

-- migrate:down
drop trigger product_reviews_tombstone on public.product_reviews;
drop trigger product_variants_tombstone on public.product_variants;
drop trigger products_tombstone on public.products;
