"""What nodes saw of a request, read from their cells: each role by hand, and nothing of what was not this request."""

from __future__ import annotations

from itertools import pairwise

from anonymizer.cells import LARGE_BODY, SMALL_BODY
from anonymizer.watching import MAX_RECORDS, Observer, sights_of
from anonymizer.wire import (
    BLOCK_SIZES,
    BRIDGE_BUDGET,
    SEALED_SIZE,
    AnyBody,
    Block,
    BlockType,
    Ciphertext,
    Fetch,
    Open,
    Phase,
    cell_of,
)

NAMES = ("origin", "guard", "bridge", "pivot", "relay", "holder")
KEYS = [bytes([number]) * 32 for number in (101, 102)]


class Net:
    """Observers of all; a cell is seen by who sends it and by who gets it."""

    def __init__(self) -> None:
        self.observers = {name: Observer(name.encode().ljust(32)) for name in NAMES}

    def carry(self, sender: str, taker: str, body: AnyBody, channel: int = 0) -> None:
        one, other = self.observers[sender], self.observers[taker]
        cell = cell_of(body, channel)
        one.cell(other.id, cell, is_out=True)
        other.cell(one.id, cell, is_out=False)

    def circuit(self, *way: str, seal: bytes, pivot: str) -> None:
        """The last hop but one ends the stem."""
        for hop, (sender, taker) in enumerate(pairwise(way)):
            is_stem = hop == 0
            body = Open(
                Phase.STEM if is_stem else Phase.BRIDGE,
                self.observers[pivot].id,
                0 if is_stem else BRIDGE_BUDGET,
                seal * SEALED_SIZE,
            )
            self.carry(sender, taker, body, 10 + hop)

    def say(self, *way: str, size: int, back: bool = False) -> None:
        hops = list(pairwise(way))
        for hop, (sender, taker) in reversed(list(enumerate(hops))) if back else enumerate(hops):
            pair = (taker, sender) if back else (sender, taker)
            self.carry(*pair, Ciphertext(bytes(size)), 10 + hop)

    def fetched(self, *way: str, key: bytes, uid: int) -> None:
        for sender, taker in pairwise(way):
            self.carry(sender, taker, Fetch(bytes([uid]) * 16, BlockType.CHK, key, 9, False))
        for taker, sender in reversed(list(pairwise(way))):
            self.carry(sender, taker, Block(bytes([uid]) * 16, BlockType.CHK, bytes(BLOCK_SIZES[1])))


def request() -> Net:
    net = Net()
    way = ("origin", "guard", "bridge", "pivot")
    net.circuit(*way, seal=b"a", pivot="pivot")
    # Somebody else's circuit and request, which are none of it.
    net.circuit("relay", "guard", "holder", seal=b"b", pivot="holder")
    net.fetched("guard", "holder", key=bytes(32), uid=9)
    net.say(*way, size=SMALL_BODY)
    for key in KEYS:
        net.observers["pivot"].asked(key)
    net.fetched("pivot", "relay", "holder", key=KEYS[0], uid=1)
    net.fetched("pivot", "holder", key=KEYS[1], uid=2)
    net.say(*way, size=LARGE_BODY, back=True)
    net.say(*way, size=LARGE_BODY, back=True)
    return net


def test_each_node_on_the_way_is_told_by_what_it_saw() -> None:
    sights = sights_of(request().observers, "origin")
    assert [(sight.node, sight.role) for sight in sights] == [
        ("origin", "origin"),
        ("guard", "bridge"),
        ("bridge", "bridge"),
        ("pivot", "pivot"),
        ("relay", "route"),
        ("holder", "holder"),
        ("holder", "holder"),
    ]
    origin, guard, bridge, pivot, relay, first, second = (sight.facts for sight in sights)
    assert (origin["to"], origin["circuits"], origin["cells"]) == ("guard", 1, 3)
    assert (guard["from"], guard["to"], guard["pivots"], guard["cells"]) == ("origin", ["bridge"], ["pivot"], 3)
    assert guard["bytes"] == bridge["bytes"] == origin["bytes"]
    assert (pivot["from"], pivot["keys"], pivot["asked"]) == ("bridge", 2, ["holder", "relay"])
    assert (relay["from"], relay["to"], relay["keys"]) == ("pivot", "holder", 1)
    assert {first["from"], second["from"]} == {"relay", "pivot"}


def test_words_name_nobody_that_the_node_did_not_meet() -> None:
    sights = sights_of(request().observers, "origin")
    for sight in sights:
        if sight.node not in ("origin", "guard"):
            assert "origin" not in sight.saw + sight.hidden, sight.role
    assert "whether origin asks it or passes it on" in sights[1].hidden


def test_a_pivot_that_has_it_or_was_asked_for_nothing_says_so() -> None:
    net = Net()
    net.circuit("origin", "guard", "pivot", seal=b"a", pivot="pivot")
    assert "nothing was wanted yet" in sights_of(net.observers, "origin")[-1].saw
    net.observers["pivot"].asked(KEYS[0])
    net.observers["pivot"].asked(KEYS[0])
    assert "1 key wanted; it holds what is wanted" in sights_of(net.observers, "origin")[-1].saw


def test_what_is_recorded_is_bounded() -> None:
    observer = Observer(bytes(32))
    cell = cell_of(Ciphertext(bytes(SMALL_BODY)), 7)
    opening = cell_of(Open(Phase.STEM, bytes(32), 0, bytes(SEALED_SIZE)), 7)
    observer.cell(b"n" * 32, opening, is_out=True)
    for _ in range(MAX_RECORDS):
        observer.cell(b"n" * 32, cell, is_out=True)
    (circuit,) = observer.circuits()
    assert circuit.onward == MAX_RECORDS - 1
    for number in range(MAX_RECORDS + 1):
        observer.asked(number.to_bytes(32, "big"))
    assert len(observer.keys) == MAX_RECORDS
