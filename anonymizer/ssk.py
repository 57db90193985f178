"""Signed keys: a small mutable document that only the holder of its key can write, and that nobody on the way can read.

    record  = version 1, algorithm 1, public key 32, name hash 32, sequence 8, salt 16, sealed text 1,042, signature 64
    routing = SHA-256("arl1-ssk" + name hash + SHA-256(public key))
    name hash = HKDF(read secret, "eh" + name);  document key = HKDF(read secret, "doc" + salt + name)

Relays check name hash, public key and signature without the read secret.  A larger sequence number replaces a smaller one;
two records with the same number are a fork, of which both are kept, the one with the smaller SHA-256 first.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from anonymizer.chk import KEY_BYTES, derive
from anonymizer.errors import BadKey, IntegrityFailure
from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

#: Data of one document (design section 3.15); with the rest it fits a small cell.
DOCUMENT_BYTES = 1_024
SALT_BYTES = 16
MAX_SEQUENCE = 2**64 - 1
#: Longest name of a document, in bytes of UTF-8: one part of a path.
MAX_NAME_BYTES = 255
_HEAD = b"\x01\x01"
_PLAIN_BYTES = 2 + DOCUMENT_BYTES
_SEALED_AT = 2 + 32 + 32 + 8 + SALT_BYTES
_SIGNATURE_AT = _SEALED_AT + _PLAIN_BYTES + 16
RECORD_BYTES = _SIGNATURE_AT + 64
_NONCE = bytes(12)
#: Records of one key that are kept: a fork shows with two.
MAX_FORKS = 2
#: Argon2id of keywords (design section 3.15): makes each guess of a dictionary cost tens of milliseconds and 64 MiB.
_ARGON2_SALT, _ARGON2_KIB, _ARGON2_PASSES = b"arl1-ksk", 64 * 1024, 3
#: The one document under a keyword.
KEYWORD_DOCUMENT = "ksk"
#: To be shown wherever a keyword key is made or read.
KEYWORD_WARNING = "anyone who guesses the keyword can read this and replace it"


@dataclass(frozen=True, slots=True)
class Record:
    """The parts of a record that relays see."""

    public: bytes
    name_hash: bytes
    sequence: int
    salt: bytes
    sealed: bytes
    signature: bytes
    raw: bytes

    @property
    def routing(self) -> bytes:
        return _routing(self.name_hash, hashlib.sha256(self.public).digest())


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest document that was found; `is_fork` if its owner signed two of the same number."""

    sequence: int
    data: bytes
    is_fork: bool


@dataclass(frozen=True, slots=True)
class ReadKey:
    """What a reader has: whose documents (SHA-256 of the public key), and the secret that opens them."""

    namespace: bytes
    secret: bytes

    def routing(self, name: str) -> bytes:
        """The key under which the document called `name` is asked for."""
        return _routing(self._name_hash(name), self.namespace)

    def read(self, name: str, records: Iterable[bytes]) -> Reading:
        """The newest of what came back for `name`.

        RemoteViolation if a record is not of this key: ask somebody else.  IntegrityFailure if its owner sealed it wrongly.
        """
        kept: tuple[bytes, ...] = ()
        for raw in records:
            kept = merge(kept, check_record(self.routing(name), raw).raw)
        if not kept:
            raise LocalMisuse("no record to read")
        record = parse_record(kept[0])
        key = derive(self.secret, b"doc" + record.salt + _name_bytes(name))
        try:
            plain = ChaCha20Poly1305(key).decrypt(_NONCE, record.sealed, record.raw[:_SEALED_AT])
        except InvalidTag:
            raise IntegrityFailure("seal of a document", record.routing) from None
        return Reading(record.sequence, _unpad(plain), len(kept) > 1)

    def _name_hash(self, name: str) -> bytes:
        return derive(self.secret, b"eh" + _name_bytes(name))


