// A stranger looks around the catalogue with the anon key: embedding, filters, pages, counts.
import assert from "node:assert/strict";
import { good, open, refused } from "./visit.js";

const products = open("products");
const ids = (rows) => rows.map((each) => each.id).sort();
const all = good(
  await products.from("products").select("id, slug, title, brand, category_id, rating_count"),
);
assert.equal(all.length, 200);

// What belongs together comes together.
const { slug } = all[0];
const product = good(
  await products
    .from("products")
    .select(
      `slug, shelf:categories(name, above:parent_id(name)), product_images(alt),
       product_variants(sku, price, stock(available)), collections(slug),
       product_attribute_values(text_value, product_attributes!inner(code))`,
    )
    .eq("slug", slug)
    .order("price", { referencedTable: "product_variants", ascending: false })
    .single(),
);
assert.ok(product.shelf.above.name);
assert.deepEqual(product.product_images, [{ alt: all[0].title }]);
assert.ok(product.product_variants.every((each) => each.stock.available >= 0));
const prices = product.product_variants.map((each) => each.price);
assert.deepEqual(prices, prices.toSorted((a, b) => b - a));

// Every filter finds what it says.
const brand = "Lumen & Daughters";
const cases = [
  [(q) => q.eq("brand", brand), (p) => p.brand === brand],
  [(q) => q.neq("brand", brand), (p) => p.brand !== brand],
  [(q) => q.gt("rating_count", 3), (p) => p.rating_count > 3],
  [(q) => q.gte("rating_count", 3), (p) => p.rating_count >= 3],
  [(q) => q.lt("rating_count", 3), (p) => p.rating_count < 3],
  [(q) => q.lte("rating_count", 3), (p) => p.rating_count <= 3],
  [(q) => q.like("title", "B%"), (p) => p.title.startsWith("B")],
  [(q) => q.ilike("title", "*LAMP*"), (p) => /lamp/i.test(p.title)],
  [(q) => q.likeAllOf("title", ["%e%", "%a%"]), (p) => /e/.test(p.title) && /a/.test(p.title)],
  [(q) => q.likeAnyOf("title", ["B%", "%s"]), (p) => /^B|s$/.test(p.title)],
  [(q) => q.ilikeAllOf("title", ["%E%", "%A%"]), (p) => /e/i.test(p.title) && /a/i.test(p.title)],
  [(q) => q.ilikeAnyOf("title", ["b%", "%S"]), (p) => /^b|s$/i.test(p.title)],
  [(q) => q.regexMatch("title", "^[A-C].*[a-m]$"), (p) => /^[A-C].*[a-m]$/.test(p.title)],
  [(q) => q.regexIMatch("title", "^[a-c]"), (p) => /^[a-c]/i.test(p.title)],
  [(q) => q.is("category_id", null), (p) => p.category_id === null],
  [(q) => q.not("brand", "is", null), (p) => p.brand !== null],
  [(q) => q.isDistinct("rating_count", 2), (p) => p.rating_count !== 2],
  [(q) => q.in("rating_count", [0, 2, 4]), (p) => [0, 2, 4].includes(p.rating_count)],
  [(q) => q.notIn("rating_count", [0, 2, 4]), (p) => ![0, 2, 4].includes(p.rating_count)],
  [(q) => q.in("brand", [brand, "Oakline"]), (p) => [brand, "Oakline"].includes(p.brand)],
  [(q) => q.match({ brand, rating_count: 2 }), (p) => p.brand === brand && p.rating_count === 2],
  [(q) => q.filter("rating_count", "eq", 2), (p) => p.rating_count === 2],
  [
    (q) => q.or("rating_count.eq.0,and(rating_count.gt.3,title.ilike.*s)"),
    (p) => p.rating_count === 0 || (p.rating_count > 3 && /s$/i.test(p.title)),
  ],
];
for (const [narrow, expected] of cases) {
  const found = good(await narrow(products.from("products").select("id")));
  assert.deepEqual(ids(found), ids(all.filter(expected)), String(narrow));
}

// JSON, arrays, words and ranges.
const [shelf] = good(await products.from("categories").select("id, path").eq("depth", 2).limit(1));
const below = good(await products.from("categories").select("id").contains("path", [shelf.path[0]]));
assert.ok(below.length > 1);
const within = good(await products.from("categories").select("id").containedBy("path", shelf.path));
assert.deepEqual(ids(within), shelf.path.toSorted());
const touching = await products.from("categories").select("id").overlaps("path", [shelf.id]);
assert.deepEqual(good(touching), [{ id: shelf.id }]);
const matt = await products
  .from("product_variants")
  .select("finish:options->>finish")
  .contains("options", { finish: "matt" })
  .eq("options->>finish", "matt")
  .limit(1);
