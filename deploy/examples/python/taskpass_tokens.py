"""Tokens of Taskpass in Python: PyJWT for the token, the broker's status lists for what has ended.

A token is accepted only when every check passed just now. What cannot be known is refused: Unknown is for a 503, and never
means that a token is good. Memory is bounded, and so is what a stranger's tokens can make this fetch.
"""

import base64
import json
import threading
import time
import urllib.request
import zlib

import jwt

LEEWAY = 5  # seconds, for the clock of the broker
KEYS_FRESH = 30  # seconds; a new key is published much longer before it signs
KEYS_PAUSE = 5  # seconds between two looks for a key that is not there
MAX_BODY = 1 << 20
MAX_LISTS = 64
PLACES = 65536
GRANT = "urn:taskpass:grant"


class Refused(Exception):
    """The token is no good: 401."""


class Unknown(Exception):
    """Nothing can be said about it now: 503."""


class Tokens:
    """Checks tokens for one audience. `broker` is where the broker's HTTP listener is reached; the URLs in tokens begin
    with the scheme and host of `issuer` instead."""

    def __init__(self, broker, issuer, audience):
        self.broker, self.issuer, self.audience = broker.rstrip("/"), issuer, audience
        self.origin = "/".join(issuer.split("/")[:3])
        self.lock = threading.Lock()
        self.keys, self.keys_at, self.keys_tried = {}, 0.0, float("-inf")
        self.lists = {}

    def check(self, token, action):
        """The claims of a token that grants `action`."""
        claims = self._verify(token, "at+jwt", audience=self.audience)
        if "cnf" in claims:
            raise Refused("the token is bound to a key, whose possession is not proved here")
        granted = claims.get("authorization_details") or []
        actions = [a for one in granted if self.audience in one.get("locations", []) for a in one.get("actions", [])]
        if self._has_ended(claims):
            raise Refused("the token has ended")
        if action not in actions:
            raise PermissionError(f"{action} is not among the granted actions")
        return claims

    def _verify(self, token, typ, audience=None):
        """Signature first. PyJWT compares neither `typ` nor what a key is for, and takes a list of audiences."""
        required = ["iss", "sub", "aud", "jti", "iat", "exp"] if audience else ["sub", "iat", "exp"]
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != typ or header.get("alg") != "ES256" or "crit" in header:
                raise Refused("the token is of another kind")
            return jwt.decode(
                token,
                self._key(header.get("kid")),
                algorithms=["ES256"],
                audience=audience,
                issuer=self.issuer if audience else None,
                leeway=LEEWAY if audience else 0,
                options={"require": required, "strict_aud": audience is not None, "verify_aud": audience is not None},
            )
        except jwt.PyJWTError as error:
            raise Refused(str(error)) from None

    def _key(self, kid):
        """A key of the broker. One that is not there is looked for, but not for every token that names it."""
        with self.lock:
            now = time.monotonic()
            stale = now - self.keys_at > KEYS_FRESH or kid not in self.keys
            if stale and now - self.keys_tried > KEYS_PAUSE:
                self.keys_tried = now
                keys = json.loads(self._fetch("/.well-known/jwks.json"))
                found = jwt.PyJWKSet.from_dict(keys).keys
                self.keys, self.keys_at = {key.key_id: key for key in found}, now
            if not self.keys:
                raise Unknown("the broker's keys are not known")
            if kid not in self.keys:
                raise Refused("no key of the broker signed it")
            return self.keys[kid].key

    def _has_ended(self, claims):
        try:
            place = claims["status"]["status_list"]
            uri, index = place["uri"], place["idx"]
        except (KeyError, TypeError):
            raise Refused("the token has no place on a status list") from None
        prefix = f"{self.origin}/status-lists/"
        if not isinstance(uri, str) or not uri.startswith(prefix) or not uri[len(prefix):].replace("-", "").isalnum():
            raise Refused("its status list is not the broker's")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < PLACES:
            raise Refused("its place on the status list does not exist")
        bits = self._list(uri)
        return bool(bits[index // 8] >> (index % 8) & 1)

    def _list(self, uri):
        """The bits of a list that is at most `ttl` old: 5 s, which is how long an end can go unseen."""
        with self.lock:
            good_until, bits = self.lists.get(uri, (0.0, b""))
        asked_at = time.monotonic()
        if asked_at < good_until:
            return bits
        try:
            claims = self._verify(self._fetch(uri[len(self.origin):]).decode(), "statuslist+jwt")
            # What another one was signed for is not this one; an old one was sent again.
            if claims["sub"] != uri or claims["status_list"]["bits"] != 1:
                raise Unknown("the status list is another one")
            packed = claims["status_list"]["lst"]
            packed = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
            bits = zlib.decompressobj().decompress(packed, PLACES // 8 + 1)
            good_for = min(float(claims["ttl"]), claims["exp"] - time.time())
        except (Refused, KeyError, TypeError, ValueError, zlib.error) as error:
            raise Unknown(f"the status list cannot be read: {error}") from None
        if len(bits) != PLACES // 8:
            raise Unknown("the status list has another size")
        with self.lock:
            if len(self.lists) >= MAX_LISTS:
                self.lists.clear()
            self.lists[uri] = (asked_at + good_for, bits)
        return bits

    def _fetch(self, path):
        try:
            with urllib.request.urlopen(self.broker + path, timeout=2) as answer:
                body = answer.read(MAX_BODY + 1)
        except OSError as error:
            raise Unknown(f"the broker does not answer: {error}") from None
        if len(body) > MAX_BODY:
            raise Unknown("the broker's answer is too large")
        return body
