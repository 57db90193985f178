"""Thirty whole nodes: a search finds what is shared anonymously, and nobody learns more than is his to know."""

from __future__ import annotations

import hashlib
import random
from itertools import product
from typing import TypeVar

import pytest

from anonymizer.client_cache import ClientCache
from anonymizer.errors import AnonymityError
from anonymizer.files import Splitter
from anonymizer.hits import SEALED_HIT_SIZE
from anonymizer.inner import Attach
from anonymizer.posts import open_post
from anonymizer.reasons import Violation
from anonymizer.seal import Replays, hpke_open
from anonymizer.shares import AnonymousShare
from anonymizer.transfer import Get
from anonymizer.uri import ChkUri
from anonymizer.wire import SEEK_TTL, Open, Post, Seek, parse
from gnutella.testing.seek_net import SeekNet, SeekNode

TEXT = "purple elephant"
T = TypeVar("T")


def share(number: int, *, is_anchored: bool = False) -> AnonymousShare:
    digest = hashlib.sha256(b"share %d" % number).digest()
    return AnonymousShare(f"{TEXT} {number}.txt", 7, "text/plain", 0x10, ChkUri(digest, digest), is_anchored)


def said(node: SeekNode, kind: type[T], *, sent: bool) -> list[tuple[bytes, T]]:
    """What the node sent, or got, of that kind: to or from whom, and what."""
    rows = [(to if sent else came, parse(cell)) for came, to, cell in node.seen if (came == node.id) is sent]
    return [(other, body) for other, body in rows if isinstance(body, kind)]


def begun(node: SeekNode, kind: type[Open] | type[Post]) -> list[tuple[bytes, bytes]]:
    """Seals that began at the node: to whom, and the seal.  One that goes round may come by again later."""
    known, found = set[bytes](), list[tuple[bytes, bytes]]()
    for came, to, cell in node.seen:
        body = parse(cell)
        if isinstance(body, kind) and body.sealed not in known:
            known.add(body.sealed)
            if came == node.id:
                found.append((to, body.sealed))
    return found


def test_a_search_finds_what_is_shared_and_nobody_sees_who_asks_or_who_answers() -> None:
    net = SeekNet(30, seed=7)
    finds = 0
    for number in range(5):
        origin, provider = net.rng.sample(net.nodes, 2)
        offered = share(number)
        provider.shares.add(offered)
        for node in net.nodes:
            node.seen.clear()
            node.posted.clear()
        _, found, ends = origin.search(f"ELEPHANT {number} txt")
        net.run(250.0)
        assert ends == [None]
        finds += [result.uri for result in found] == [offered.uri]
        check_who_knows_what(net, origin, provider, offered)
        provider.shares.remove(offered.uri.routing)
        assert len(net.timers) == 0
    assert finds == 5


def check_who_knows_what(net: SeekNet, origin: SeekNode, provider: SeekNode, offered: AnonymousShare) -> None:
    floods = [(node.id, seek) for node in net.nodes for _, seek in said(node, Seek, sent=True)]
    # The text is seen as the pivot's alone: only the pivot begins it, and it is neither the origin nor the origin's guard.
    (pivot,) = {seek.pivot_id for _, seek in floods}
    (asked,) = {seek.reply_key for _, seek in floods}
    assert pivot not in (origin.id, origin.guard)
    assert {node for node, seek in floods if seek.ttl == SEEK_TTL} == {pivot}
    # What the origin begins goes to its guard, what the provider begins to the provider's, and nothing else begins anywhere.
    for node in net.nodes:
        assert {to for to, _ in begun(node, Open)} == ({origin.guard} if node is origin else set())
        answers = node is provider and pivot != provider.id
        assert {to for to, _ in begun(node, Post)} == ({provider.guard} if answers else set())
    # What the file is called, and its keys, are in no cell that anybody carried.
    secrets = offered.name.encode(), offered.uri.routing, offered.uri.key
    cells = {cell.body for node in net.nodes for _, _, cell in node.seen}
    assert not any(secret in body for secret, body in product(secrets, cells))
    # The pivot reads which search a post is for, and passes on a hit that none of its keys opens.
    hub = net.by_id[pivot]
    (sealed,) = hub.posted
    hit = open_post(hub.id, hub.keys, Replays(), sealed, net.now - 60.0).sealed
    assert len(hit) == SEALED_HIT_SIZE
    assert all(hpke_open(key, b"arl1-hit" + asked, hit) is None for key in hub.keys.private)
    # Nobody on the way of a post can open it.
    for node in net.nodes:
        for _, post in said(node, Post, sent=False):
            if node.id != pivot:
                with pytest.raises(Violation):
                    open_post(node.id, node.keys, Replays(), post.sealed, net.now)


def test_whichever_pivot_is_asked_the_provider_answers() -> None:
    """Else the pivot that gets no answer would be the provider, or his guard."""
    net = SeekNet(12, seed=5)
    provider = net.nodes[0]
    provider.shares.add(share(1))
    for number, hub in enumerate(net.nodes):
        hub.posted.clear()
        key = net.new_key().public_key().public_bytes_raw()
        assert hub.flood.start(bytes((number,)) * 16, key, TEXT, 0, net.now, 1)
        net.run(30.0)
        assert len(hub.posted) == 1, "the guard" if hub.id == provider.guard else "another"
    assert provider.responder.refusals.rows() == {}


def test_the_origins_own_shares_answer_as_those_of_others() -> None:
    net = SeekNet(12, seed=6)
    origin, other = net.nodes[:2]
    origin.shares.add(share(1))
    other.shares.add(share(2))
    _, found, ends = origin.search(TEXT)
    net.run(100.0)
    assert sorted(result.name for result in found) == [share(1).name, share(2).name]
    assert ends == [None]


def test_a_file_that_is_anchored_is_found_and_fetched_without_anybody_storing_it() -> None:
    net = SeekNet(24, seed=9)
    origin, provider = net.nodes[:2]
    data = random.Random(1).randbytes(100_000)
    splitter = Splitter(bytes(range(32)), redundant=False)
    blocks = list(splitter.feed(data))
    uri, rest = splitter.finish("text/plain")
    provider.blocks = {block.routing: block.sealed for block in [*blocks, *rest]}
    provider.shares.add(AnonymousShare(TEXT, len(data), "text/plain", 0, uri, True))
    provider.anchoring.add(uri.routing, net.now)
    net.run(30.0)
    _, found, _ = origin.search(TEXT)
    net.run(60.0)
    (result,) = found
    assert (result.uri, len(result.anchors)) == (uri, 2)
    got: list[bytes] = []
    ends: list[AnonymityError | None] = []
    Get(
        origin.channels,
        ClientCache(),
        uri,
        lambda offset, piece: got.append(piece),
        lambda error, now: ends.append(error),
        anchors=[Attach(hint.pivot_id, hint.token) for hint in result.anchors],
    ).start(net.now)
    net.run(120.0)
    assert ends == [None]
    assert b"".join(got) == data
    assert provider.anchoring.served == len(provider.blocks)
    assert {to for to, _ in begun(provider, Open)} == {provider.guard}
