"""Throw-away credentials: they sign webhooks as Vonage does, and check tokens as it does."""

import hashlib
import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import rsa


class Account:
    """An application and its account; the keys are PEM text, and the private one is the app's."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        private = pem.PrivateFormat.PKCS8, pem.NoEncryption()
        public = pem.PublicFormat.SubjectPublicKeyInfo
        self.application_id = str(uuid.uuid4())
        self.signature_secret = uuid.uuid4().hex + uuid.uuid4().hex
        self.private_key = key.private_bytes(pem.Encoding.PEM, *private).decode()
        self.public_key = key.public_key().public_bytes(pem.Encoding.PEM, public).decode()

    def sign(self, body: bytes = b"", **claims: Any) -> str:
        """The Authorization of a webhook; `claims` replace Vonage's, or leave one out (None)."""
        signed: dict[str, Any] = {"iat": int(time.time()), "jti": str(uuid.uuid4())}
        signed |= {"iss": "Vonage", "api_key": "abcd1234", "application_id": self.application_id}
        signed |= {"payload_hash": hashlib.sha256(body).hexdigest() if body else None, **claims}
        signed = {name: value for name, value in signed.items() if value is not None}
        return "Bearer " + jwt.encode(signed, self.signature_secret, algorithm="HS256")

    def refuses(self, authorization: str) -> str | None:
        """Why the Voice API would not take this Authorization header, or None. [Authentication]"""
        scheme, _, token = authorization.partition(" ")
        try:
            claims = jwt.decode(token, self.public_key, algorithms=["RS256"])
            hours = (time.time() - claims["iat"]) / 3600  # [support article 360000958407]
            if scheme != "Bearer" or claims["application_id"] != self.application_id:
                return "not a Bearer token of this application"
            if not claims["jti"] or hours > (24 if "exp" in claims else 1 / 4):
                return "jti is missing, or iat is too long ago"
        except (jwt.PyJWTError, KeyError, TypeError) as error:
            return repr(error)
        return None
