"""Pitfall 7: ids say nothing of who drew them, and no id of one overlay is ever one of the other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest

from anonymizer.cells import Command
from anonymizer.plain import PlainGateway
from anonymizer.search import Search
from anonymizer.wire import BlockType, Fetch, Seek, parse
from gnutella.protocol.oob import oob_guid
from gnutella.protocol.query import Query
from gnutella.routing.guids import fresh_guid
from gnutella.testing.relay_cores import CoreNet
from gnutella.testing.routers import make_router, open_links
from gnutella.units import Address, Guid

COUNT = 100_000
#: The two bytes that a servent of today has to mark, and what with.
DEMANDED = {8: 0xFF, 15: 0x00}
OWN = Address("203.0.113.7", 6346)
#: Of a chi-square of 255 degrees of freedom: seven standard deviations, less than once in 10^9 tests of true chance.
MOST = 255 + 7 * (2 * 255) ** 0.5


def chi_square(column: bytes) -> float:
    counts, expected = Counter(column), len(column) / 256
    return sum((counts[value] - expected) ** 2 for value in range(256)) / expected


def marks(ids: Sequence[bytes], given: dict[int, int]) -> list[str]:
    """What tells these ids from chance: bytes that are not drawn evenly, or that depend on another."""
    data = b"".join(ids)
    columns = {at: data[at::16] for at in range(16)}
    found = [f"byte {at} is not {value:#x}" for at, value in given.items() if set(columns[at]) != {value}]
    free = [at for at in columns if at not in given]
    found += [f"byte {at}" for at in free if chi_square(columns[at]) > MOST]
    for one, other in combinations(free, 2):
        mixed = int.from_bytes(columns[one], "big") ^ int.from_bytes(columns[other], "big")
        if chi_square(mixed.to_bytes(len(ids), "big")) > MOST:
            found.append(f"bytes {one} and {other}")
    return found


def test_guids_of_the_plain_overlay_have_the_two_marks_of_all_and_nothing_else() -> None:
    chance = random.SystemRandom()
    guids = [fresh_guid(chance) for _ in range(COUNT)]
    assert marks(guids, DEMANDED) == [] and len(set(guids)) == COUNT
    own = oob_guid(guids[0], OWN)
    assert not [guid for guid in guids if (guid[:4], guid[13:15]) == (own[:4], own[13:15])]


def change(guid: bytes, at: int, new: bytes) -> bytes:
    return guid[:at] + new + guid[at + len(new) :]


#: What servents have been known to do.
TWINS: dict[str, Callable[[bytes, int], bytes]] = {
    "an address": lambda guid, n: oob_guid(Guid(guid), OWN),
    "a version": lambda guid, n: change(guid, 2, b"\1\2"),
    "a bit for a second search": lambda guid, n: change(guid, 14, bytes((guid[14] & 0xFE,))),
    "a check of another byte": lambda guid, n: change(guid, 0, bytes((guid[9] ^ 0x55,))),
    "the time": lambda guid, n: change(guid, 4, (1_790_000_000 + n // 50).to_bytes(4, "big")),
    "a count": lambda guid, n: change(guid, 4, n.to_bytes(4, "big")),
    "no mark": lambda guid, n: change(guid, 8, guid[7:8]),
}


@pytest.mark.parametrize("twin", TWINS)
def test_what_servents_have_been_known_to_put_there_is_found(twin: str) -> None:
    chance = random.Random(1)
    ids = [TWINS[twin](fresh_guid(chance), number) for number in range(COUNT // 4)]
    assert marks(ids, DEMANDED)


def test_the_same_search_again_has_another_guid() -> None:
    router = make_router()
    open_links(router, 2)
    guids = {router.search(Query("alice"), float(now))[0] for now in range(50)}
    assert len(guids) == 50


def test_a_gateway_is_told_words_and_no_id() -> None:
    asked: list[tuple[Any, ...]] = []

    def search(*arguments: Any) -> Any:
        asked.append(arguments[:3])
        return SimpleNamespace(stop=lambda: None)

    face = SimpleNamespace(search=search)
    node: Any = SimpleNamespace(face=face, reactor=SimpleNamespace(callLater=lambda *arguments: None))
    assert PlainGateway(node).query("alice", None, lambda *told: True, 0.0)
    assert PlainGateway(node).query("", "urn:sha1:" + "A" * 32, lambda *told: True, 0.0)
    assert asked == [("alice", (), 0), ("urn:sha1:" + "A" * 32, (), 0)]


def test_the_same_anonymous_search_again_has_nothing_of_the_first() -> None:
    """No id, no key for hits, no pivot's id in the place of another; and its flood has no id of a key request."""
    net = CoreNet(8, 5)
    net.settle(25)
    seen: dict[str, set[bytes]] = {"query": set(), "reply": set(), "uid": set()}

    def watch(to: bytes, cell: Any, now: float) -> None:
        if cell.command in (Command.SEEK, Command.FETCH):
            body = parse(cell)
            if isinstance(body, Seek):
                seen["query"].add(body.query_id)
                seen["reply"].add(body.reply_key)
            elif isinstance(body, Fetch):
                seen["uid"].add(body.uid)

    for node in net.nodes:
        node.watch = watch
    core = net.nodes[0].core

    for _ in range(4):
        search = Search(core.client.channels, net.new_key, "alice", found=lambda _: None, done=lambda _: None)
        search.start(net.now)
        net.run(30)
        search.stop(net.now)
    net.nodes[1].core.route.fetch(BlockType.CHK, bytes(32), lambda found: None, net.now)
    net.run(5)
    assert len(seen["query"]) == len(seen["reply"]) == 4 and seen["uid"]
    ids = {node.id[:16] for node in net.nodes} | {node.id[16:] for node in net.nodes}
    assert not seen["query"] & (seen["uid"] | ids)
