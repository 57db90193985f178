"""One node's stem among neighbours that are played by a test: four stem edges, and what the stem told in lists."""

from __future__ import annotations

import random

from anonymizer.cells import LARGE_BODY, SMALL_BODY, Cell
from anonymizer.stem import Stem
from anonymizer.wire import SEALED_SIZE, AnyBody, CloseReason, Open, Phase, cell_of, parse

#: Edges of the node's own choice, the first its guard; edges that others asked for; the node itself; a pivot far away.
A, B, C, D, OWN = (bytes((n,)) * 32 for n in range(1, 6))
PIVOT = bytes(32)
SMALL, LARGE = bytes(SMALL_BODY), bytes(LARGE_BODY)


def seal(number: int) -> bytes:
    """One that no other number has."""
    return number.to_bytes(4, "big") * (SEALED_SIZE // 4)


class LoneStem(Stem):
    """See the module text; the node is the TLS server of all its links, so channels that others open are odd."""

    def __init__(self, seed: int = 1) -> None:
        self.data: list[tuple[int, bytes]] = []
        self.ends: dict[int, CloseReason] = {}
        self.arrivals: list[tuple[int, bytes]] = []
        self.posts: list[bytes] = []
        self.roomy: list[int] = []
        super().__init__(
            OWN,
            random.Random(seed),
            heard=lambda number, data, now: self.data.append((number, data)),
            ended=lambda number, reason, now: self.ends.update({number: reason}),
            arrived=self._arrive,
            posted=lambda sealed, now: self.posts.append(sealed),
            has_room=lambda number, now: self.roomy.append(number),
        )
        self.guards.fill([A], 0.0)
        self.guards.fill([A, B], 0.0)
        for node in (A, B, C, D):
            self.link_up(node, is_client=False)
            assert self.make_edge(node, node in (A, B))

    def _arrive(self, number: int, sealed: bytes, came: bytes, now: float) -> bool:
        self.arrivals.append((number, came))
        return True

    def sent(self, now: float = 1e6) -> list[tuple[bytes, AnyBody]]:
        """All that leaves until then, as it is read."""
        return [(node, parse(cell)) for node, cell in self.due(now)]

    def circuit(self, number: int = 1, now: float = 0.0, is_slow: bool = False) -> tuple[Cell, bytes, int]:
        """One from C that goes on, beyond its stem if it ends here; where it went and on which channel there.

        Give the same seed to all that is to be compared: where circuits go is the stem's draw.
        """
        cell = cell_of(Open(Phase.STEM, PIVOT, 0, seal(number)), 2 * number + 1, is_slow=is_slow)
        self.receive(C, cell, now)
        opened = [(node, one) for node, one in self.due(now + 100) if isinstance(parse(one), Open)]
        ((node, one),) = opened
        return cell, node, one.channel


def forwarding(is_bridge: bool = False) -> LoneStem:
    """One where circuits from C go on, as a stem or beyond it."""
    for seed in range(1_000):
        made = LoneStem(seed)
        if is_bridge:
            made.link_up(PIVOT, is_client=False)
        if made.ends_stem(C) is is_bridge and made.next_edge(C) is not None:
            return made
    raise AssertionError("no such seed")
