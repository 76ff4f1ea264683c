// What cannot be done is said with the codes and statuses that programs branch on.
import assert from "node:assert/strict";
import { customer, good, open, openFor, openService, refused } from "./visit.js";

const nobody = "00000000-0000-4000-8000-000000000000";
const stranger = open("products");
const ada = await customer();
const products = openFor(ada.users, "products");
const [{ id: product_id }] = good(await stranger.from("products").select("id").limit(1));
const review = (values) =>
  products.from("product_reviews").insert({ product_id, rating: 4, ...values }).select("id");

const cases = [
  ["PGRST205", 404, stranger.from("product").select("*")],
  ["42703", 400, stranger.from("products").select("price_tag")],
  ["22P02", 400, stranger.from("products").select("id").eq("id", "seven")],
  ["PGRST100", 400, stranger.from("products").select("id").filter("id", "same", 1)],
  ["PGRST200", 400, stranger.from("products").select("id, orders(*)")],
  ["PGRST108", 400, stranger.from("products").select("id").order("product_images(url)")],
  ["PGRST202", 404, stranger.rpc("no_such_function")],
  ["PGRST202", 404, stranger.rpc("add_up", { a: 1 })],
  ["PT402", 402, stranger.rpc("pay_first")],
  ["PGRST106", 406, stranger.schema("private").from("products").select("*")],
  ["PGRST103", 416, stranger.from("products").select("id", { count: "exact" }).range(900, 909)],
  ["PGRST204", 400, products.from("product_reviews").insert([{ product_id, stars: 5 }])],
  ["21000", 400, products.from("wishlists").delete()],
  ["21000", 400, products.from("wishlists").update({ note: "all" })],
  ["42501", 401, stranger.from("products").insert({ slug: "mine", title: "Mine" })],
  ["42501", 401, stranger.from("wishlists").select("*")],
  ["42501", 403, products.from("product_reviews").select("moderation_note")],
  ["23514", 400, review({ rating: 9 })],
  ["23502", 400, review({ rating: null })],
  ["42501", 403, review({ user_id: nobody })],
  ["42501", 403, review({ state: "approved" })],
  [
    "23503",
    409,
    openService("products")
      .from("product_variants")
      .insert({ product_id: nobody, sku: "ORPHAN", price: 1, currency: "EUR" }),
  ],
];
for (const [code, status, attempt] of cases) {
  const answer = await attempt;
  const error = refused(answer, code);
  assert.equal(answer.status, status, `${code}: ${error.message}`);
  assert.ok(error.message);
}

good(await review({}));
const twice = await review({});
refused(twice, "23505");
assert.equal(twice.status, 409);
assert.match(twice.error.message, /product_reviews_one_each/);
const misspelt = (await stranger.from("product").select("*")).error;
assert.equal(misspelt.message, "Could not find the table 'public.product' in the schema cache");
assert.equal(misspelt.hint, "Perhaps you meant the table 'public.products'");
const paid = (await stranger.rpc("pay_first")).error;
assert.deepEqual([paid.message, paid.details, paid.hint], [
  "Payment Required",
  "The quota is used up",
  "Upgrade the plan",
]);