@dataclass(frozen=True, slots=True)
class WriteKey:
    """What the owner has: the seed of an Ed25519 key pair, and the secret given to readers."""

    seed: bytes
    secret: bytes

    @property
    def public(self) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    @property
    def read_key(self) -> ReadKey:
        return ReadKey(hashlib.sha256(self.public).digest(), self.secret)

    def write(self, name: str, sequence: int, data: bytes, chance: bytes) -> bytes:
        """The signed record.

        `chance` is SALT_BYTES from the system's generator.  It is mixed with what is written, so that two texts never share
        a key even if a restored machine draws the same chance twice.
        """
        if len(data) > DOCUMENT_BYTES or not 0 <= sequence <= MAX_SEQUENCE or len(chance) != SALT_BYTES:
            raise LocalMisuse("a document, a number or a salt beyond its size")
        number = sequence.to_bytes(8, "big")
        mixing = derive(self.seed, b"arl1-salt")
        salt = hashlib.sha256(mixing + chance + number + _name_bytes(name) + b"\0" + data).digest()[:SALT_BYTES]
        head = _HEAD + self.public + self.read_key._name_hash(name) + number + salt
        plain = (len(data).to_bytes(2, "big") + data).ljust(_PLAIN_BYTES, b"\0")
        key = derive(self.secret, b"doc" + salt + _name_bytes(name))
        body = head + ChaCha20Poly1305(key).encrypt(_NONCE, plain, head)
        return body + Ed25519PrivateKey.from_private_bytes(self.seed).sign(body)


def keyword_key(keyword: str) -> WriteKey:
    """The key pair that everybody gets from the same word, in about 100 ms and 64 MiB; show KEYWORD_WARNING with it."""
    word = unicodedata.normalize("NFC", keyword).encode()
    if not word or len(word) > MAX_NAME_BYTES:
        raise BadKey(f"a keyword has 1 to {MAX_NAME_BYTES} bytes")
    both = Argon2id(
        salt=_ARGON2_SALT, length=2 * KEY_BYTES, iterations=_ARGON2_PASSES, lanes=1, memory_cost=_ARGON2_KIB
    ).derive(word)
    return WriteKey(both[:KEY_BYTES], both[KEY_BYTES:])


def parse_record(raw: bytes) -> Record:
    """The parts of a record, not yet checked; RemoteViolation(BAD_BLOCK) if it is none."""
    if len(raw) != RECORD_BYTES or raw[:2] != _HEAD:
        raise RemoteViolation(DropReason.BAD_BLOCK, "no record of this version")
    number = int.from_bytes(raw[66:74], "big")
    sealed, signature = raw[_SEALED_AT:_SIGNATURE_AT], raw[_SIGNATURE_AT:]
    return Record(raw[2:34], raw[34:66], number, raw[74:_SEALED_AT], sealed, signature, raw)


def check_record(routing: bytes, raw: bytes) -> Record:
    """What every relay does before it stores or passes on; RemoteViolation(BAD_BLOCK) unless it is that key's, and signed."""
    record = parse_record(raw)
    if record.routing != routing:
        raise RemoteViolation(DropReason.BAD_BLOCK, "a record of another key")
    try:
        Ed25519PublicKey.from_public_bytes(record.public).verify(record.signature, raw[:_SIGNATURE_AT])
    except (InvalidSignature, ValueError):
        raise RemoteViolation(DropReason.BAD_BLOCK, "its signature does not hold") from None
    return record


def merge(held: tuple[bytes, ...], new: bytes) -> tuple[bytes, ...]:
    """What to keep of one key when a checked record arrives: the largest number, and of a fork the two smallest hashes."""
    number = parse_record(new).sequence
    best = parse_record(held[0]).sequence if held else -1
    if number != best:
        return (new,) if number > best else held
    return tuple(sorted({*held, new}, key=lambda raw: hashlib.sha256(raw).digest())[:MAX_FORKS])


def _routing(name_hash: bytes, namespace: bytes) -> bytes:
    return hashlib.sha256(b"arl1-ssk" + name_hash + namespace).digest()


def _name_bytes(name: str) -> bytes:
    raw = unicodedata.normalize("NFC", name).encode()
    if len(raw) > MAX_NAME_BYTES:
        raise BadKey(f"a name has at most {MAX_NAME_BYTES} bytes")
    return raw


def _unpad(plain: bytes) -> bytes:
    end = 2 + int.from_bytes(plain[:2], "big")
    if end > _PLAIN_BYTES or plain.count(0, end) != _PLAIN_BYTES - end:
        raise IntegrityFailure("padding of a document")
    return plain[2:end]
