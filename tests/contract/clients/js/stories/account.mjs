// An account is made, confirmed by the code in the mail, used and left.
import assert from "node:assert/strict";
import { code, good, newEmail, open, password, refused } from "./visit.js";

const email = newEmail();
const users = open("users");
const events = [];
users.auth.onAuthStateChange((event) => events.push(event));

const made = good(
  await users.auth.signUp({ email, password, options: { data: { full_name: "Ada Lind" } } }),
);
assert.equal(made.session, null);
assert.equal(made.user.user_metadata.full_name, "Ada Lind");
assert.ok(made.user.confirmation_sent_at);
refused(await users.auth.signInWithPassword({ email, password }), "email_not_confirmed", 400);

const { token } = await code(email);
const confirmed = good(await users.auth.verifyOtp({ type: "signup", email, token }));
assert.equal(confirmed.user.email, email);
assert.ok(confirmed.session.access_token);
refused(await users.auth.verifyOtp({ type: "signup", email, token }), "otp_expired", 403);

const again = good(await open("users").auth.signUp({ email, password: "another battery" }));
assert.equal(again.session, null);
assert.notEqual(again.user.id, made.user.id);
assert.deepEqual(again.user.identities, []);

const wrong = await users.auth.signInWithPassword({ email, password: "wrong horse" });
assert.equal(refused(wrong, "invalid_credentials", 400).message, "Invalid login credentials");
const weak = refused(
  await open("users").auth.signUp({ email: newEmail(), password: "short" }),
  "weak_password",
  422,
);
assert.equal(weak.name, "AuthWeakPasswordError");
assert.deepEqual(weak.reasons, ["length"]);

const { session } = good(await users.auth.signInWithPassword({ email, password }));
const refreshed = good(await users.auth.refreshSession());
assert.notEqual(refreshed.session.refresh_token, session.refresh_token);
const { claims, header } = good(await users.auth.getClaims());
assert.equal(header.alg, "ES256", "verified here, with the key that the server publishes");
assert.equal(claims.email, email);
assert.equal(claims.role, "authenticated");
assert.equal(claims.aal, "aal1");
assert.equal(claims.amr[0].method, "password");

const { user } = good(await users.auth.updateUser({ data: { size: "M", full_name: null } }));
assert.equal(user.user_metadata.size, "M");
assert.ok(!("full_name" in user.user_metadata));
const { identities } = good(await users.auth.getUserIdentities());
assert.deepEqual(identities.map((each) => each.provider), ["email"]);
refused(await users.auth.unlinkIdentity(identities[0]), "single_identity_not_deletable", 422);

assert.deepEqual(good(await users.from("user_profiles").select("id")), [{ id: made.user.id }]);
assert.equal((await users.auth.signOut()).error, null);
assert.equal(good(await users.auth.getSession()).session, null);
refused(await users.from("user_profiles").select("id"), "42501");
assert.deepEqual(
  events.filter((event) => event !== "INITIAL_SESSION"),
  ["SIGNED_IN", "SIGNED_IN", "TOKEN_REFRESHED", "USER_UPDATED", "SIGNED_OUT"],
);
