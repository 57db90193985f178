"""Fuzzing target of pivots: an origin and a provider that say whatever the bytes tell them to, in any order."""

from __future__ import annotations

from anonymizer import inner
from anonymizer.cells import SMALL_BODY
from anonymizer.fields import Body
from anonymizer.inner import SMALL_PLAIN, fill
from anonymizer.posts import seal_post
from anonymizer.reasons import Violation
from anonymizer.seal import MAX_FIRST
from anonymizer.wire import BlockType
from gnutella.testing.pivot_world import Far, PivotWorld, ScriptedGateway, content, key_of

_TOKEN, _ID = b"t" * 16, bytes(range(32))
_ROUTING, _BLOCK = content(1)
#: Longest piece: what is left of the plaintext of a small cell.
_MAX_PIECE = SMALL_PLAIN - 2


class _Run:
    """One input: each piece is a byte that says what to do, two of length, and bytes."""

    def __init__(self) -> None:
        self.world = PivotWorld(2, gateway=ScriptedGateway())
        near, far = self.world.nodes
        near.route.blocks[BlockType.CHK, _ROUTING, False] = (_BLOCK,)
        near.route.is_slow = True
        self.fars = [self.world.open(), self.world.open(inner.Anchor(_TOKEN, _ID), far)]

    def do(self, what: int, piece: bytes) -> None:
        far, world = self.fars[what >> 7], self.world
        what %= 8
        if what < 3:
            self.say_plain(far, fill(piece, SMALL_PLAIN))
        elif what == 3:
            self.say_plain(far, inner.plain_of(inner.InnerBlock(BlockType.CHK, _BLOCK)))
        elif what == 4:
            far.say_raw((piece + bytes(SMALL_BODY))[:SMALL_BODY])
        elif what == 5:
            world.run(len(piece) / 10)
            far.node.route.answer_all()
        elif what == 6:
            world.hang_up(far)
            self.fars[self.fars.index(far)] = world.open_raw(piece[:MAX_FIRST], far.node)
        else:
            for query_id, *_ in far.node.seek.started[-2:]:
                key = far.node.keys.public[0][1:]
                far.node.pivot.posted(
                    seal_post(far.node.id, key, query_id, (piece + _BLOCK)[:100], world.now), world.now
                )
            far.node.pivot.posted((piece + bytes(1_472))[:1_472], world.now)

    def say_plain(self, far: Far, plain: bytes) -> None:
        if far.end is not None and far.ended is None:
            far.say_raw(far.end._sends.seal(plain))

    def finish(self) -> None:
        """Everybody goes, and nothing is left."""
        for far in self.fars:
            self.world.hang_up(far)
        self.world.run(5_000.0)
        for node in self.world.nodes:
            node.route.answer_all()
            pivot = node.pivot
            assert (pivot.circuits, pivot.bridges, pivot.searches, pivot.anchors, pivot.held) == (0, 0, 0, 0, 0)


def run(data: bytes) -> None:
    """Whatever the input says, a pivot raises nothing."""
    both, at = _Run(), 0
    try:
        while at + 3 <= len(data):
            size = min(int.from_bytes(data[at + 1 : at + 3], "big"), _MAX_PIECE)
            both.do(data[at], data[at + 3 : at + 3 + size])
            at += 3 + size
        both.finish()
    except Violation as violation:
        raise AssertionError(f"a pivot let out {violation}") from violation


def _piece(what: int, said: Body | bytes) -> bytes:
    data = said if isinstance(said, bytes) else inner.encode(said)
    return bytes((what,)) + len(data).to_bytes(2, "big") + data


_NODE = PivotWorld(2).nodes[1].id
_FETCH = inner.FetchKeys((key_of(_ROUTING), key_of(_ID)))
SEEDS: list[bytes] = [
    b"".join(
        (
            _piece(0, _FETCH),
            _piece(5, bytes(20)),
            _piece(1, inner.InnerSeek("purple elephant", 0, 3, _ID, True)),
            _piece(7, b"hit"),
            _piece(0, inner.InnerCredit(5)),
            _piece(0, inner.InnerBye()),
        )
    ),
    b"".join(
        (
            _piece(0, inner.Attach(_NODE, _TOKEN)),
            _piece(0, _FETCH),
            _piece(5, bytes(20)),
            _piece(0x83, b""),
            _piece(0x80, inner.Fail(inner.FailReason.NOT_FOUND, _ID)),
            _piece(5, bytes(700)),
        )
    ),
    b"".join((_piece(6, inner.Attach(_NODE, _TOKEN)), _piece(0x86, _FETCH), _piece(4, b"raw"))),
]
