"""The XML API of Google Cloud Storage, behind a gate that checks tokens and signed addresses.

What the API does with objects is what S3 does; who asks shows in another way: by a token that the
service account signs itself, or by a V4 signature with its key. Source: Google's documentation of
the XML API, of signed URLs (V4), and AIP-4111 for self-signed tokens.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.integration.capabilities.storage.s3_server import Environ, Gate, Refused, pair

from bulkhead.engine import clock

SCOPES = {
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/devstorage.read_write",
}


@dataclass(frozen=True)
class ServiceAccount:
    """An account and its key."""

    email: str = "shop@project-1.iam.gserviceaccount.com"
    key_id: str = "0123456789abcdef"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def to_json(self, **other: str) -> str:
        """The file that Google gives out for it."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        fields = {
            "type": "service_account",
            "project_id": "project-1",
            "private_key_id": self.key_id,
            "private_key": pem.decode(),
            "client_email": self.email,
            "token_uri": "https://oauth2.googleapis.com/token",
        }
        return json.dumps({**fields, **other})


@dataclass
class GoogleGate(Gate):
    """Lets only what known accounts have signed through."""

    accounts: dict[str, ServiceAccount] = field(default_factory=dict)

    def verify(self, environ: Environ, headers: Mapping[str, str]) -> str:
        query = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
        asked = dict(query)
        if "X-Goog-Signature" in asked:
            self._verify_address(environ, headers, query)
        else:
            self._verify_token(headers.get("authorization", ""))
        plain = quote(unquote(environ["RAW_URI"].partition("?")[0]))
        rest = urlencode([it for it in query if not it[0].startswith("X-Goog-")])
        environ["RAW_URI"] = f"{plain}?{rest}" if rest else plain
        if (source := environ.pop("HTTP_X_GOOG_COPY_SOURCE", None)) is not None:
            environ["HTTP_X_AMZ_COPY_SOURCE"] = source
        return rest

    def _verify_token(self, header: str) -> None:
        try:
            head, claims, signature = header.removeprefix("Bearer ").split(".")
            told, said = json.loads(_decode(head)), json.loads(_decode(claims))
        except ValueError:
            raise Refused("AuthenticationRequired") from None
        account = self.accounts.get(said["iss"])
        if account is None or told != {"typ": "JWT", "alg": "RS256", "kid": account.key_id}:
            raise Refused("AccessDenied")
        self._verify(account, f"{head}.{claims}".encode(), _decode(signature))
        now_s = clock.now().timestamp() + self.ahead_s
        if said["sub"] != said["iss"] or not said["iat"] - 60 <= now_s <= said["exp"]:
            raise Refused("AccessDenied")
        if said["exp"] - said["iat"] > 3600 or said["scope"] not in SCOPES:
            raise Refused("AccessDenied")

    def _verify_address(
        self, environ: Environ, headers: Mapping[str, str], query: list[tuple[str, str]]
    ) -> None:
        told = dict(query)
        email, _, scope = told["X-Goog-Credential"].partition("/")
        if email not in self.accounts or not scope.endswith("/auto/storage/goog4_request"):
            raise Refused("AccessDenied")
        names = told["X-Goog-SignedHeaders"].split(";")
        canonical = "\n".join(
            [
                environ["REQUEST_METHOD"],
                environ["RAW_URI"].partition("?")[0],
                "&".join(sorted(pair(*it) for it in query if it[0] != "X-Goog-Signature")),
                *(f"{name}:{headers[name].strip()}" for name in names),
                "",
                told["X-Goog-SignedHeaders"],
                "UNSIGNED-PAYLOAD",
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["GOOG4-RSA-SHA256", told["X-Goog-Date"], scope, digest])
        self._verify(self.accounts[email], text.encode(), bytes.fromhex(told["X-Goog-Signature"]))
        signed_at = dt.datetime.strptime(told["X-Goog-Date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
        age_s = (clock.now() - signed_at).total_seconds() + self.ahead_s
        if age_s > int(told["X-Goog-Expires"]):
            raise Refused("ExpiredToken")

    def _verify(self, account: ServiceAccount, text: bytes, signature: bytes) -> None:
        public: Any = account.key.public_key()
        try:
            public.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Refused("SignatureDoesNotMatch") from None


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
