// Signed in once, a customer reads and writes what is theirs in three databases.
import assert from "node:assert/strict";
import { customer, good, open, openFor, openService, placeOrder, refused } from "./visit.js";

const [ada, eve] = [await customer("ada"), await customer("eve")];
const products = openFor(ada.users, "products");
const orders = openFor(ada.users, "orders");
const variants = good(
  await products
    .from("product_variants")
    .select("id, product_id, price, stock!inner(available)")
    .gte("stock.available", 10)
    .order("sku", { ascending: false })
    .limit(3),
);

// Profile and addresses, in the database that holds the users.
const mine = await ada.users.from("user_profiles").select("id, user_preferences(currency)").single();
assert.deepEqual(good(mine), { id: ada.id, user_preferences: { currency: "EUR" } });
const renamed = await ada.users
  .from("user_profiles")
  .update({ display_name: "Ada L." })
  .eq("id", ada.id)
  .select("display_name");
assert.deepEqual(good(renamed), [{ display_name: "Ada L." }]);
const home = { kind: "shipping", recipient: "Ada", line1: "1 Row", city: "London", country: "GB" };
const addresses = () => ada.users.from("user_addresses");
const silent = await addresses().insert(home);
assert.deepEqual([silent.status, silent.data, silent.error], [201, null, null]);
const many = await addresses()
  .insert([{ ...home, label: "office", is_default: true }, { ...home, kind: "billing" }], {
    count: "exact",
    defaultToNull: false,
  })
  .select("label, is_default, user_id");
assert.equal(many.count, 2);
assert.deepEqual(good(many), [
  { label: "office", is_default: true, user_id: ada.id },
  { label: null, is_default: false, user_id: ada.id },
]);
const removed = await addresses().delete({ count: "exact" }).eq("kind", "shipping");
assert.deepEqual([removed.status, removed.count], [204, 2]);

// Cart and wishes, in the database of products.
const cart = () => products.from("shopping_cart");
const onConflict = "user_id,variant_id";
for (const quantity of [1, 3]) {
  const row = { variant_id: variants[0].id, quantity };
  const kept = good(await cart().upsert(row, { onConflict }).select("quantity, user_id").single());
  assert.deepEqual(kept, { quantity, user_id: ada.id });
}
const added = await cart()
  .upsert(
    variants.map(({ id }) => ({ variant_id: id, quantity: 9 })),
    { onConflict, ignoreDuplicates: true },
  )
  .select("quantity");
assert.equal(good(added).length, 2, "what was there stays as it was");
const product_id = variants[0].product_id;
good(await products.from("wishlists").insert({ product_id, note: "for June" }));
const wish = await products.from("wishlists").update({ note: "for July" }).eq("product_id", product_id);
assert.equal(wish.status, 204);
const noted = await products.from("wishlists").select("note, products(id)");
assert.deepEqual(good(noted), [{ note: "for July", products: { id: product_id } }]);

// Orders, placed by the shop's API and read here.
const placed = await placeOrder(ada, [
  { variant_id: variants[1].id, quantity: 1 },
  { variant_id: variants[2].id, quantity: 2 },
]);
const order = good(
  await orders
    .from("orders")
    .select("id, state, shipping_address->>city, order_items(quantity, line_total), payment_attempts(payments(amount))")
    .order("line_number", { referencedTable: "order_items" })
    .single(),
);
assert.equal(order.id, placed.order_id);
assert.equal(order.city, "London");
assert.deepEqual(order.order_items.map((item) => item.quantity), [1, 2]);
assert.equal(order.order_items[1].line_total, 2 * variants[2].price);
const [{ payments }] = order.payment_attempts;
assert.equal(payments.amount.toFixed(2), placed.total, "one at most, so that it is no list");
const [spent] = good(await orders.rpc("spending"));
assert.equal(spent.total.toFixed(2), placed.total);
const me = good(await orders.rpc("whoami"));
assert.deepEqual([me.id, me.role, me.email], [ada.id, "authenticated", ada.email]);

// Nothing of it is anybody else's.
const foreign = openFor(eve.users, "orders");
for (const name of ["orders", "order_items", "payments"]) {
  const seen = await foreign.from(name).select("*", { count: "exact" });
  assert.deepEqual([good(seen), seen.count], [[], 0]);
}
assert.deepEqual(good(await foreign.rpc("spending")), []);
const others = openFor(eve.users, "products").from("wishlists");
refused(await others.insert({ product_id, user_id: ada.id }), "42501", 403);
refused(await orders.from("orders").update({ total: 0 }).eq("id", order.id), "42501", 403);
refused(await open("orders").from("orders").select("*"), "42501", 401);

// A session carried over by hand, and a header that is always sent: the same rights.
const { session } = good(await ada.users.auth.getSession());
const carried = open("orders");
good(await carried.auth.setSession(session));
const headers = { Authorization: `Bearer ${session.access_token}` };
for (const client of [carried, open("orders", { global: { headers } })]) {
  assert.deepEqual(good(await client.from("orders").select("id")), [{ id: order.id }]);
}

// A server sees everything, and is kept from changing more than it meant to.
const server = openService("orders");
const found = await server.from("orders").select("user_id").eq("id", order.id).single();
assert.deepEqual(good(found), { user_id: ada.id });
const coupon = { id: crypto.randomUUID(), code: "SCRIPT", kind: "free_shipping" };
const first = await server.from("coupons").upsert(coupon);
const second = await server.from("coupons").upsert({ ...coupon, description: "Ours" });
assert.deepEqual([first.status, second.status], [201, 200]);
const all = await server.from("coupons").delete().neq("code", "").maxAffected(1);
refused(all, "PGRST124", 400);
const gone = await server.from("coupons").delete().eq("id", coupon.id).maxAffected(1).select("code");
assert.deepEqual(good(gone), [{ code: "SCRIPT" }]);
