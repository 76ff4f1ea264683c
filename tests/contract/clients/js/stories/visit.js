// What every story starts from: the shop's addresses and keys, its mail and its customers.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // Node 20 has none.

/** { shop: { address, keys }, club: { address, keys }, site, password } */
export const given = JSON.parse(process.argv[2]);
export const { shop, club, site, password } = given;

let number = 0;

/** An address that nobody has used before. */
export function newEmail(name = "ada") {
  number += 1;
  return `${name}.${process.pid}.${number}@example.com`;
}

/** The client of a database with its anon key, as front ends make it. */
export function open(database, options = {}, key = shop.keys[database].anon) {
  return createClient(`${shop.address}/${database}`, key, options);
}

/** The client of a database that asks somebody else for the token of its user. */
export function openFor(users, database) {
  const accessToken = async () => (await users.auth.getSession()).data.session?.access_token ?? null;
  return open(database, { accessToken });
}

/** The client of a server, which policies do not hold back. */
export function openService(database, kind = "service_role") {
  return open(database, { auth: { persistSession: false } }, shop.keys[database][kind]);
}

/** The mails to an address, the newest first, as the local inbox shows them. */
export async function mails(email, at = shop) {
  const url = `${at.address}/inbox?to=${encodeURIComponent(email)}`;
  const answer = await fetch(url, { headers: { accept: "application/json" } });
  return (await answer.json()).mails;
}

/** The digits and the link of the latest mail to an address. */
export async function code(email, at = shop) {
  const [{ text }] = await mails(email, at);
  return { token: text.match(/\b\d{6}\b/)[0], link: text.match(/http\S+/)?.[0] };
}

/** Where a link leads, without going there. */
export async function follow(link) {
  const answer = await fetch(link, { redirect: "manual" });
  assert.equal(answer.status, 303);
  return new URL(answer.headers.get("location"));
}

/** Somebody who signed up, confirmed the address and is signed in. */
export async function customer(name = "ada") {
  const email = newEmail(name);
  const users = open("users");
  good(await users.auth.signUp({ email, password, options: { data: { full_name: name } } }));
  const { token } = await code(email);
  const { user } = good(await users.auth.verifyOtp({ type: "signup", email, token }));
  return { email, users, id: user.id };
}

/** Buy a variant with the shop's own API; returns the order. */
export async function placeOrder({ users }, lines) {
  const { session } = good(await users.auth.getSession());
  number += 1;
  const answer = await fetch(`${shop.address}/checkout`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${session.access_token}`,
      "content-type": "application/json",
      "idempotency-key": `key-${process.pid}-${number}`,
    },
    body: JSON.stringify({
      lines,
      shipping_address: { name: "Ada", line1: "1 Row", city: "London", country: "GB" },
      shipping_method: "pickup",
      payment_source: "tok_visa",
    }),
  });
  assert.equal(answer.status, 201, await answer.clone().text());
  return answer.json();
}

/** The data of an answer that must be good. */
export function good({ data, error }) {
  assert.equal(error, null, JSON.stringify(error));
  return data;
}

/** An answer that must be a refusal with this code; returns its error. */
export function refused({ data, error, status }, expected, expectedStatus) {
  assert.ok(error, `expected ${expected}, got ${JSON.stringify(data)}`);
  assert.equal(error.code, expected, `${error.message} (${error.code})`);
  if (expectedStatus !== undefined) assert.equal(error.status ?? status, expectedStatus);
  return error;
}

/** The code that an authenticator shows for a secret (RFC 6238). */
export function totp(secret, stepsAhead = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g).map((byte) => parseInt(byte, 2));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + stepsAhead));
  const digest = createHmac("sha1", Buffer.from(bytes)).update(step).digest();
  const start = digest[19] & 15;
  return String((digest.readUInt32BE(start) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}
