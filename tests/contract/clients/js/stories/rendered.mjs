// A server renders pages: the session lives in cookies, one client for each database and request.
import assert from "node:assert/strict";
import { createServerClient } from "@supabase/ssr";
import { createClient } from "@supabase/supabase-js";
import { code, customer, follow, good, newEmail, password, shop, site } from "./visit.js";

/** The clients of one request, whose browser sent `jar`; what they set is found there afterwards. */
function clientsOf(jar) {
  const users = createServerClient(`${shop.address}/users`, shop.keys.users.publishable, {
    cookies: {
      getAll: () => [...jar].map(([name, value]) => ({ name, value })),
      setAll: (cookies) => cookies.forEach(({ name, value }) => jar.set(name, value)),
    },
  });
  const accessToken = async () => (await users.auth.getSession()).data.session?.access_token ?? null;
  const orders = createClient(`${shop.address}/orders`, shop.keys.orders.publishable, { accessToken });
  return { users, orders };
}

// Signing in with one request, being known at the next.
const ada = await customer();
const jar = new Map();
good(await clientsOf(jar).users.auth.signInWithPassword({ email: ada.email, password }));
assert.ok(jar.size > 0, "the session went into cookies");
const { users, orders } = clientsOf(jar);
assert.equal(good(await users.auth.getClaims()).claims.sub, ada.id);
assert.equal(good(await users.auth.getUser()).user.email, ada.email);
assert.equal(good(await orders.rpc("whoami")).id, ada.id);
assert.equal(good(await clientsOf(new Map()).orders.rpc("whoami")).role, "anon");

// A link in a mail comes back with a code, which the verifier in the cookies fits.
const visitor = new Map();
const email = newEmail();
const asking = clientsOf(visitor).users;
good(
  await asking.auth.signUp({ email, password, options: { emailRedirectTo: `${site}/confirm` } }),
);
const landed = await follow((await code(email)).link);
const arriving = clientsOf(visitor);
good(await arriving.users.auth.exchangeCodeForSession(landed.searchParams.get("code")));
assert.equal(good(await clientsOf(visitor).orders.rpc("whoami")).email, email);

assert.equal((await arriving.users.auth.signOut()).error, null);
assert.equal(good(await clientsOf(visitor).users.auth.getSession()).session, null);
