-- Who sees and writes the catalogue: everybody reads what is published, staff write.

-- Triggers derive ratings, stock rows and search documents from the catalogue as the owner.
create policy derive_read on public.products for select to current_user using (true);
create policy derive_ratings on public.products for update to current_user
  using (true) with check (true);
create policy derive_read on public.product_variants for select to current_user using (true);
create policy derive_read on public.product_attributes for select to current_user using (true);
create policy derive_read on public.product_attribute_values for select to current_user
  using (true);

create policy read_published on public.products for select to anon, authenticated
  using (state = 'published');
create policy write_staff on public.products for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.products to anon, authenticated;
grant delete on public.products to authenticated;
grant insert (id, slug, title, description, brand, language, category_id, state, tax_class),
    update (slug, title, description, brand, language, category_id, state, tax_class)
  on public.products to authenticated;

-- The policies of what belongs to a product ask for the product, whose own policy then decides.
create policy read_visible on public.product_variants for select to anon, authenticated
  using (archived_at is null and exists (select 1 from public.products p where p.id = product_id));
create policy write_staff on public.product_variants for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.product_variants to anon, authenticated;
grant delete on public.product_variants to authenticated;
grant insert (id, product_id, sku, title, options, price, currency, compare_at_price, barcode,
      weight_grams, position, archived_at),
    update (sku, title, options, price, currency, compare_at_price, barcode, weight_grams, position,
      archived_at)
  on public.product_variants to authenticated;

create policy read_visible on public.collection_products for select to anon, authenticated
  using (
    exists (select 1 from public.collections c where c.id = collection_id)
    and exists (select 1 from public.products p where p.id = product_id)
  );
create policy write_staff on public.collection_products for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.collection_products to anon, authenticated;
grant delete on public.collection_products to authenticated;
grant insert (collection_id, product_id, position), update (position)
  on public.collection_products to authenticated;

create policy read_visible on public.product_images for select to anon, authenticated
  using (exists (select 1 from public.products p where p.id = product_id));
create policy write_staff on public.product_images for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.product_images to anon, authenticated;
grant delete on public.product_images to authenticated;
grant insert (id, product_id, variant_id, url, alt, width, height, position),
    update (variant_id, url, alt, width, height, position)
  on public.product_images to authenticated;

create policy read_all on public.product_attributes for select to anon, authenticated using (true);
create policy write_staff on public.product_attributes for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.product_attributes to anon, authenticated;
grant delete on public.product_attributes to authenticated;
grant insert (id, code, name, kind, unit, filterable, searchable, position),
    update (code, name, kind, unit, filterable, searchable, position)
  on public.product_attributes to authenticated;

create policy read_visible on public.product_attribute_values for select to anon, authenticated
  using (exists (select 1 from public.products p where p.id = product_id));
create policy write_staff on public.product_attribute_values for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.product_attribute_values to anon, authenticated;
grant delete on public.product_attribute_values to authenticated;
grant insert (id, product_id, attribute_id, kind, text_value, number_value, boolean_value,
      date_value),
    update (text_value, number_value, boolean_value, date_value)
  on public.product_attribute_values to authenticated;

-- migrate:down
drop policy write_staff on public.product_attribute_values;
drop policy read_visible on public.product_attribute_values;
drop policy write_staff on public.product_attributes;
drop policy read_all on public.product_attributes;
drop policy write_staff on public.product_images;
drop policy read_visible on public.product_images;
drop policy write_staff on public.collection_products;
drop policy read_visible on public.collection_products;
drop policy write_staff on public.product_variants;
drop policy read_visible on public.product_variants;
drop policy write_staff on public.products;
drop policy read_published on public.products;
drop policy derive_read on public.product_attribute_values;
drop policy derive_read on public.product_attributes;
drop policy derive_read on public.product_variants;
drop policy derive_ratings on public.products;
drop policy derive_read on public.products;
revoke all on public.products, public.collection_products, public.product_variants,
    public.product_images, public.product_attributes, public.product_attribute_values
  from anon, authenticated;
