"""Seals: what only the pivot can open, once and soon; and the pair of ciphers that a circuit has afterwards.

A seal is one byte of suite and an HPKE message (RFC 9180, base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305) of fixed size.
Which of its two keys it is for is not said: the pivot tries both.  In it are a secret, the origin's half of a key agreement,
the minute and the first instruction.  The pivot's first cell holds its own half, under a key from the secret alone; every later
cell of both directions is under keys from both, so a pivot key that leaks later opens no more of a circuit than its seal.
Between its seal and that answer the origin sends cover, under a key of the secret that is good for nothing else.

Pure: `now` is seconds since 1970; chance comes in as bytes and keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anonymizer import inner
from anonymizer.fields import Body, Number, Octets
from anonymizer.inner import PUBLIC_KEY, TAG_SIZE, fill, unfill
from anonymizer.reasons import Refusal, Violation
from anonymizer.seen import Generations
from anonymizer.wire import SEALED_SIZE, Kinds
from gnutella.errors import LocalMisuse

#: Byte of the only suite that is spoken: a post-quantum one shall be able to follow.
X25519_SUITE: Final = 1
ENC_SIZE: Final = 32
#: Plaintext of a seal, with its length before it and zeros after it.
SEAL_PLAIN: Final = SEALED_SIZE - 1 - ENC_SIZE - TAG_SIZE
#: The first instruction; what else is in the seal takes 80 bytes.
MAX_FIRST: Final = 1_300
#: Clocks of honest nodes differ by this at most.
WINDOW_MIN: Final = 5
#: Seals remembered in each of two generations.
MAX_SEALS: Final = 65_536
#: A seal can be opened for 2 * WINDOW_MIN minutes and the one that it begins in; it is remembered for longer.
GENERATION_S: Final = 60 * (2 * WINDOW_MIN + 1)
PIVOT_KEY_S: Final = 7 * 24 * 3_600
VALID_PIVOT_KEYS: Final = 2
#: Cells under one key; a circuit of an hour never gets there.
MAX_CELLS: Final = 2**32
_HPKE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_OPEN_LABEL: Final = b"arl1-open"

NewKey = Callable[[], X25519PrivateKey]
_DUMMY: Final = inner.plain_of(inner.Dummy())


@dataclass(frozen=True, slots=True)
class SealContent(Body):
    """What is in a seal."""

    secret: bytes
    public_key: bytes
    minute: int
    first: bytes
    KINDS: ClassVar[Kinds] = (Octets(32), PUBLIC_KEY, Number(0, 2**32 - 1), Octets(0, MAX_FIRST))


def key_id(public_key: bytes) -> bytes:
    """What a pivot key is called inside the derivation."""
    return hashlib.sha256(b"arl1-pivot-key" + public_key).digest()[:8]


def hpke_seal(public_key: bytes, info: bytes, plain: bytes) -> bytes:
    """For the holder of the key alone; ENC_SIZE + TAG_SIZE longer than `plain`.  LocalMisuse if it is no key."""
    try:
        return _HPKE.encrypt(plain, X25519PublicKey.from_public_bytes(public_key), info)
    except ValueError as error:
        raise LocalMisuse(f"no X25519 key: {error}") from None


def hpke_open(private_key: X25519PrivateKey, info: bytes, sealed: bytes) -> bytes | None:
    """What was sealed; None if it was not sealed to this key with this info, or was changed."""
    try:
        return _HPKE.decrypt(sealed, private_key, info)
    except (InvalidTag, ValueError):
        return None


# -- the origin ----------------------------------------------------------------------------------------------------------


class Half:
    """One direction of a circuit: cells under one key, counted on both sides.  After one bad tag it opens nothing more."""

    __slots__ = ("_aead", "_count", "is_broken")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._count = 0
        self.is_broken = False

    def seal(self, plain: bytes) -> bytes:
        return self._aead.encrypt(self._nonce(), plain, None)

    def open(self, data: bytes) -> bytes:
        """Violation(BAD_TAG) if it is not the next cell of the other side."""
        if self.is_broken:
            raise Violation(Refusal.BAD_TAG, "after a bad one")
        try:
            return self._aead.decrypt(self._nonce(), data, None)
        except InvalidTag:
            self.is_broken = True
            raise Violation(Refusal.BAD_TAG) from None

    def _nonce(self) -> bytes:
        if self._count == MAX_CELLS:
            raise LocalMisuse("too many cells under one key")
        count = self._count
        self._count = count + 1
        return count.to_bytes(12, "big")


class End:
    """One end of a circuit that is open: what it says and what it hears, in cells that are always full."""

    __slots__ = ("_cover", "_receives", "_sends")

    def __init__(self, sends: Half, receives: Half, cover: Half | None = None) -> None:
        self._sends, self._receives, self._cover = sends, receives, cover

    def say(self, body: Body) -> bytes:
        """The ciphertext of the cell that says it."""
        return self._sends.seal(inner.plain_of(body))

    def hear(self, data: bytes) -> Body:
        """What the cell says; Violation(BAD_TAG or BAD_INNER) ends the circuit."""
        if self._cover is not None:
            try:
                said = inner.read_plain(self._cover.open(data))
            except Violation as violation:
                if violation.reason is not Refusal.BAD_TAG:
                    raise
                # The origin has the answer: from now on everything is under the keys of both.
                self._cover = None
            else:
                if not isinstance(said, inner.Dummy):
                    raise Violation(Refusal.BAD_INNER, "said before the answer")
                return said
        return inner.read_plain(self._receives.open(data))


class Opening:
    """The origin's side of a circuit that is being opened: `sealed` goes to the pivot, `opened` takes its first cell."""

    def __init__(
        self, pivot_id: bytes, pivot_key: bytes, first: bytes, now: float, secret: bytes, ephemeral: X25519PrivateKey
    ) -> None:
        content = SealContent(secret, ephemeral.public_key().public_bytes_raw(), int(now // 60), first)
        plain = fill(content.encode(SEAL_PLAIN), SEAL_PLAIN)
        self.sealed = bytes((X25519_SUITE,)) + hpke_seal(pivot_key, _info(pivot_id, pivot_key), plain)
        self._secret, self._ephemeral = secret, ephemeral
        self._cover = Half(_cover_key(secret, self.sealed))

    def cover(self) -> bytes:
        """A cell that says nothing, until the answer is here."""
        return self._cover.seal(_DUMMY)

    def opened(self, data: bytes) -> End:
        """The pivot's first cell has come; from now on both speak under keys of both."""
        said = inner.read_plain(Half(_first_key(self._secret, self.sealed)).open(data))
        if not isinstance(said, inner.Opened):
            raise Violation(Refusal.BAD_INNER, "no answer to a seal")
        up, down = _keys(self._secret, self._ephemeral, said.public_key, self.sealed, said.public_key)
        return End(Half(up), Half(down))


# -- the pivot -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A seal that was opened: the first instruction (not read yet), and what the answer is made from."""

    first: bytes
    sealed: bytes
    content: SealContent

    def answer(self, ephemeral: X25519PrivateKey) -> tuple[bytes, End]:
        """The pivot's first cell, and its end of the circuit."""
        public_key = ephemeral.public_key().public_bytes_raw()
        cell = Half(_first_key(self.content.secret, self.sealed)).seal(inner.plain_of(inner.Opened(public_key)))
        up, down = _keys(self.content.secret, ephemeral, self.content.public_key, self.sealed, public_key)
        return cell, End(Half(down), Half(up), Half(_cover_key(self.content.secret, self.sealed)))


class PivotKeys:
    """The HPKE keys of a pivot: a new one each week, two of them valid, older ones gone.

    `rows` is what an earlier run kept on disk: raw private keys and when they were made.
    """

    def __init__(self, now: float, new_key: NewKey, rows: Iterable[tuple[bytes, float]] = ()) -> None:
        self._new_key = new_key
        self._keys = [(X25519PrivateKey.from_private_bytes(raw), min(made, now)) for raw, made in rows]
        self._keys.sort(key=lambda row: -row[1])
        self.turn(now)

    def turn(self, now: float) -> bool:
        """Call now and then.  True: the keys are others than before, so a new descriptor is due."""
        before = [made for _, made in self._keys]
        kept = [row for row in self._keys if now - row[1] < VALID_PIVOT_KEYS * PIVOT_KEY_S]
        if not kept or now - kept[0][1] >= PIVOT_KEY_S:
            kept.insert(0, (self._new_key(), now))
        self._keys = kept[:VALID_PIVOT_KEYS]
        return [made for _, made in self._keys] != before

    @property
    def private(self) -> tuple[X25519PrivateKey, ...]:
        """The newest first."""
        return tuple(key for key, _ in self._keys)

    @property
    def public(self) -> tuple[bytes, ...]:
        """As descriptors hold them: each after the byte of its suite, the newest first."""
        return tuple(bytes((X25519_SUITE,)) + key.public_key().public_bytes_raw() for key in self.private)

    def rows(self) -> list[tuple[bytes, float]]:
        return [(key.private_bytes_raw(), made) for key, made in self._keys]


class Replays:
    """Seals that were opened: nothing is forgotten before its time, and when full nothing is taken."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int = MAX_SEALS) -> None:
        self._limit = limit
        self._seen = Generations(GENERATION_S)

    def __len__(self) -> int:
        return len(self._seen)

    def check(self, seal: bytes, now: float) -> None:
        """Violation if it was here before, or could not be remembered."""
        self._seen.turn(now)
        if seal in self._seen:
            raise Violation(Refusal.SEAL_REPLAYED)
        if self._seen.young >= self._limit:
            raise Violation(Refusal.SEALS_FULL)

    def add(self, seal: bytes) -> None:
        """It was opened; after `check`."""
        self._seen.add(seal)


class Unsealer:
    """Opens the seals to one pivot."""

    def __init__(self, pivot_id: bytes, keys: PivotKeys, replays: Replays) -> None:
        self._pivot_id, self._keys, self._replays = pivot_id, keys, replays

    def open(self, sealed: bytes, now: float) -> Unsealed:
        """What is in it, the first time and within the window; anything else is a Violation.

        Only what opens is remembered, so garbage cannot fill the memory.
        """
        if len(sealed) != SEALED_SIZE or sealed[0] != X25519_SUITE:
            raise Violation(Refusal.SEAL_SUITE)
        seal = hashlib.sha256(sealed[1 : 1 + ENC_SIZE]).digest()
        self._replays.check(seal, now)
        content = SealContent.decode(
            unfill(self._open(sealed[1:]), Refusal.SEAL_CONTENT), SEAL_PLAIN, Refusal.SEAL_CONTENT
        )
        if abs(int(now // 60) - content.minute) > WINDOW_MIN:
            raise Violation(Refusal.SEAL_TIME)
        self._replays.add(seal)
        return Unsealed(content.first, sealed, content)

    def _open(self, message: bytes) -> bytes:
        for private in self._keys.private:
            info = _info(self._pivot_id, private.public_key().public_bytes_raw())
            plain = hpke_open(private, info, message)
            if plain is not None:
                return plain
        raise Violation(Refusal.SEAL_BROKEN)


# -- keys ----------------------------------------------------------------------------------------------------------------


def _info(pivot_id: bytes, pivot_key: bytes) -> bytes:
    return _OPEN_LABEL + pivot_id + key_id(pivot_key)


def _derive(material: bytes, label: bytes, transcript: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=label + hashlib.sha256(transcript).digest()).derive(material)


def _first_key(secret: bytes, sealed: bytes) -> bytes:
    """Of the pivot's first cell and of nothing else."""
    return _derive(secret, b"arl1-first", sealed)


def _cover_key(secret: bytes, sealed: bytes) -> bytes:
    """Of what the origin sends before it has the answer."""
    return _derive(secret, b"arl1-cover", sealed)


def _keys(
    secret: bytes, own: X25519PrivateKey, other: bytes, sealed: bytes, pivot_public: bytes
) -> tuple[bytes, bytes]:
    """(up, down), the same on both sides."""
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # a point of low order
        raise Violation(Refusal.SEAL_CONTENT, "no key agreement with this key") from None
    material, transcript = secret + shared, sealed + pivot_public
    return _derive(material, b"arl1-up", transcript), _derive(material, b"arl1-dn", transcript)
