// A service that takes tokens of Taskpass. `GET /reports` needs the action `invoice:read`.
//
//   node service.mjs --broker http://127.0.0.1:7420 --issuer https://taskpass.acme.test --audience billing-api --port 8080

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Forbidden, Refused, Tokens, Unknown } from "./taskpass-tokens.mjs";

const text = { type: "string" };
const options = { broker: text, issuer: text, audience: text, port: { ...text, default: "8080" } };
const { values } = parseArgs({ options });
const tokens = new Tokens(values);

async function reports(request) {
  // One header, and nothing but a bearer token in it (RFC 6750 section 2.1).
  const headers = request.headersDistinct.authorization ?? [];
  if (headers.length === 0) return [401, {}, "Bearer"];
  const [, token] = /^bearer ([^ ]{1,8192})$/i.exec(headers[0]) ?? [];
  if (headers.length > 1 || !token) return [401, {}, 'Bearer error="invalid_request"'];
  try {
    const claims = await tokens.check(token, "invoice:read");
    return [200, { for: claims.client_id, lease: claims["urn:taskpass:grant"].lease }];
  } catch (error) {
    const body = { error: error.message };
    if (error instanceof Refused) return [401, body, 'Bearer error="invalid_token"'];
    if (error instanceof Forbidden) return [403, body, 'Bearer error="insufficient_scope", scope="invoice:read"'];
    if (error instanceof Unknown) return [503, body];
    return [500, {}];
  }
}

const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, async (request, response) => {
  const here = request.method === "GET" && request.url === "/reports";
  const [status, body, challenge] = here ? await reports(request) : [404, { error: "not_found" }];
  if (challenge) response.setHeader("WWW-Authenticate", challenge);
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
});
server.listen(Number(values.port), "127.0.0.1");
