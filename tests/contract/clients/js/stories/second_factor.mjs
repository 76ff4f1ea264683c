// A second factor is enrolled, asked for at the next sign-in, and taken off.
import assert from "node:assert/strict";
import { customer, good, open, openFor, openService, password, refused, totp } from "./visit.js";

const ada = await customer();
const { mfa } = ada.users.auth;
const factor = good(await mfa.enroll({ factorType: "totp", friendlyName: "telephone", issuer: "AVNERA" }));
assert.match(factor.totp.qr_code, /^data:image\/svg\+xml;utf-8,</);
assert.match(factor.totp.uri, /^otpauth:\/\/totp\//);
const challenge = good(await mfa.challenge({ factorId: factor.id }));
const wrong = { factorId: factor.id, challengeId: challenge.id, code: "000000" };
refused(await mfa.verify(wrong), "mfa_verification_failed", 422);
good(await mfa.verify({ ...wrong, code: totp(factor.totp.secret) }));
const level = good(await mfa.getAuthenticatorAssuranceLevel());
assert.deepEqual([level.currentLevel, level.nextLevel], ["aal2", "aal2"]);
const me = good(await openFor(ada.users, "orders").rpc("whoami"));
assert.equal(me.level, "aal2");

const client = open("users");
good(await client.auth.signInWithPassword({ email: ada.email, password }));
const asked = good(await client.auth.mfa.getAuthenticatorAssuranceLevel());
assert.deepEqual([asked.currentLevel, asked.nextLevel], ["aal1", "aal2"]);
refused(await client.auth.updateUser({ password: "another horse" }), "insufficient_aal", 401);
const { totp: verified } = good(await client.auth.mfa.listFactors());
assert.deepEqual(verified.map((each) => each.id), [factor.id]);
const code = totp(factor.totp.secret, 1);
good(await client.auth.mfa.challengeAndVerify({ factorId: factor.id, code }));
const replayed = await client.auth.mfa.challengeAndVerify({ factorId: factor.id, code });
refused(replayed, "mfa_verification_failed", 422);

const eve = await customer("eve");
const foreign = await eve.users.auth.mfa.challengeAndVerify({ factorId: factor.id, code });
refused(foreign, "mfa_factor_not_found", 404);

const { admin } = openService("users").auth;
const { factors } = good(await admin.mfa.listFactors({ userId: ada.id }));
assert.deepEqual(factors.map((each) => each.status), ["verified"]);
good(await client.auth.mfa.unenroll({ factorId: factor.id }));
assert.deepEqual(good(await admin.mfa.listFactors({ userId: ada.id })).factors, []);
