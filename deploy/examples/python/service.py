"""A service that takes tokens of Taskpass. `GET /reports` needs the action `invoice:read`.

    python3 service.py --broker http://127.0.0.1:7420 --issuer https://taskpass.acme.test --audience billing-api --port 8080
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from taskpass_tokens import GRANT, Refused, Tokens, Unknown


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self):
        if self.path != "/reports":
            return self.answer(404, {"error": "not_found"})
        # One header, and nothing but a bearer token in it (RFC 6750 section 2.1).
        headers = self.headers.get_all("Authorization") or []
        if not headers:
            return self.answer(401, {}, "Bearer")
        scheme, _, token = headers[0].partition(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not token or " " in token or len(token) > 8192:
            return self.answer(401, {}, 'Bearer error="invalid_request"')
        try:
            claims = self.server.tokens.check(token, "invoice:read")
        except Refused as why:
            return self.answer(401, {"error": str(why)}, 'Bearer error="invalid_token"')
        except PermissionError as why:
            return self.answer(403, {"error": str(why)}, 'Bearer error="insufficient_scope", scope="invoice:read"')
        except Unknown as why:
            return self.answer(503, {"error": str(why)})
        self.answer(200, {"for": claims["client_id"], "lease": claims[GRANT]["lease"]})

    def answer(self, status, body, challenge=None):
        body = json.dumps(body).encode()
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    for name in ["broker", "issuer", "audience"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.tokens = Tokens(given.broker, given.issuer, given.audience)
    server.serve_forever()


if __name__ == "__main__":
    main()
