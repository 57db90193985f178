"""Content keys: a block of fixed size whose name is its hash, and whose contents its name does not give away.

    block   = version 1, algorithm 1, ChaCha20-Poly1305 of (length in two bytes, data, zeros)        32,788 bytes
    routing = SHA-256("arl1-chk" + block)

Whoever carries a block can check it against its routing key and cannot read it.  A reader has a file key besides, from which
the key of each block is drawn by its place, so that each seals exactly one text and a fixed nonce is safe.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anonymizer.errors import IntegrityFailure
from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

KEY_BYTES = 32
#: Data of one block (design section 3.15): 32 KiB, as in Freenet.
DATA_BYTES = 32_768
_LENGTH_BYTES = 2
#: What is sealed: a length, the data, zeros.
PLAIN_BYTES = _LENGTH_BYTES + DATA_BYTES
_HEAD = b"\x01\x01"
_TAG_BYTES = 16
BLOCK_BYTES = len(_HEAD) + PLAIN_BYTES + _TAG_BYTES
_AAD = b"arl1-chk"
_NONCE = bytes(12)
#: Kinds of place that a block has in its file; each has numbers of its own.
DATA, CHECK = 0, 1


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed block and the key that it is stored and asked for under."""

    routing: bytes
    sealed: bytes


def derive(secret: bytes, info: bytes, size: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256 without salt: a key of `size` bytes for the purpose that `info` names."""
    return HKDF(SHA256(), size, None, info).derive(secret)


def convergent_hash() -> hashlib._Hash:
    """A hash to feed a file into; its digest is the file key that is the same for everybody who has that file.

    Who can guess the file can tell that it is stored; use a random key for what is private.
    """
    return hashlib.sha256(b"arl1-conv")


def pad(data: bytes) -> bytes:
    """`data` as it is sealed: its length before it, zeros behind it."""
    if len(data) > DATA_BYTES:
        raise LocalMisuse(f"{len(data)} bytes in one block")
    return (len(data).to_bytes(_LENGTH_BYTES, "big") + data).ljust(PLAIN_BYTES, b"\0")


def unpad(plain: bytes) -> bytes:
    """The data of a padded text; IntegrityFailure if its publisher padded it otherwise."""
    end = _LENGTH_BYTES + int.from_bytes(plain[:_LENGTH_BYTES], "big")
    if len(plain) != PLAIN_BYTES or end > PLAIN_BYTES or plain.count(0, end) != PLAIN_BYTES - end:
        raise IntegrityFailure("padding of a block")
    return plain[_LENGTH_BYTES:end]


def routing_of(sealed: bytes) -> bytes:
    return hashlib.sha256(_AAD + sealed).digest()


def check_block(routing: bytes, sealed: bytes) -> None:
    """What every relay does before it stores or passes on: RemoteViolation(BAD_BLOCK) unless the bytes are that key's."""
    if len(sealed) != BLOCK_BYTES or sealed[:2] != _HEAD:
        raise RemoteViolation(DropReason.BAD_BLOCK, "no block of this version")
    if routing_of(sealed) != routing:
        raise RemoteViolation(DropReason.BAD_BLOCK, "its hash is not its key")


def seal(plain: bytes, file_key: bytes, kind: int, index: int) -> Block:
    """The block with number `index` of its kind in the file of `file_key`; a place never gets two different texts."""
    if len(plain) != PLAIN_BYTES:
        raise LocalMisuse("a text that is not padded")
    sealed = _HEAD + ChaCha20Poly1305(_block_key(file_key, kind, index)).encrypt(_NONCE, plain, _AAD)
    return Block(routing_of(sealed), sealed)


def unseal(routing: bytes, sealed: bytes, file_key: bytes, kind: int, index: int) -> bytes:
    """The padded text of a block.

    RemoteViolation if the bytes are not that key's: ask somebody else.  IntegrityFailure if they are, and the file key does
    not open them: whoever published them made it so.
    """
    check_block(routing, sealed)
    try:
        return ChaCha20Poly1305(_block_key(file_key, kind, index)).decrypt(_NONCE, sealed[len(_HEAD) :], _AAD)
    except InvalidTag:
        raise IntegrityFailure("seal of a block", routing) from None


def _block_key(file_key: bytes, kind: int, index: int) -> bytes:
    return derive(file_key, b"arl1-block" + bytes((kind,)) + index.to_bytes(8, "big"))
