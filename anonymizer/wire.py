"""What cells say: the body of each command as a frozen value, with every bound.

`parse(cell)` reads the body of a cell, `cell_of(body, ...)` makes the cell; bodies are canonical CBOR (anonymizer.fields) but
for blocks and the ciphertext of circuits, which are raw.  Three rules of the layer can be seen here:

    nothing counts on the way    OPEN and POST have a budget of 0 in phase STEM and of BRIDGE_BUDGET beyond it, at each hop
    one place for the class      whether a circuit is slow is told by the flag of the cell and by nothing in the body
    no id outlives a stem hop    what a POST belongs to (its query) is inside its seal, where only the pivot reads it
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final, Self, TypeAlias

from anonymizer.cells import LARGE_BODY, SMALL_BODY, Cell, Command
from anonymizer.fields import Body, Flag, Kind, Many, Number, Octets, OneOf, Text
from anonymizer.reasons import Refusal, Violation
from gnutella.errors import LocalMisuse

NODE_ID: Final = Octets(32)
UID: Final = Octets(16)
ROUTING: Final = Octets(32)
#: A seal to a pivot, whatever its suite: what fits into a small cell beside the other fields of OPEN, on a round number.
SEALED_SIZE = 1_472
#: A one-shot seal in a large cell, for what does not fit into a small one.
LARGE_SEALED_SIZE = 33_728
#: What stands where a count of hops could be, in phase BRIDGE: the same at each hop, for a count would tell how far away the
#: stem ended.  A bridge ends because each of its hops is nearer to the pivot than the last.
BRIDGE_BUDGET = 8
#: Hops of a key request; Freenet has 18, ours needs 12 since the links have Kleinberg's lengths.
MAX_HTL = 12
#: Hops of an anonymous search, from the pivot on.
SEEK_TTL = 4
MAX_SEEK_TEXT = 256
#: Cells that one CREDIT may grant: the window of small ones; that of large ones is 64.
MAX_CREDIT = 256
MAX_DESCRIPTOR = 2_048
#: A descriptor in a HELLO leaves room for the other fields of its small cell; longer ones come by DESC.
MAX_HELLO_DESCRIPTOR = 1_280
#: Descriptors of one large cell: the shortest has well over 200 bytes.
MAX_DESCRIPTORS = 128
#: Half of the bits of a word decide no more residue classes than there can be nodes.
MAX_CLASS_BITS = 24
#: Circuits that a link may say it takes.
MAX_CIRCUITS = 256
#: Copies of one block that a store may report: three replicas.
MAX_COPIES = 3
#: Longest wait that a REJECT may ask for, the longest time in the failure table.
MAX_RETRY_S = 3_600
#: What a block is long, by type; version and algorithm, nonce-free ciphertext, and for records key, name and signature.
BLOCK_SIZES: Final = {1: 32_788, 2: 1_196}


class BlockType(IntEnum):
    """What a block is found by: its content, or the key that signed it."""

    CHK = 1
    SSK = 2


class Phase(IntEnum):
    """Of a circuit's way to its pivot: by the private map of each node, or greedily."""

    STEM = 0
    BRIDGE = 1


class CloseReason(IntEnum):
    """Why a circuit ends; the same few for origins and relays."""

    DONE = 0
    REFUSED = 1
    NOROUTE = 2
    OVERLOAD = 3
    BAD = 4
    IDLE = 5
    TTL = 6


class ByeReason(IntEnum):
    """Why a link ends."""

    STOPPING = 0
    FULL = 1
    UNWANTED = 2
    REPLACED = 3
    SILENT = 4


class RejectReason(IntEnum):
    """Why a key request is not taken."""

    LOOP = 0
    OVERLOAD_LOCAL = 1
    OVERLOAD_REMOTE = 2
    RECENTLY_FAILED = 3


Kinds: TypeAlias = tuple[Kind, ...]

# -- the link itself -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pad(Body):
    """Cover; nothing."""


