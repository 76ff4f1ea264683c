-- Whoever moves or renames a category, or changes what an attribute is for, writes anew what the
-- products below are found by. One that is filed there at the same moment is not among them and has
-- not seen the change either: so the two wait for one another.

create trigger categories_rename_alone before update of name on public.categories
  for each statement execute function private.lock_category_tree();

create function private.share_category_tree() returns trigger
language plpgsql set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('commerce.categories', 0));
  return null;
end
$$;
comment on function private.share_category_tree() is
  'Trigger before statement: lets any number file products while nobody shapes the tree.';
create trigger products_share_tree before insert or update of category_id on public.products
  for each statement execute function private.share_category_tree();

create function private.lock_attributes() returns trigger
language plpgsql set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('commerce.attributes', 0));
  return null;
end
$$;
comment on function private.lock_attributes() is
  'Trigger before statement: lets one transaction at a time change what attributes are for.';
create trigger product_attributes_change_alone
  before update of code, searchable, filterable on public.product_attributes
  for each statement execute function private.lock_attributes();

create function private.share_attributes() returns trigger
language plpgsql set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('commerce.attributes', 0));
  return null;
end
$$;
comment on function private.share_attributes() is
  'Trigger before statement: lets any number describe products while nobody changes attributes.';
create trigger attribute_values_share before insert or update on public.product_attribute_values
  for each statement execute function private.share_attributes();

-- migrate:down
drop trigger attribute_values_share on public.product_attribute_values;
drop function private.share_attributes();
drop trigger product_attributes_change_alone on public.product_attributes;
drop function private.lock_attributes();
drop trigger products_share_tree on public.products;
drop function private.share_category_tree();
drop trigger categories_rename_alone on public.categories;
