// What is not served is refused in a way that the client understands.
import assert from "node:assert/strict";
import { open } from "./visit.js";

const products = open("products");
const files = await products.storage.from("pictures").list();
assert.equal(files.error.message, "The service 'storage' is not served for database 'products'.");
const called = await products.functions.invoke("hello");
assert.equal(called.error.name, "FunctionsHttpError");
assert.equal(called.error.context.status, 404);
const status = await new Promise((resolve) => {
  products.channel("news").subscribe(resolve);
});
assert.equal(status, "CHANNEL_ERROR");
await products.removeAllChannels();

for (const attempt of [
  products.auth.signInWithIdToken({ provider: "google", token: "x.y.z" }),
  products.auth.signInWithSSO({ domain: "example.com" }),
]) {
  const { error } = await attempt;
  assert.ok(error.status >= 400 && error.status < 500, `${error.status} ${error.message}`);
}

process.exit(); // The client's timer for its channels would go on for 10 s.
