// Sessions end where their user says, and everywhere once a token turns up twice.
import assert from "node:assert/strict";
import { customer, good, open, password } from "./visit.js";

const ada = await customer();

async function device() {
  const client = open("users");
  good(await client.auth.signInWithPassword({ email: ada.email, password }));
  return client;
}

const [telephone, laptop] = [await device(), await device()];
assert.equal((await telephone.auth.signOut({ scope: "others" })).error, null);
assert.ok((await laptop.auth.refreshSession()).error);
assert.equal((await telephone.auth.refreshSession()).error, null);

const tablet = await device();
assert.equal((await telephone.auth.signOut({ scope: "local" })).error, null);
assert.equal((await tablet.auth.refreshSession()).error, null);

const desk = await device();
assert.equal((await tablet.auth.signOut()).error, null);
const ended = await desk.auth.refreshSession();
assert.ok(["refresh_token_not_found", "session_not_found"].includes(ended.error.code));
const { error } = await desk.auth.getUser();
assert.ok(error, "asking the server notices at once");

// A thief uses the token that was exchanged long ago: neither goes on.
const victim = await device();
const stolen = good(await victim.auth.getSession()).session.refresh_token;
good(await victim.auth.refreshSession());
good(await victim.auth.refreshSession());
const thief = await open("users").auth.refreshSession({ refresh_token: stolen });
assert.equal(thief.error.code, "refresh_token_already_used");
assert.ok((await victim.auth.refreshSession()).error);

// Tabs that refresh at the same time share one new token.
const busy = await device();
const { refresh_token } = good(await busy.auth.getSession()).session;
const tabs = Array.from({ length: 4 }, () => open("users"));
const answers = await Promise.all(tabs.map((tab) => tab.auth.refreshSession({ refresh_token })));
assert.deepEqual(answers.map((each) => each.error), [null, null, null, null]);
