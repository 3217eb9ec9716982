"""A public key of an issuer of access tokens, and what it may have signed."""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class NoKeysError(Exception):
    """The issuer gave no keys; the text says why, in words of ours."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One of the issuer's keys."""

    kid: str | None
    algorithm: str | None
    """The only one that it is for, if it says so."""
    public: PublicKey

    def serves(self, kid: str | None, algorithm: str) -> bool:
        """Whether it may have signed a token with that header."""
        return kid in (None, self.kid) and self.algorithm in (None, algorithm) and _fits(self.public, algorithm)


def _fits(key: PublicKey, algorithm: str) -> bool:
    """Whether an algorithm can go with a key of that type."""
    if isinstance(key, RSAPublicKey):
        return algorithm[:2] in ("RS", "PS")
    if isinstance(key, EllipticCurvePublicKey):
        return _CURVES.get(algorithm) == key.curve.name
    return algorithm == "EdDSA"