@dataclass(frozen=True, slots=True)
class Hello(Body):
    """The first cell of both sides.

    `proof` is an HMAC under a key exported from TLS; `descriptor` may be empty; `minute` is the sender's clock, in minutes
    since 1970, by which everybody can see whether it is his own that is wrong.
    """

    versions: tuple[int, ...]
    capabilities: int
    descriptor: bytes
    proof: bytes
    circuits: int
    minute: int
    KINDS: ClassVar[Kinds] = (
        Many(Number(1, 255), 1, 8),
        Number(0, 0xFFFF),
        Octets(0, MAX_HELLO_DESCRIPTOR),
        Octets(32),
        Number(1, MAX_CIRCUITS),
        Number(0, 2**32 - 1),
    )


@dataclass(frozen=True, slots=True)
class Ping(Body):
    """Are you there?"""

    nonce: bytes
    KINDS: ClassVar[Kinds] = (Octets(8),)


@dataclass(frozen=True, slots=True)
class Pong(Body):
    """I am; the nonce of the ping."""

    nonce: bytes
    KINDS: ClassVar[Kinds] = (Octets(8),)


@dataclass(frozen=True, slots=True)
class Bye(Body):
    """The link ends; a code and no text."""

    reason: ByeReason
    KINDS: ClassVar[Kinds] = (OneOf(ByeReason),)


@dataclass(frozen=True, slots=True)
class Descriptors(Body):
    """Signed descriptors, not read here."""

    descriptors: tuple[bytes, ...]
    KINDS: ClassVar[Kinds] = (Many(Octets(1, MAX_DESCRIPTOR), 0, MAX_DESCRIPTORS),)


@dataclass(frozen=True, slots=True)
class DescriptorsWanted(Body):
    """Send me those of residue class 0 of 2**bits."""

    bits: int
    KINDS: ClassVar[Kinds] = (Number(0, MAX_CLASS_BITS),)


@dataclass(frozen=True, slots=True)
class EdgeRequest(Body):
    """Let this link be a stem edge."""


@dataclass(frozen=True, slots=True)
class EdgeAnswer(Body):
    """Whether it is one."""

    accepted: bool
    KINDS: ClassVar[Kinds] = (Flag(),)


@dataclass(frozen=True, slots=True)
class EdgeDrop(Body):
    """It is none any more."""


# -- circuits ------------------------------------------------------------------------------------------------------------


def budget_of(phase: Phase) -> int:
    """What an OPEN or POST of that phase says: nothing that counts."""
    return 0 if phase is Phase.STEM else BRIDGE_BUDGET


def _check_budget(phase: Phase, budget: int) -> None:
    if budget != budget_of(phase):
        raise Violation(Refusal.BAD_BODY, "a budget on the stem, or one that counts beyond it")


@dataclass(frozen=True, slots=True)
class Open(Body):
    """A circuit is to lead to a pivot, which alone can open the seal."""

    phase: Phase
    pivot_id: bytes
    budget: int
    sealed: bytes
    KINDS: ClassVar[Kinds] = (OneOf(Phase), NODE_ID, Number(0, BRIDGE_BUDGET), Octets(SEALED_SIZE))

    def check(self) -> None:
        _check_budget(self.phase, self.budget)


@dataclass(frozen=True, slots=True)
class Post(Body):
    """A one-shot seal to a pivot, small or large."""

    phase: Phase
    pivot_id: bytes
    budget: int
    sealed: bytes
    KINDS: ClassVar[Kinds] = (
        OneOf(Phase),
        NODE_ID,
        Number(0, BRIDGE_BUDGET),
        Octets(SEALED_SIZE, LARGE_SEALED_SIZE),
    )

    def check(self) -> None:
        _check_budget(self.phase, self.budget)
        if len(self.sealed) not in (SEALED_SIZE, LARGE_SEALED_SIZE):
            raise Violation(Refusal.BAD_BODY, "a seal of neither size")


@dataclass(frozen=True, slots=True)
class Close(Body):
    """The circuit ends, both ways."""

    reason: CloseReason
    KINDS: ClassVar[Kinds] = (OneOf(CloseReason),)


