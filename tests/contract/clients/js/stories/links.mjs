// The links in mails: they confirm, sign in and recover, with and without PKCE.
import assert from "node:assert/strict";
import { code, customer, follow, good, mails, newEmail, open, password, refused, site } from "./visit.js";

const emailRedirectTo = `${site}/welcome`;
const pkce = { auth: { flowType: "pkce" } };

// Without PKCE the tokens stand behind the hash, where only the page sees them.
const email = newEmail();
const users = open("users");
good(await users.auth.signUp({ email, password, options: { emailRedirectTo } }));
const { link } = await code(email);
const landed = await follow(link);
assert.equal(landed.origin + landed.pathname, emailRedirectTo);
const tokens = new URLSearchParams(landed.hash.slice(1));
assert.equal(tokens.get("type"), "signup");
assert.equal(tokens.get("token_type"), "bearer");
const kept = good(
  await users.auth.setSession({
    access_token: tokens.get("access_token"),
    refresh_token: tokens.get("refresh_token"),
  }),
);
assert.equal(kept.user.email, email);
const late = new URLSearchParams((await follow(link)).hash.slice(1));
assert.equal(late.get("error"), "access_denied");
assert.equal(late.get("error_code"), "otp_expired");

// With PKCE there is a code, which is worth nothing without the verifier of who asked for it.
const careful = open("users", pkce);
const other = newEmail();
good(await careful.auth.signUp({ email: other, password, options: { emailRedirectTo } }));
const back = await follow((await code(other)).link);
const authCode = back.searchParams.get("code");
assert.ok(authCode);
const exchanged = good(await careful.auth.exchangeCodeForSession(authCode));
assert.equal(exchanged.user.email, other);
assert.ok((await open("users", pkce).auth.exchangeCodeForSession(authCode)).error);

// A magic link, by its hash; and a code for who has no account yet.
good(await careful.auth.signInWithOtp({ email: other, options: { emailRedirectTo } }));
const magic = await follow((await code(other)).link);
good(await careful.auth.exchangeCodeForSession(magic.searchParams.get("code")));
const stranger = newEmail("otto");
const visitor = open("users");
good(await visitor.auth.signInWithOtp({ email: stranger }));
const digits = await code(stranger);
const joined = good(
  await visitor.auth.verifyOtp({ type: "email", email: stranger, token: digits.token }),
);
assert.equal(joined.user.email, stranger);
refused(
  await visitor.auth.signInWithOtp({ email: newEmail(), options: { shouldCreateUser: false } }),
  "otp_disabled",
  422,
);

// Recovery; nobody learns whether an address has an account.
const ada = await customer();
const forgetful = open("users");
good(await forgetful.auth.resetPasswordForEmail(newEmail("nobody"), { redirectTo: site }));
good(await forgetful.auth.resetPasswordForEmail(ada.email, { redirectTo: `${site}/reset` }));
const recovery = await code(ada.email);
const hash = new URL(recovery.link).searchParams.get("token");
good(await forgetful.auth.verifyOtp({ type: "recovery", token_hash: hash }));
refused(await forgetful.auth.updateUser({ password }), "same_password", 422);
good(await forgetful.auth.updateUser({ password: "battery staple horse" }));
good(
  await open("users").auth.signInWithPassword({
    email: ada.email,
    password: "battery staple horse",
  }),
);

// Another address counts once both agree; mail that got lost is sent again.
const bea = await customer("bea");
const next = newEmail("new");
const asked = good(await bea.users.auth.updateUser({ email: next }));
assert.equal(asked.user.email, bea.email);
assert.equal(asked.user.new_email, next);
good(await bea.users.auth.resend({ type: "email_change", email: bea.email }));
assert.equal((await mails(next)).length, 2);
for (const address of [bea.email, next]) {
  const { token } = await code(address);
  good(await bea.users.auth.verifyOtp({ type: "email_change", email: address, token }));
}
assert.equal(good(await bea.users.auth.getUser()).user.email, next);
