"""The fuzzing target of dynamic queries: a leaf and a neighbour of an ultrapeer that drives their queries, and what they say.

The input is the leaf's stream; its pieces come with time passing, and a third of them from the neighbour instead.  Whatever
comes, no more is driven than may be, and nobody is sent one query twice with the same TTL.
"""

from __future__ import annotations

from collections.abc import Callable

from gnutella.protocol.kinds import QUERY
from gnutella.protocol.message import Query, encode
from gnutella.protocol.query import FLAG_GUIDED
from gnutella.protocol.vendor import MessagesSupported, QueryStatus, QueryStatusRequest
from gnutella.protocol.vendor_out import message_of
from gnutella.routing.actions import Action
from gnutella.routing.dynamic import MAX_OF_LEAF
from gnutella.routing.link import LinkInfo
from gnutella.testing.routers import OWN_ADDRESS, guid_of, make_router, sent_by
from gnutella.units import LinkId

_LEAF, _NEIGHBOURS = LinkId(100), 12
_STATUS = message_of(MessagesSupported(((b"BEAR", 11, 1), (b"BEAR", 12, 1))))
#: Bytes of the input that arrive at a time, and seconds between two pieces.
_PIECE, _PAUSE_S = 97, 0.9


def judge_dynamic(data: bytes) -> None:
    """See the module text; nothing may be raised at all."""
    router = make_router(["purple elephant"])
    for number in [*range(_NEIGHBOURS), int(_LEAF)]:
        is_leaf = number == _LEAF
        info = LinkInfo(
            f"10.1.2.{number}",
            OWN_ADDRESS.host,
            is_leaf=is_leaf,
            is_ultrapeer=not is_leaf,
            is_dynamic=True,
            extends_probes=True,
            vendor_messages=True,
        )
        router.link_opened(LinkId(number), info, 0.0)
    router.receive(_LEAF, encode(guid_of(99), 1, 0, _STATUS), 0.0)
    seen: dict[tuple[LinkId, bytes], int] = {}
    for number, start in enumerate(range(0, len(data), _PIECE)):
        source, now = LinkId(1) if number % 3 == 2 else _LEAF, number * _PAUSE_S
        _judge(router.receive(source, data[start : start + _PIECE], now), seen)
        _judge(router.tick(now), seen)
        assert router.table_sizes()["driven"] <= MAX_OF_LEAF
    _judge(router.link_closed(_LEAF, 500.0), seen)
    router.tick(501.0)
    assert router.table_sizes()["driven"] == 0


def _judge(actions: list[Action], seen: dict[tuple[LinkId, bytes], int]) -> None:
    for link, frames in sent_by(actions).items():
        for frame in frames:
            if frame.kind == QUERY:
                assert frame.ttl > seen.get((link, frame.guid), 0)
                seen[link, frame.guid] = frame.ttl


def _seed() -> bytes:
    query = Query("purple elephant", 0x8000 | FLAG_GUIDED)
    parts = [encode(guid_of(number), 4, 0, query) for number in range(3)]
    parts += [
        encode(guid_of(number), 1, 0, message_of(QueryStatus(kept))) for number, kept in ((0, 7), (1, 65535), (5, 9))
    ]
    return b"".join([*parts, encode(guid_of(0), 1, 0, message_of(QueryStatusRequest())), parts[0]])


RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {"dynamic": (3, judge_dynamic)}
SEEDS = {"dynamic": [_seed()]}
