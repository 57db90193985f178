"""What is said inside a circuit, where only the origin and its pivot can read: instructions and answers.

An instruction is a canonical CBOR map, key 0 its type and the fields after it (anonymizer.fields).  Each goes alone into a cell
that is always full: two bytes of length, the map, zeros.  Blocks take large cells and everything else small ones, so that hits,
failures and dummies look alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from anonymizer import cbor
from anonymizer.cells import LARGE_BODY, SMALL_BODY
from anonymizer.fields import Body, Flag, Many, Number, Octets, OneOf, Text, read_map
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import BLOCK_SIZES, MAX_COPIES, MAX_CREDIT, MAX_SEEK_TEXT, NODE_ID, ROUTING, BlockType, Kinds
from gnutella.errors import LocalMisuse

#: The tag of ChaCha20-Poly1305.
TAG_SIZE = 16
#: Plaintext of one cell of a circuit.
SMALL_PLAIN, LARGE_PLAIN = SMALL_BODY - TAG_SIZE, LARGE_BODY - TAG_SIZE
_LENGTH_SIZE = 2
#: As many as go with a seal (seal.MAX_FIRST).  The design has 16; with 36 a fetch asks as fast with fewer cells.
MAX_FETCH_KEYS = 36
MAX_HITS = 64
#: A hit sealed to who searched; it shares a small cell with its fields.
MAX_SEALED_HIT = 1_440
#: Longest name that a file system of ours takes.
MAX_NAME = 255
TOKEN: Final = Octets(16)
PUBLIC_KEY: Final = Octets(32)
#: A type of block and a routing key, as one string.
_KEY_SIZE = 33


class FailReason(IntEnum):
    """Why the pivot could not do what it was told."""

    NOT_FOUND = 0
    NO_ROUTE = 1
    OVERLOAD = 2
    REFUSED = 3
    PROVIDER_GONE = 4
    NO_GATEWAY = 5


@dataclass(frozen=True, slots=True)
class Opened(Body):
    """The pivot's first answer: its half of the key agreement."""

    public_key: bytes
    KINDS: ClassVar[Kinds] = (PUBLIC_KEY,)


@dataclass(frozen=True, slots=True)
class FetchKeys(Body):
    """Fetch these blocks; each key is its type (one byte) and its routing key."""

    keys: tuple[bytes, ...]
    KINDS: ClassVar[Kinds] = (Many(Octets(_KEY_SIZE), 1, MAX_FETCH_KEYS),)

    def check(self) -> None:
        if any(key[0] not in BLOCK_SIZES for key in self.keys):
            raise Violation(Refusal.BAD_INNER, "a key of no type")


@dataclass(frozen=True, slots=True)
class InnerBlock(Body):
    """A block, found."""

    type: BlockType
    block: bytes
    KINDS: ClassVar[Kinds] = (OneOf(BlockType), Octets(min(BLOCK_SIZES.values()), max(BLOCK_SIZES.values())))

    def check(self) -> None:
        if len(self.block) != BLOCK_SIZES[self.type]:
            raise Violation(Refusal.BAD_INNER, "a block without its length")


@dataclass(frozen=True, slots=True)
class Fail(Body):
    """No block for this key; of a search, `routing` is its reply key, and of a token what `place_of` makes of it."""

    reason: FailReason
    routing: bytes
    KINDS: ClassVar[Kinds] = (OneOf(FailReason), ROUTING)


@dataclass(frozen=True, slots=True)
class StoreBlock(InnerBlock):
    """Store this block; `second` at its salted place."""

    second: bool
    KINDS: ClassVar[Kinds] = (*InnerBlock.KINDS, Flag())


@dataclass(frozen=True, slots=True)
class InnerStored(Body):
    """It was stored, in so many copies."""

    routing: bytes
    copies: int
    KINDS: ClassVar[Kinds] = (ROUTING, Number(0, MAX_COPIES))


@dataclass(frozen=True, slots=True)
class InnerSeek(Body):
    """Search the layer; `gateway` asks for a query of the plain overlay as well, in the pivot's own name."""

    text: str
    kinds: int
    hits: int
    reply_key: bytes
    gateway: bool
    KINDS: ClassVar[Kinds] = (Text(MAX_SEEK_TEXT), Number(0, 0xFF), Number(1, MAX_HITS), PUBLIC_KEY, Flag())


@dataclass(frozen=True, slots=True)
class Hit(Body):
    """A hit that the pivot cannot read."""

    sealed: bytes
    KINDS: ClassVar[Kinds] = (Octets(64, MAX_SEALED_HIT),)


@dataclass(frozen=True, slots=True)
class Anchor(Body):
    """Whoever comes with this token is to be led to me."""

    token: bytes
    public_key: bytes
    KINDS: ClassVar[Kinds] = (TOKEN, PUBLIC_KEY)


@dataclass(frozen=True, slots=True)
class Anchored(Body):
    """The token is listed."""

    token: bytes
    KINDS: ClassVar[Kinds] = (TOKEN,)


@dataclass(frozen=True, slots=True)
class Attach(Body):
    """Lead me to who has anchored this token at that pivot."""

    pivot_id: bytes
    token: bytes
    KINDS: ClassVar[Kinds] = (NODE_ID, TOKEN)


@dataclass(frozen=True, slots=True)
class Join(Body):
    """From one pivot to another and before anything else: lead me to who has anchored this token with you."""

    token: bytes
    KINDS: ClassVar[Kinds] = (TOKEN,)


@dataclass(frozen=True, slots=True)
class GateHit(Body):
    """A hit of the plain overlay, with the address that it came from; `urn` is empty if it told none."""

    name: str
    size: int
    urn: str
    host: str
    port: int
    KINDS: ClassVar[Kinds] = (
        Text(MAX_NAME),
        Number(0, 2**63 - 1),
        Text(64, 0),
        Text(45),
        Number(1, 65_535),
    )


