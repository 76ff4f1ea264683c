// Which keys and tokens open which database.
import assert from "node:assert/strict";
import { createClient } from "@supabase/supabase-js";
import { club, code, customer, good, newEmail, open, openService, password, refused, shop } from "./visit.js";

for (const kind of ["anon", "publishable"]) {
  const client = open("products", {}, shop.keys.products[kind]);
  assert.equal(good(await client.from("products").select("id").limit(1)).length, 1);
  refused(await client.from("wishlists").select("*"), "42501");
}
for (const kind of ["service_role", "secret"]) {
  const server = openService("orders", kind);
  assert.equal(good(await server.rpc("whoami")).role, "service_role");
  assert.ok(good(await server.from("coupons").select("id")).length > 0);
}
for (const key of [
  "wrong",
  "sb_publishable_wrong",
  "sb_secret_wrong",
  ...Object.values(shop.keys.orders),
  ...Object.values(club.keys.users),
]) {
  const client = open("products", {}, key);
  const answer = await client.from("products").select("id");
  assert.equal(answer.status, 401, key);
  assert.ok(answer.error.message);
  const { error } = await client.auth.signInWithPassword({ email: "ada@example.com", password });
  assert.equal(error.status, 401, key);
}

// One can sign in at any database: it is the same account, and the same session.
const ada = await customer();
for (const database of ["users", "products", "orders"]) {
  const client = open(database, {}, shop.keys[database].publishable);
  good(await client.auth.signInWithPassword({ email: ada.email, password }));
  assert.equal(good(await client.auth.getUser()).user.id, ada.id);
  const { claims } = good(await client.auth.getClaims());
  assert.equal(claims.iss, `${shop.address}/auth/v1`);
}

// A member of the club next door is a stranger here.
const next = createClient(`${club.address}/users`, club.keys.users.anon);
const email = newEmail("member");
good(await next.auth.signUp({ email, password }));
good(await next.auth.verifyOtp({ type: "signup", email, token: (await code(email, club)).token }));
const { session } = good(await next.auth.getSession());
const headers = { Authorization: `Bearer ${session.access_token}` };
refused(await open("orders", { global: { headers } }).from("orders").select("*"), "PGRST301");
assert.ok((await open("users").auth.getUser(session.access_token)).error);
assert.ok((await open("users").auth.signInWithPassword({ email, password })).error);
