// A guest fills a cart, becomes a customer, and keeps everything.
import assert from "node:assert/strict";
import { code, good, newEmail, open, openFor, password } from "./visit.js";

const users = open("users");
const { user } = good(await users.auth.signInAnonymously({ options: { data: { seen: "banner" } } }));
assert.equal(user.is_anonymous, true);
assert.ok(!user.email);
const products = openFor(users, "products");
const [variant] = good(await products.from("product_variants").select("id").limit(1));
good(await products.from("shopping_cart").insert({ variant_id: variant.id }));

const email = newEmail("guest");
good(await users.auth.updateUser({ email }));
const { token } = await code(email);
good(await users.auth.verifyOtp({ type: "email_change", email, token }));
good(await users.auth.updateUser({ password }));

const home = open("users");
const signedIn = good(await home.auth.signInWithPassword({ email, password }));
assert.equal(signedIn.user.id, user.id);
assert.equal(signedIn.user.is_anonymous, false);
const cart = good(await openFor(home, "products").from("shopping_cart").select("variant_id"));
assert.deepEqual(cart, [{ variant_id: variant.id }]);