assert.deepEqual(good(matt), [{ finish: "matt" }]);
for (const type of [undefined, "plain", "phrase", "websearch"]) {
  const search = products.from("product_search").select("product_id");
  const found = good(await search.textSearch("document", "lamp", { type, config: "english" }));
  assert.ok(found.length > 0);
}
const hours = [
  [(q) => q.overlaps("hours", "[18,19)"), ["friday"]],
  [(q) => q.contains("hours", "[9,10)"), ["friday", "monday"]],
  [(q) => q.containedBy("hours", "[9,17)"), ["monday", "saturday"]],
  [(q) => q.rangeGt("hours", "[1,9)"), ["friday", "monday", "saturday"]],
  [(q) => q.rangeGte("hours", "[10,11)"), ["saturday"]],
  [(q) => q.rangeLt("hours", "[17,30)"), ["monday", "saturday"]],
  [(q) => q.rangeLte("hours", "[1,17)"), ["monday", "saturday"]],
  [(q) => q.rangeAdjacent("hours", "[17,30)"), ["monday"]],
];
for (const [narrow, days] of hours) {
  const query = products.rpc("opening_hours", {}, { get: true }).select("day").order("day");
  assert.deepEqual(good(await narrow(query)).map((each) => each.day), days, String(narrow));
}

// Pages, counts, and what is embedded narrowed on its own.
const page = await products
  .from("products")
  .select("title, product_variants!inner(price)", { count: "exact" })
  .gt("product_variants.price", 100)
  .limit(1, { referencedTable: "product_variants" })
  .order("title")
  .range(0, 4);
assert.equal(good(page).length, 5);
assert.equal(page.status, 206);
assert.ok(page.count > 5 && page.count < 200);
assert.ok(page.data.every((each) => each.product_variants.length === 1));
for (const count of ["exact", "planned", "estimated"]) {
  const head = await products.from("products").select("*", { count, head: true });
  assert.equal(head.error, null);
  assert.equal(head.data, null);
  assert.ok(count === "planned" || head.count === 200, `${count}: ${head.count}`);
}
const spread = await products.from("products").select("slug, ...categories(shelf:name)").limit(1);
assert.deepEqual(Object.keys(good(spread)[0]), ["slug", "shelf"]);
const filed = await products
  .from("products")
  .select("categories!inner(slug)")
  .order("categories(slug)");
const shelves = good(filed).map((each) => each.categories.slug);
assert.deepEqual(shelves, shelves.toSorted());

// Sums, functions and computed columns.
const brands = good(await products.from("products").select("brand, id.count()"));
assert.equal(brands.find((each) => each.brand === brand).count, 20);
assert.equal(good(await products.rpc("add_up", { a: 2, b: 3 })), 5);
assert.equal(good(await products.rpc("add_up", { a: 2, b: 3 }, { get: true })), 5);
const titles = await products
  .rpc("search_titles", { words: "a", at_most: 50 }, { count: "exact" })
  .select("title, mean_rating, categories(name)")
  .order("title", { ascending: false })
  .limit(3);
assert.equal(titles.count, 50);
assert.equal(good(titles).length, 3);

// None, one and many; other forms than JSON.
const table = () => products.from("products");
const none = refused(await table().select("id").eq("slug", "nothing").single(), "PGRST116", 406);
assert.equal(none.details, "The result contains 0 rows");
refused(await table().select("id").single(), "PGRST116", 406);
assert.equal(good(await table().select("id").eq("slug", "nothing").maybeSingle()), null);
assert.deepEqual(good(await table().select("slug").eq("slug", slug).maybeSingle()), { slug });
const csv = good(await products.from("product_variants").select("sku, price").limit(2).csv());
assert.equal(csv.split("\n")[0], "sku,price");
const bare = await products.from("product_variants").select("sku, barcode").limit(1).stripNulls();
assert.deepEqual(Object.keys(good(bare)[0]), ["sku"]);
refused(await table().select("id").explain(), "PGRST107", 406);

// A request that is called off.
const controller = new AbortController();
const called = table().select("*").abortSignal(controller.signal);
controller.abort();
assert.match((await called).error.message, /AbortError/);
await assert.rejects(async () => await table().select("nothing").throwOnError(), { code: "42703" });
