-- Who sees and writes reviews and votes; state, counters and verification are never the client's.

create policy derive_read on public.verified_purchases for select to current_user using (true);
create policy read_own on public.verified_purchases for select to authenticated
  using (user_id = (select auth.uid()));
grant select on public.verified_purchases to authenticated;

create policy derive_read on public.product_reviews for select to current_user using (true);
create policy derive_counters on public.product_reviews for update to current_user
  using (true) with check (true);
create policy read_approved on public.product_reviews for select to anon, authenticated
  using (state = 'approved');
create policy read_own on public.product_reviews for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_staff on public.product_reviews for select to authenticated
  using ((select private.is_staff()));
create policy insert_own on public.product_reviews for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and exists (select 1 from public.products p where p.id = product_id and p.state = 'published')
  );
create policy update_own on public.product_reviews for update to authenticated
  using (user_id = (select auth.uid()) and state in ('pending', 'approved'))
  with check (user_id = (select auth.uid()) and state in ('pending', 'approved'));
create policy delete_own on public.product_reviews for delete to authenticated
  using (user_id = (select auth.uid()));
grant select (id, product_id, user_id, author_name, rating, title, body, state, verified_purchase,
    helpful_count, unhelpful_count, created_at, updated_at)
  on public.product_reviews to anon, authenticated;
grant delete on public.product_reviews to authenticated;
grant insert (id, product_id, user_id, author_name, rating, title, body),
    update (author_name, rating, title, body)
  on public.product_reviews to authenticated;

create policy read_own on public.review_votes for select to authenticated
  using (user_id = (select auth.uid()));
create policy insert_own on public.review_votes for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and exists (
      select 1
      from public.product_reviews r
      where r.id = review_id
        and r.state = 'approved'
        and r.user_id <> (select auth.uid())
    )
  );
create policy update_own on public.review_votes for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy delete_own on public.review_votes for delete to authenticated
  using (user_id = (select auth.uid()));
grant select, delete on public.review_votes to authenticated;
grant insert (review_id, user_id, helpful), update (helpful)
  on public.review_votes to authenticated;

-- migrate:down
drop policy delete_own on public.review_votes;
drop policy update_own on public.review_votes;
drop policy insert_own on public.review_votes;
drop policy read_own on public.review_votes;
drop policy delete_own on public.product_reviews;
drop policy update_own on public.product_reviews;
drop policy insert_own on public.product_reviews;
drop policy read_staff on public.product_reviews;
drop policy read_own on public.product_reviews;
drop policy read_approved on public.product_reviews;
drop policy derive_counters on public.product_reviews;
drop policy derive_read on public.product_reviews;
drop policy read_own on public.verified_purchases;
drop policy derive_read on public.verified_purchases;
revoke all on public.verified_purchases, public.product_reviews, public.review_votes
  from anon, authenticated;