@dataclass(frozen=True, slots=True)
class Credit(Body):
    """So many more cells may come."""

    cells: int
    KINDS: ClassVar[Kinds] = (Number(1, MAX_CREDIT),)


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """A cell of a circuit: fills its body, whatever it says."""

    data: bytes

    def encode(self, limit: int) -> bytes:
        if len(self.data) != limit:
            raise LocalMisuse(f"{len(self.data)} bytes of ciphertext in a cell for {limit}")
        return self.data

    @classmethod
    def decode(cls, data: bytes, limit: int) -> Self:
        if len(data) != limit:
            raise Violation(Refusal.BAD_BODY, "a circuit's cell that is not full")
        return cls(data)


# -- key requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetch(Body):
    """Wanted: the block with this routing key.  `second` asks at its second, salted place."""

    uid: bytes
    type: BlockType
    routing: bytes
    htl: int
    second: bool
    KINDS: ClassVar[Kinds] = (UID, OneOf(BlockType), ROUTING, Number(1, MAX_HTL), Flag())


@dataclass(frozen=True, slots=True)
class Accepted(Body):
    """The request is being worked on."""

    uid: bytes
    KINDS: ClassVar[Kinds] = (UID,)


@dataclass(frozen=True, slots=True)
class NotFound(Body):
    """Hops are used up: final."""

    uid: bytes
    KINDS: ClassVar[Kinds] = (UID,)


@dataclass(frozen=True, slots=True)
class NoRoute(Body):
    """No more peers here; go on elsewhere with what is left."""

    uid: bytes
    htl: int
    KINDS: ClassVar[Kinds] = (UID, Number(0, MAX_HTL))


@dataclass(frozen=True, slots=True)
class Reject(Body):
    """Not taken; ask others, and this one not before `retry_s`."""

    uid: bytes
    reason: RejectReason
    retry_s: int
    KINDS: ClassVar[Kinds] = (UID, OneOf(RejectReason), Number(0, MAX_RETRY_S))


@dataclass(frozen=True, slots=True)
class Stored(Body):
    """A block was stored, in so many copies."""

    uid: bytes
    copies: int
    KINDS: ClassVar[Kinds] = (UID, Number(0, MAX_COPIES))


@dataclass(frozen=True, slots=True)
class Offer(Body):
    """A block that you asked for, or were asked for, is here now."""

    routing: bytes
    proof: bytes
    KINDS: ClassVar[Kinds] = (ROUTING, Octets(32))


@dataclass(frozen=True, slots=True)
class Take(Body):
    """Send what you offered."""

    routing: bytes
    proof: bytes
    KINDS: ClassVar[Kinds] = (ROUTING, Octets(32))


@dataclass(frozen=True, slots=True)
class Seek(Body):
    """An anonymous search, flooded; `reply_key` is the X25519 key of this one search."""

    query_id: bytes
    pivot_id: bytes
    reply_key: bytes
    ttl: int
    text: str
    kinds: int
    KINDS: ClassVar[Kinds] = (UID, NODE_ID, Octets(32), Number(1, SEEK_TTL), Text(MAX_SEEK_TEXT), Number(0, 0xFF))


#: Bit of a BLOCK's type: the other record of a fork follows.
_MORE: Final = 0x80


def _check_block(kind: int, size: int, limit: int) -> BlockType:
    if BLOCK_SIZES.get(kind) != size or (limit == LARGE_BODY) is not (kind == BlockType.CHK):
        raise Violation(Refusal.BAD_BODY, "a block without its length, or in a cell of the wrong size")
    return BlockType(kind)


@dataclass(frozen=True, slots=True)
class Block:
    """A block on its way back: uid, type, then the block as it is.  Whether it is the right one is seen by its key.

    `more` says that the other record of a fork follows.
    """

    uid: bytes
    type: BlockType
    block: bytes
    more: bool = False

    def encode(self, limit: int) -> bytes:
        if (
            len(self.uid) != 16
            or BLOCK_SIZES[self.type] != len(self.block)
            or (self.more and self.type is BlockType.CHK)
        ):
            raise LocalMisuse("a block without its length, or a fork of contents")
        return self.uid + bytes((self.type | self.more * _MORE,)) + self.block

    @classmethod
    def decode(cls, data: bytes, limit: int) -> Self:
        if len(data) < 17:
            raise Violation(Refusal.BAD_BODY, "cut off")
        more = bool(data[16] & _MORE)
        kind = _check_block(data[16] & ~_MORE, len(data) - 17, limit)
        if more and kind is BlockType.CHK:
            raise Violation(Refusal.BAD_BODY, "a fork of contents")
        return cls(data[:16], kind, data[17:], more)


