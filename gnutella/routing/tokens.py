"""Tokens: bytes that prove that whoever sends them received something at the address they were made for.

They are keyed hashes, so nothing is kept for any of them.  The key of the hash changes with each period; a token holds during
the period it was made in and the next one (the out-of-band tokens and query keys of digest 8.5 and 8.6).

    tokens = Tokens(secret, life_s=180.0)
    token = tokens.make(now, source, guid)
    tokens.holds(token, now, source, guid)
"""

from __future__ import annotations

import hashlib
import hmac

from gnutella.errors import LocalMisuse
from gnutella.units import Address

#: Bytes of a token: 4 to 16 are read by others (digest 3.3, QK and SO); eight cannot be guessed over a network.
TOKEN_BYTES = 8
#: Bytes of a secret.
SECRET_BYTES = 32


class Tokens:
    """`secret` is what nobody else knows: real randomness, new with each run.  `purpose` keeps kinds of tokens apart."""

    def __init__(self, secret: bytes, life_s: float, purpose: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise LocalMisuse(f"a secret of {len(secret)} bytes")
        self._key = hashlib.blake2b(purpose, key=secret[:64], digest_size=32).digest()
        self._life_s = life_s

    def make(self, now: float, source: Address, about: bytes = b"") -> bytes:
        """The token of a host (IP and port) about something."""
        return self._of(int(now // self._life_s), source, about)

    def holds(self, token: bytes, now: float, source: Address, about: bytes = b"") -> bool:
        """Whether this very token was made for that host, in this period or the last one."""
        period = int(now // self._life_s)
        return any(hmac.compare_digest(token, self._of(one, source, about)) for one in (period, period - 1))

    def _of(self, period: int, source: Address, about: bytes) -> bytes:
        told = b"%d %b\0" % (period, str(source).encode("utf-8", "replace")) + about
        return hashlib.blake2b(told, key=self._key, digest_size=TOKEN_BYTES).digest()
