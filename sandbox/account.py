"""Throw-away credentials: they sign webhooks as Vonage does, and check tokens as it does."""

import hashlib
import secrets
import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import rsa

# Seconds from iat for which a token is good. [support article 360000958407]
WITHOUT_EXP = 15 * 60
WITH_EXP = 24 * 60 * 60
NEEDED: Any = {"require": ["iat", "jti"]}


class Account:
    """An application and its account; the keys are PEM text, and the private one is the app's."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        public = key.public_key()
        text = pem.Encoding.PEM
        form, of_public = pem.PrivateFormat.PKCS8, pem.PublicFormat.SubjectPublicKeyInfo
        self.private_key = key.private_bytes(text, form, pem.NoEncryption()).decode()
        self.public_key = public.public_bytes(text, of_public).decode()
        self.application_id = str(uuid.uuid4())
        self.signature_secret = secrets.token_hex(32)

    def sign(self, body: bytes = b"", **claims: Any) -> str:
        """Return a webhook's Authorization; `claims` replace Vonage's, or leave one out (None)."""
        signed: dict[str, Any] = {
            "iss": "Vonage",
            "api_key": "abcd1234",
            "iat": int(time.time()),
            "jti": str(uuid.uuid4()),
            "application_id": self.application_id,
        }
        if body:
            signed["payload_hash"] = hashlib.sha256(body).hexdigest()
        signed.update(claims)
        kept = {name: value for name, value in signed.items() if value is not None}
        token = jwt.encode(kept, self.signature_secret, algorithm="HS256")
        return f"Bearer {token}"

    def check(self, authorization: str) -> None:
        """Raise ValueError if the Voice API would refuse this Authorization. [Authentication]"""
        scheme, _, token = authorization.partition(" ")
        try:
            claims = jwt.decode(token, self.public_key, algorithms=["RS256"], options=NEEDED)
        except (jwt.PyJWTError, ArithmeticError, RecursionError, TypeError) as error:
            # PyJWT's own errors, and those that its older versions raise beside them
            raise ValueError(repr(error)) from error
        if scheme != "Bearer":
            raise ValueError("no Bearer token")
        if claims.get("application_id") != self.application_id:
            raise ValueError("a token of another application")
        longest = WITHOUT_EXP
        if "exp" in claims:
            longest = WITH_EXP
        issued = claims["iat"]
        if not isinstance(issued, (int, float)):
            raise ValueError("iat is no number")
        if issued < int(time.time()) - longest:  # compared so, a long number is no overflow
            raise ValueError("iat is too long ago")