@dataclass(frozen=True, slots=True)
class Store:
    """A block on its way to where it belongs: uid, hops left, type, place, then the block as it is."""

    uid: bytes
    htl: int
    type: BlockType
    second: bool
    block: bytes

    def encode(self, limit: int) -> bytes:
        if len(self.uid) != 16 or BLOCK_SIZES[self.type] != len(self.block) or not 1 <= self.htl <= MAX_HTL:
            raise LocalMisuse("a block without its length, or hops beyond the bound")
        return self.uid + bytes((self.htl, self.type, self.second)) + self.block

    @classmethod
    def decode(cls, data: bytes, limit: int) -> Self:
        if len(data) < 19 or not 1 <= data[16] <= MAX_HTL or data[18] > 1:
            raise Violation(Refusal.BAD_BODY, "cut off, or a field beyond its bound")
        return cls(data[:16], data[16], _check_block(data[17], len(data) - 19, limit), bool(data[18]), data[19:])


AnyBody: TypeAlias = Body | Ciphertext | Block | Store

#: What the cells of each command say.
BODIES: dict[Command, type[Body] | type[Ciphertext] | type[Block] | type[Store]] = {
    Command.PAD: Pad,
    Command.HELLO: Hello,
    Command.PING: Ping,
    Command.PONG: Pong,
    Command.BYE: Bye,
    Command.DESC: Descriptors,
    Command.DESC_REQ: DescriptorsWanted,
    Command.EDGE_REQ: EdgeRequest,
    Command.EDGE_ACK: EdgeAnswer,
    Command.EDGE_DROP: EdgeDrop,
    Command.OPEN: Open,
    Command.CELL: Ciphertext,
    Command.CLOSE: Close,
    Command.CREDIT: Credit,
    Command.POST: Post,
    Command.FETCH: Fetch,
    Command.ACCEPTED: Accepted,
    Command.BLOCK: Block,
    Command.NOTFOUND: NotFound,
    Command.NOROUTE: NoRoute,
    Command.REJECT: Reject,
    Command.STORE: Store,
    Command.STORED: Stored,
    Command.OFFER: Offer,
    Command.TAKE: Take,
    Command.SEEK: Seek,
}
_COMMANDS: dict[type, Command] = {kind: command for command, kind in BODIES.items()}
#: Commands whose body is empty: not even a map.
_EMPTY: dict[Command, Body] = {Command.PAD: Pad(), Command.EDGE_REQ: EdgeRequest(), Command.EDGE_DROP: EdgeDrop()}


def parse(cell: Cell) -> AnyBody:
    """What the cell says; Violation(BAD_BODY) if it breaks any bound."""
    kind, limit = BODIES[cell.command], LARGE_BODY if cell.is_large else SMALL_BODY
    if (empty := _EMPTY.get(cell.command)) is not None:
        if cell.body:
            raise Violation(Refusal.BAD_BODY, f"{cell.command.name} says something")
        return empty
    if cell.command is Command.DESC and len(cell.body) <= SMALL_BODY and cell.is_large:
        raise Violation(Refusal.BAD_BODY, "a large cell for what a small one holds")
    body = kind.decode(cell.body, limit)
    if isinstance(body, Post) and (len(body.sealed) == LARGE_SEALED_SIZE) is not cell.is_large:
        raise Violation(Refusal.BAD_BODY, "a seal in a cell of the wrong size")
    return body


def cell_of(body: AnyBody, channel: int = 0, *, is_slow: bool = False, is_last: bool = False) -> Cell:
    """The cell that says it: a large one exactly when it does not fit into a small one."""
    command = _COMMANDS[type(body)]
    if command in _EMPTY:
        data = b""
    elif isinstance(body, Ciphertext):
        data = body.encode(SMALL_BODY if len(body.data) <= SMALL_BODY else LARGE_BODY)
    else:
        data = body.encode(LARGE_BODY)
    return Cell(command, data, channel, len(data) > SMALL_BODY, is_last, is_slow)
