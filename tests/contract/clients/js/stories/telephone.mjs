// A telephone is enough for an account; an address can be added later.
import assert from "node:assert/strict";
import { code, good, newEmail, open, password } from "./visit.js";

const phone = `+4930${process.pid}`;
const users = open("users");
good(await users.auth.signInWithOtp({ phone }));
const { token } = await code(phone);
const { user } = good(await users.auth.verifyOtp({ type: "sms", phone, token }));
assert.equal(user.phone, phone.slice(1));
const email = newEmail("phone");
good(await users.auth.updateUser({ email, password }));
const mail = await code(email);
good(await users.auth.verifyOtp({ type: "email_change", email, token: mail.token }));
for (const address of [{ email }, { phone }]) {
  const signedIn = good(await open("users").auth.signInWithPassword({ ...address, password }));
  assert.equal(signedIn.user.id, user.id);
}
