"""An authorization server as far as we know one: its metadata, its keys, and the tokens that it signs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.waiting import until

RESOURCE = "https://busbar.example"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_CURVES: dict[str, type[Any]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


class SigningKey:
    """A key of the issuer's."""

    def __init__(self, kid: str, algorithm: str = "ES256", *, bits: int = 2048, says_algorithm: bool = True) -> None:
        """Make one; RSA keys have so many bits, and not every issuer says what a key is for."""
        self.kid = kid
        self.algorithm = algorithm
        self.private: PrivateKey
        if algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        elif algorithm in _CURVES:
            self.private = ec.generate_private_key(_CURVES[algorithm]())
        else:
            self.private = rsa.generate_private_key(65537, bits)
        codec: Any = jwt.get_algorithm_by_name(algorithm)
        self.jwk = {**json.loads(codec.to_jwk(self.private.public_key())), "kid": kid, "use": "sig"}
        if says_algorithm:
            self.jwk["alg"] = algorithm

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Return the token."""
        return jwt.encode(claims, self.private, self.algorithm, {"kid": self.kid, "typ": "at+jwt", **header})


class AuthorizationServer:
    """What it says; the attributes say how."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [SigningKey("first")]
        self.metadata: dict[str, Any] = {"issuer": url, "jwks_uri": f"{url}/keys"}
        self.metadata_path = "/.well-known/oauth-authorization-server"
        self.is_up = True
        self.asked: list[str] = []
        """The paths that were asked for."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.body: bytes | None = None
        """Told in place of the keys."""

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return those of a good token that gives all rights; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "somebody",
            "aud": f"{RESOURCE}/mcp",
            "iat": now,
            "exp": now + 600,
            "scope": "busbar:query",
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, **changed: Any) -> str:
        """Return a token of the newest key."""
        return self.keys[-1].sign(self.claims(**changed))

    async def asked_again(self) -> None:
        """Return when it has been asked for its keys once more."""
        before = self.asked.count("/keys")
        await until(lambda: self.asked.count("/keys") > before)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append(request.path)
        await self.may_answer.wait()
        if not self.is_up:
            return web.Response(status=503)
        if request.path == self.metadata_path:
            return web.json_response(self.metadata)
        if request.path == "/keys":
            if self.body is not None:
                return web.Response(body=self.body)
            return web.json_response({"keys": [key.jwk for key in self.keys]})
        return web.Response(status=404)


@asynccontextmanager
async def authorization_server() -> AsyncIterator[AuthorizationServer]:
    """Run one on a free port of loopback."""
    application = web.Application()
    runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await server.handle(request)

    application.router.add_route("*", "/{path:.*}", handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server = AuthorizationServer(f"http://{host}:{port}")
    try:
        yield server
    finally:
        server.may_answer.set()
        await runner.cleanup()
