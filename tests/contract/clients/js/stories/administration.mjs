// A server looks after users with its secret key, in both forms; nobody else can.
import assert from "node:assert/strict";
import { code, customer, follow, good, mails, newEmail, open, openFor, openService, password, refused, shop, site } from "./visit.js";

for (const kind of ["service_role", "secret"]) {
  const server = openService("users", kind);
  const { admin } = server.auth;

  const email = newEmail("made");
  const { user } = good(
    await admin.createUser({
      email,
      password,
      email_confirm: true,
      user_metadata: { full_name: "Made Up" },
      app_metadata: { role: "staff" },
    }),
  );
  assert.equal(good(await admin.getUserById(user.id)).user.email, email);
  const profile = server.from("user_profiles").select("full_name").eq("id", user.id).single();
  assert.deepEqual(good(await profile), { full_name: "Made Up" });
  const client = open("users");
  good(await client.auth.signInWithPassword({ email, password }));
  const coupons = openFor(client, "orders").from("coupons").select("code");
  assert.ok(good(await coupons).length > 0, "staff see coupons");
  good(await admin.updateUserById(user.id, { ban_duration: "24h" }));
  assert.equal((await client.auth.refreshSession()).error.code, "user_banned");
  good(await admin.updateUserById(user.id, { ban_duration: "none", email: newEmail("renamed") }));

  const first = good(await admin.listUsers({ page: 1, perPage: 2 }));
  const second = good(await admin.listUsers({ page: 2, perPage: 2 }));
  const ids = [...first.users, ...second.users].map((each) => each.id);
  assert.equal(new Set(ids).size, 4);
  assert.equal(first.nextPage, 2);
  assert.ok(first.total >= 4);

  const guest = newEmail("guest");
  good(await admin.inviteUserByEmail(guest, { redirectTo: `${site}/join` }));
  const landed = await follow((await code(guest)).link);
  assert.equal(landed.pathname, "/join");
  assert.equal(new URLSearchParams(landed.hash.slice(1)).get("type"), "invite");

  const ada = await customer();
  const sent = (await mails(ada.email)).length;
  const { properties } = good(
    await admin.generateLink({ type: "magiclink", email: ada.email, options: { redirectTo: site } }),
  );
  assert.equal((await mails(ada.email)).length, sent);
  const token_hash = properties.hashed_token;
  const opened = good(await open("users").auth.verifyOtp({ type: "magiclink", token_hash }));
  assert.equal(opened.user.id, ada.id);

  assert.equal((await admin.signOut(opened.session.access_token, "global")).error, null);
  assert.ok((await ada.users.auth.refreshSession()).error);
  good(await admin.deleteUser(user.id));
  refused(await admin.getUserById(user.id), "user_not_found", 404);
}

const eve = await customer("eve");
const { session } = good(await eve.users.auth.getSession());
const pretender = open("users", {
  global: { headers: { Authorization: `Bearer ${session.access_token}` } },
});
for (const client of [open("users"), open("users", {}, shop.keys.users.publishable), pretender]) {
  const { error } = await client.auth.admin.listUsers();
  assert.ok(["no_authorization", "not_admin"].includes(error.code), error.code);
  assert.ok((await client.auth.admin.deleteUser(eve.id)).error);
}
