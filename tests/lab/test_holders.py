"""What could be found: the quick way finds who the slow way finds."""

from __future__ import annotations

import pytest

from gnutella.lab import chance
from gnutella.lab.content import ZipfContent
from gnutella.lab.net import Network
from gnutella.protocol.query import Query, make_query
from gnutella.protocol.urn import sha1_urn


@pytest.fixture
def net() -> Network:
    net = Network(3)
    rng = chance.source(3, "files")
    for number, files in enumerate(ZipfContent(30, 0.8).spread(12, 60, rng)):
        net.add(f"n{number}", [file.shared(index) for index, file in enumerate(files, 1)])
    return net


def by_asking_all(net: Network, asker: str, query: Query) -> int:
    nodes = [node for name, node in net.nodes.items() if name != asker and node.is_up]
    return sum(len(node.catalog.answer(query.encode(), 64)) for node in nodes)


def test_all_holders_of_each_file_are_expected(net: Network) -> None:
    names = {file.name for node in net.nodes.values() for file in node.catalog.files}
    assert len(names) > 10
    for name in sorted(names):
        expected = net.expected(net.nodes["n0"], make_query(name))
        assert expected == by_asking_all(net, "n0", make_query(name))
    assert net.expected(net.nodes["n0"], make_query("nobody has this")) == 0


def test_a_hash_is_asked_of_everybody(net: Network) -> None:
    file = next(iter(net.nodes["n5"].catalog.files))
    assert file.sha1 is not None
    query = Query("zz", urns=(sha1_urn(file.sha1),))
    assert net.expected(net.nodes["n0"], query) == by_asking_all(net, "n0", query) > 0


def test_who_comes_goes_or_shares_more_counts_from_then_on(net: Network) -> None:
    file = next(iter(net.nodes["n5"].catalog.files))
    query = make_query(file.name)
    before = net.expected(net.nodes["n0"], query)
    late = net.add("late", [file])
    assert net.expected(net.nodes["n0"], query) == before + 1
    net.kill(late)
    assert net.expected(net.nodes["n0"], query) == before
    free = next(node for node in net.nodes.values() if file.name not in {own.name for own in node.catalog.files})
    net.publish(free, [file])
    assert net.expected(late, query) == by_asking_all(net, "late", query)
