// Tokens of Taskpass in Node: jose for the token, the broker's status lists for what has ended.
//
// A token is accepted only when every check passed just now. What cannot be known is refused: Unknown is for a 503, and never
// means that a token is good. Memory is bounded.

import { createRemoteJWKSet, errors, jwtVerify } from "jose";
import { inflateSync } from "node:zlib";

const LEEWAY = 5; // seconds, for the clock of the broker
const MAX_LISTS = 64;
const MAX_BODY = 1 << 20;
const PLACES = 65536;

/** The token is no good: 401. */
export class Refused extends Error {}
/** It is good, but not for this: 403. */
export class Forbidden extends Error {}
/** Nothing can be said about it now: 503. */
export class Unknown extends Error {}

export class Tokens {
  #lists = new Map();

  /** `broker` is where its HTTP listener is reached; the URLs in tokens begin with the scheme and host of `issuer` instead. */
  constructor({ broker, issuer, audience }) {
    Object.assign(this, { broker, issuer, audience, origin: new URL(issuer).origin });
    // A new key is published much longer before it signs than keys are kept here; one that is not there is looked for, but
    // not for every token that names it.
    const jwks = new URL("/.well-known/jwks.json", broker);
    this.keys = createRemoteJWKSet(jwks, { cacheMaxAge: 30_000, cooldownDuration: 5_000, timeoutDuration: 2_000 });
  }

  /** The claims of a token that grants `action`. */
  async check(token, action) {
    const claims = await this.#verify(token, {
      typ: "at+jwt",
      issuer: this.issuer,
      audience: this.audience,
      clockTolerance: LEEWAY,
      requiredClaims: ["iss", "sub", "aud", "jti", "iat", "exp"],
    });
    // jose takes a list of audiences, too.
    if (typeof claims.aud !== "string") throw new Refused("the token has not exactly one audience");
    if (claims.cnf !== undefined) throw new Refused("the token is bound to a key, whose possession is not proved here");
    if (await this.#hasEnded(claims)) throw new Refused("the token has ended");
    const granted = Array.isArray(claims.authorization_details) ? claims.authorization_details : [];
    const here = granted.filter((one) => one?.locations?.includes(this.audience));
    if (!here.some((one) => one.actions?.includes(action))) {
      throw new Forbidden(`${action} is not among the granted actions`);
    }
    return claims;
  }

  async #verify(token, options) {
    try {
      return (await jwtVerify(token, this.keys, { algorithms: ["ES256"], ...options })).payload;
    } catch (error) {
      // The keys could not be had; whether it is good is not known.
      const known = error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout);
      if (known && error.code !== "ERR_JOSE_GENERIC") throw new Refused(error.message);
      throw new Unknown(`the broker's keys are not known: ${error.message}`);
    }
  }

  async #hasEnded(claims) {
    const { uri, idx } = claims.status?.status_list ?? {};
    const id = typeof uri === "string" && uri.startsWith(`${this.origin}/status-lists/`) && uri.split("/").at(-1);
    if (!id || !/^[0-9a-z-]+$/.test(id) || uri !== `${this.origin}/status-lists/${id}`) {
      throw new Refused("its status list is not the broker's");
    }
    if (!Number.isInteger(idx) || idx < 0 || idx >= PLACES) throw new Refused("its place does not exist");
    const bits = await this.#list(uri);
    return ((bits[idx >> 3] >> (idx & 7)) & 1) === 1;
  }

  /** The bits of a list that is at most `ttl` old: 5 s, which is how long an end can go unseen. */
  async #list(uri) {
    const held = this.#lists.get(uri);
    const askedAt = performance.now();
    if (held && askedAt < held.goodUntil) return held.bits;
    try {
      const claims = await this.#verify(await this.#fetch(uri.slice(this.origin.length)), {
        typ: "statuslist+jwt",
        subject: uri,
        requiredClaims: ["sub", "iat", "exp"],
      });
      const { bits: width, lst } = claims.status_list;
      const bits = inflateSync(Buffer.from(lst, "base64url"), { maxOutputLength: PLACES / 8 });
      const goodFor = Math.min(claims.ttl * 1000, claims.exp * 1000 - Date.now());
      if (width !== 1 || bits.length !== PLACES / 8 || !(goodFor > 0)) throw new Error("it is another one");
      if (this.#lists.size >= MAX_LISTS) this.#lists.clear();
      this.#lists.set(uri, { bits, goodUntil: askedAt + goodFor });
      return bits;
    } catch (error) {
      throw new Unknown(`the status list cannot be had: ${error.message}`);
    }
  }

  async #fetch(path) {
    const answer = await fetch(new URL(path, this.broker), { signal: AbortSignal.timeout(2_000), redirect: "error" });
    if (!answer.ok) throw new Error(`the broker says ${answer.status}`);
    const parts = [];
    let size = 0;
    for await (const part of answer.body) {
      size += part.length;
      if (size > MAX_BODY) throw new Error("it is too large");
      parts.push(part);
    }
    return Buffer.concat(parts).toString("ascii");
  }
}
