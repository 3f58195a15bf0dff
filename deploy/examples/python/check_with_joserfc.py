"""Says whether a token on standard input is one of Taskpass, by joserfc. Offline, so it does not know what has ended.

    python3 check_with_joserfc.py jwks.json https://taskpass.acme.test billing-api < token
"""

import json
import sys
import time

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

jwks, issuer, audience = sys.argv[1:]
with open(jwks, encoding="utf-8") as file:
    keys = KeySet.import_key_set(json.load(file))
try:
    token = jwt.decode(sys.stdin.read().strip(), keys, algorithms=["ES256"])
    required = {"essential": True}
    registry = jwt.JWTClaimsRegistry(
        now=int(time.time()),
        leeway=5,
        iss={**required, "value": issuer},
        aud={**required, "value": audience},
        exp=required,
        iat=required,
        jti=required,
    )
    registry.validate(token.claims)
    if token.header.get("typ") != "at+jwt" or not isinstance(token.claims["aud"], str):
        raise ValueError("it is of another kind")
except (JoseError, ValueError) as error:
    sys.exit(f"refused: {error}")
print(token.claims["client_id"])
