"""The keys by which NATS knows its users: Ed25519, in NATS's own writing."""

import binascii
import os
import re
from base64 import b32decode, b32encode
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED: Final = re.compile(r"SU[A-Z2-7]{56}")
_SEED_PREFIX: Final = b"\x95\x00"
"""Of a user's seed: `SU` in base32."""
_PUBLIC_PREFIX: Final = b"\xa0"
"""Of a user's public key: `U` in base32."""


class UserNkey:
    """A user's key pair: the seed is the secret, the public key is what NATS is told.

    Source:
        nkeys, README: base32 of a prefix, the 32 bytes of the key and their CRC-16, little-endian.
    """

    def __init__(self, seed: str) -> None:
        """Read a seed.

        Raises:
            ValueError: it is none, or a character of it was lost or mistyped.
        """
        if not _SEED.fullmatch(seed):
            raise ValueError("must be the seed of a user's nkey: SU and 56 more letters and digits")
        decoded = b32decode(seed + "=" * (-len(seed) % 8))
        if _checksum(decoded[:-2]) != decoded[-2:]:
            raise ValueError("is not the seed of a user's nkey: its checksum is wrong")
        self._key = Ed25519PrivateKey.from_private_bytes(decoded[len(_SEED_PREFIX) : -2])

    @property
    def public_key(self) -> str:
        """The public key, as NATS writes it."""
        return _written(_PUBLIC_PREFIX + self._key.public_key().public_bytes_raw())

    def sign(self, challenge: bytes) -> bytes:
        """Return the signature of what the server sent."""
        return self._key.sign(challenge)


def new_seed() -> str:
    """Return the seed of a new user."""
    return _written(_SEED_PREFIX + os.urandom(32))


def _written(content: bytes) -> str:
    return b32encode(content + _checksum(content)).decode().rstrip("=")


def _checksum(content: bytes) -> bytes:
    return binascii.crc_hqx(content, 0).to_bytes(2, "little")