@dataclass(frozen=True, slots=True)
class InnerCredit(Body):
    """So many more cells may come, counted from end to end."""

    cells: int
    KINDS: ClassVar[Kinds] = (Number(1, MAX_CREDIT),)


@dataclass(frozen=True, slots=True)
class Dummy(Body):
    """Cover."""


@dataclass(frozen=True, slots=True)
class InnerBye(Body):
    """The circuit is not needed any more."""


#: Types of instructions; the numbers are ours.
TYPES: Final[dict[int, type[Body]]] = {
    1: Opened,
    2: FetchKeys,
    3: InnerBlock,
    4: Fail,
    5: StoreBlock,
    6: InnerStored,
    7: InnerSeek,
    8: Hit,
    9: Anchor,
    10: Anchored,
    11: Attach,
    12: GateHit,
    13: InnerCredit,
    14: Dummy,
    15: InnerBye,
    16: Join,
}
_NUMBERS = {kind: number for number, kind in TYPES.items()}


#: What stands around a content block, the one form that it has: it is said so often that it is not taken apart.
_BLOCK_SIZE: Final = BLOCK_SIZES[BlockType.CHK]
_BLOCK_HEAD, _STORE_HEAD = (
    head + cbor.encode({0: number, 1: int(BlockType.CHK), 2: bytes(_BLOCK_SIZE)}, LARGE_PLAIN)[1:-_BLOCK_SIZE]
    for head, number in ((b"\xa3", _NUMBERS[InnerBlock]), (b"\xa4", _NUMBERS[StoreBlock]))
)
_STORE_TAILS: Final = {b"\x03\xf4": False, b"\x03\xf5": True}


def _encode_content(body: Body) -> bytes | None:
    """The same as for any instruction, if it holds a content block."""
    if not isinstance(body, InnerBlock) or body.type is not BlockType.CHK or len(body.block) != _BLOCK_SIZE:
        return None
    if not isinstance(body, StoreBlock):
        return _BLOCK_HEAD + body.block
    return _STORE_HEAD + body.block + (b"\x03\xf5" if body.second else b"\x03\xf4")


def _decode_content(data: bytes) -> InnerBlock | None:
    """The other way round; None: it is something else, or nothing."""
    if len(data) == len(_BLOCK_HEAD) + _BLOCK_SIZE and data.startswith(_BLOCK_HEAD):
        return InnerBlock(BlockType.CHK, data[len(_BLOCK_HEAD) :])
    if len(data) == len(_STORE_HEAD) + _BLOCK_SIZE + 2 and data.startswith(_STORE_HEAD) and data[-2:] in _STORE_TAILS:
        return StoreBlock(BlockType.CHK, data[len(_STORE_HEAD) : -2], _STORE_TAILS[data[-2:]])
    return None


def place_of(token: bytes) -> bytes:
    """A token where a routing key belongs."""
    return token + bytes(ROUTING.low - len(token))


def encode(body: Body, limit: int = LARGE_PLAIN - _LENGTH_SIZE) -> bytes:
    """The instruction as one canonical map."""
    if (data := _encode_content(body)) is not None and len(data) <= limit:
        return data
    try:
        type(body).from_map(body.to_map(), Refusal.BAD_INNER)
    except Violation as violation:
        raise LocalMisuse(violation.detail) from None
    value = {0: _NUMBERS[type(body)]} | {key + 1: item for key, item in body.to_map().items()}
    return cbor.encode(value, limit)


def decode(data: bytes, limit: int = LARGE_PLAIN - _LENGTH_SIZE) -> Body:
    """The instruction that `data` is; Violation(BAD_INNER) if it is none."""
    if len(data) <= limit and (block := _decode_content(data)) is not None:
        return block
    value = read_map(data, limit, Refusal.BAD_INNER)
    kind = value.get(0)
    if isinstance(kind, bool) or not isinstance(kind, int) or kind not in TYPES:
        raise Violation(Refusal.BAD_INNER, "no type of instruction")
    return TYPES[kind].from_map({key - 1: item for key, item in value.items() if key}, Refusal.BAD_INNER)


def fill(data: bytes, size: int) -> bytes:
    """`data` with its length before it and zeros after it, `size` bytes in all."""
    room = size - _LENGTH_SIZE - len(data)
    if room < 0:
        raise LocalMisuse(f"{len(data)} bytes do not fit into {size}")
    return len(data).to_bytes(_LENGTH_SIZE, "big") + data + bytes(room)


def unfill(plain: bytes, reason: Refusal = Refusal.BAD_INNER) -> bytes:
    """The other way round; whoever fills with anything but zeros is refused."""
    end = _LENGTH_SIZE + int.from_bytes(plain[:_LENGTH_SIZE], "big")
    if len(plain) < _LENGTH_SIZE or end > len(plain) or plain.count(0, end) != len(plain) - end:
        raise Violation(reason, "not filled with zeros")
    return plain[_LENGTH_SIZE:end]


def plain_of(body: Body) -> bytes:
    """The plaintext of the cell that says it: SMALL_PLAIN bytes, or LARGE_PLAIN for a block of 32 KiB."""
    data = encode(body)
    return fill(data, SMALL_PLAIN if len(data) <= SMALL_PLAIN - _LENGTH_SIZE else LARGE_PLAIN)


def read_plain(plain: bytes) -> Body:
    """What the plaintext of a cell says."""
    body = decode(unfill(plain))
    if (len(plain) == LARGE_PLAIN) is not (isinstance(body, InnerBlock) and body.type is BlockType.CHK):
        raise Violation(Refusal.BAD_INNER, "in a cell of the wrong size")
    return body
