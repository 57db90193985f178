"""Whole nodes in virtual time: what one publishes the others find and fetch, by links that they made themselves."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from anonymizer.cells import Command
from anonymizer.client import MIN_LINKS
from anonymizer.documents import Document
from anonymizer.errors import AnonymityError, AnonymitySetTooSmall, DataNotFound, LevelRefused
from anonymizer.explain import Facts, explain
from anonymizer.guards import MAX_GUARDS
from anonymizer.reasons import Refusal, Violation
from anonymizer.search import Search, SearchResult
from anonymizer.shares import AnonymousShare
from anonymizer.ssk import WriteKey
from anonymizer.uri import ChkUri, UskUri
from anonymizer.wire import Hello, cell_of
from gnutella.testing.relay_cores import CoreNet, CoreNode

SIZE = 150_000


class Fetch:
    """A fetch by a node of the net."""

    def __init__(self, node: CoreNode, uri: ChkUri) -> None:
        self.data = bytearray()
        self.ends: list[AnonymityError | None] = []
        self.transfer = node.core.client.get(uri, self._take, lambda error, now: self.ends.append(error), node.net.now)
        node.wake()

    def _take(self, offset: int, data: bytes) -> None:
        assert offset == len(self.data)
        self.data += data


class Answer:
    """Takes what became of a request for a document."""

    def __init__(self) -> None:
        self.found: list[Document | AnonymityError] = []

    def __call__(self, found: Document | AnonymityError, now: float) -> None:
        self.found.append(found)

    def of(self, node: CoreNode) -> Document | AnonymityError:
        """Wait for it."""
        node.wake()
        assert node.net.run_until(lambda: self.found, 240)
        return self.found[0]


def put(node: CoreNode, data: bytes) -> ChkUri:
    """Publish by that node; its key."""
    left = [data]
    ends: list[AnonymityError | None] = []

    def read(count: int, back: Any) -> None:
        taken, left[0] = left[0][:count], left[0][count:]
        back(taken, node.net.now)

    transfer = node.core.client.put(read, lambda error, now: ends.append(error), node.net.now, size=len(data))
    node.wake()
    assert node.net.run_until(lambda: ends, 120)
    assert ends == [None]
    assert transfer.uri is not None
    return transfer.uri


@pytest.fixture(scope="module")
def net() -> CoreNet:
    net = CoreNet(30, seed=3)
    net.settle(60)
    return net


@pytest.fixture(scope="module")
def data() -> bytes:
    return random.Random(1).randbytes(SIZE)


@pytest.fixture(scope="module")
def uri(net: CoreNet, data: bytes) -> ChkUri:
    return put(net.nodes[0], data)


def test_nodes_that_begin_together_get_links_edges_and_guards(net: CoreNet) -> None:
    for node in net.nodes:
        assert MIN_LINKS <= len(node.links) <= 20
        guard = node.core.stem.guard(net.now)
        assert guard in node.links and len(node.core.stem.guards.ids) == MAX_GUARDS
        assert set(node.core.membership.links) == node.links


def test_what_one_publishes_all_others_can_fetch(net: CoreNet, uri: ChkUri, data: bytes) -> None:
    fetches = [Fetch(node, uri) for node in net.nodes[1:11]]
    assert net.run_until(lambda: all(fetch.ends for fetch in fetches), 60)
    assert [fetch.ends for fetch in fetches] == [[None]] * 10
    assert all(bytes(fetch.data) == data for fetch in fetches)


def test_a_key_of_nothing_is_not_found_by_name(net: CoreNet) -> None:
    fetch = Fetch(net.nodes[2], ChkUri(bytes(32), bytes(32)))
    assert net.run_until(lambda: fetch.ends, 120)
    assert isinstance(fetch.ends[0], DataNotFound)


def test_own_circuits_leave_by_the_guard_and_the_origin_starts_nothing_that_can_be_seen(
    net: CoreNet, uri: ChkUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = net.nodes[12]
    sent: list[tuple[bytes, Command]] = []
    started: list[str] = []
    kept = dict(node.blocks.cache), dict(node.blocks.store)
    monkeypatch.setattr(node.core.route, "fetch", lambda *_: started.append("fetch"))
    monkeypatch.setattr(node.core.flood, "start", lambda *_: started.append("seek"))
    node.watch = lambda to, cell, when: sent.append((to, cell.command))
    fetch = Fetch(node, uri)
    assert net.run_until(lambda: fetch.ends == [None], 60)
    node.watch = None
    assert {to for to, command in sent if command is Command.OPEN} == {node.core.stem.guard(net.now)}
    assert not started, "nobody is active but this node, and it is no pivot of its own"
    assert kept == (node.blocks.cache, node.blocks.store), "what was fetched is not what others get"
    assert len(node.core.cache) == -(-SIZE // 32_768) + 1


def test_documents_are_published_again_and_readers_find_the_newest(net: CoreNet) -> None:
    owner = WriteKey(b"s" * 32, b"r" * 32)
    for text in (b"first", b"second"):
        written, read = Answer(), Answer()
        net.nodes[4].core.client.documents.publish(owner, "notes", text, written, net.now)
        assert isinstance(written.of(net.nodes[4]), Document)
        net.nodes[7].core.client.documents.read(UskUri(owner.read_key, "notes", 0), read, net.now)
        found = read.of(net.nodes[7])
        assert isinstance(found, Document)
        assert found.data == text


def test_a_search_finds_what_another_node_shares_anonymously(net: CoreNet, uri: ChkUri) -> None:
    sharer, asker = net.nodes[9], net.nodes[20]
    share = AnonymousShare("Alice in Relayland.txt", SIZE, "text/plain", 1, uri, False)
    sharer.core.shares.add(share)
    found: list[SearchResult] = []
    ends: list[AnonymityError | None] = []
    client = asker.core.client
    client.admit("relay", None, net.now)
    search = Search(client.channels, net.new_key, "relayland alice", found=found.append, done=ends.append)
    search.start(net.now)
    asker.wake()
    assert net.run_until(lambda: found, 60)
    assert (found[0].name, found[0].uri) == (share.name, uri)
    search.stop(net.now)
    assert ends == [None]


def test_small_sets_and_other_levels_are_refused_by_name() -> None:
    net = CoreNet(6, seed=1)
    net.settle(60)
    client = net.nodes[0].core.client
    with pytest.raises(AnonymitySetTooSmall) as caught:
        client.admit("relay", None, net.now)
    assert caught.value.nodes == 5
    with pytest.raises(AnonymitySetTooSmall):
        client.admit("relay", 6, net.now)
    client.admit("relay", 5, net.now)
    client.admit("relay", 2, net.now)
    for level in ("strong", "off", "any"):
        with pytest.raises(LevelRefused):
            client.admit(level, 5, net.now)


def test_a_second_hello_costs_the_link(net: CoreNet) -> None:
    node = net.nodes[0]
    hello = Hello((1,), 0, b"", bytes(32), 1, 0)
    with pytest.raises(Violation) as caught:
        node.core.receive(next(iter(node.links)), cell_of(hello), net.now)
    assert caught.value.reason is Refusal.BAD_BODY


FACTS = Facts(12, 99, 60, 10, 20, 32_788, 5 << 20, 7, True, False, 86_400.0, 16.0, 0.1, 0.2, 0, 0, 24.0, True, True)


def test_the_explanation_says_what_is_so_here() -> None:
    texts = dict(explain(FACTS))
    assert "30 sealed blocks" in texts["stored for others"]
    assert "gateway is off" in texts["done in your name"]
    assert "made weaker here" not in texts and "your shares" not in texts
    changed = replace(FACTS, is_gateway=True, guard_age_s=None, own_share=0.9, shares=2, siblings=1, by_network=False)
    texts = dict(explain(changed))
    assert "your address ask for words" in texts["done in your name"]
    assert "waits" in texts["your requests"] and "CoverPoor" in texts["what it is worth"]
    assert "plain library" in texts["your shares"] and "one owner" in texts["made weaker here"]
    assert "Nothing" in dict(explain(replace(FACTS, is_pivot=False)))["done in your name"]
