"""Fuzzing target: datagrams that concern the router, thrown at a servent that searches and has hits waiting."""

from __future__ import annotations

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, PUSH, QUERY, encode_header
from gnutella.protocol.message import Query, encode
from gnutella.protocol.oob import asking_oob, oob_guid, replies_message
from gnutella.reasons import DropReason
from gnutella.routing.events import PushReceived
from gnutella.routing.guess import Guess
from gnutella.testing.datagram_net import SECRET, DatagramNet
from gnutella.testing.datagrams import STRANGER
from gnutella.testing.routers import guid_of

#: Bytes that one datagram may draw from us at most: an answer of 32 or 64 files, an acknowledgement, and a pong.
_MOST_DRAWN = 32_768


def judge_routed_datagram(data: bytes) -> None:
    """With its own GUID, with that of a search of ours and with that of hits that wait; nothing may be raised at all."""
    for variant in range(3):
        net = DatagramNet()
        host = net.host("81.0.0.1", [f"gnutella howto {number} hello" for number in range(70)])
        net.link(net.host("82.0.0.1"), host)
        host.router.reach.reached(0.0, by_udp=True)
        search = host.search("hello")
        waiting = oob_guid(guid_of(7), STRANGER)
        asking = asking_oob(Query("hello"))
        assert asking is not None
        host.do(host.router.receive(next(iter(host.links)), encode(waiting, 3, 1, asking), 0.0))
        announce = encode(search, 1, 0, replies_message(9, 3, takes_unsolicited=True))
        host.do(host.udp.receive(announce, STRANGER, 0.0))
        # What it will be sent must be its proof.
        ping = next(sent.data for sent in net.sent if sent.data[16] == 0)
        host.do(host.udp.receive(ping[:16] + b"\x01\x01\0\x0e\0\0\0" + bytes(14), STRANGER, 0.0))
        guid = (data[:16], search, waiting)[variant]
        net.sent.clear()
        host.do(host.udp.receive(guid + data[16:], STRANGER, 0.1))
        assert sum(len(sent.data) for sent in net.sent) <= _MOST_DRAWN
        assert all(sent.to == STRANGER for sent in net.sent)
        net.run(3.0)
    _judge_keyed_query(data)
    _judge_for_a_leaf(data)
    _judge_push(data)


def _judge_for_a_leaf(data: bytes) -> None:
    """With the GUID that a query of a leaf has from us on, announced and claimed; the leaf gets hits only, in its name."""
    net = DatagramNet()
    leaf, host = net.host("81.0.0.2", is_leaf=True), net.host("81.0.0.1")
    net.link(host, leaf, answerer_is_leaf=True)
    net.link(host, net.host("82.0.0.1"))
    host.router.reach.reached(0.0, by_udp=True)
    search = oob_guid(leaf.search("hello"), host.address)
    net.run(1.0)
    assert host.router.table_sizes()["proxied"] == 1
    for message in (encode(search, 3, 0, replies_message(9, 3, takes_unsolicited=True)), search + data[16:]):
        host.do(host.udp.receive(message, STRANGER, 1.0))
    net.run(1.0)
    assert not net.bytes_to(leaf.address) and not leaf.drops(DropReason.UNREQUESTED_HIT)


def _judge_push(data: bytes) -> None:
    """Its payload as a push for us: nobody is sent a datagram for it, and nobody is to be called but its sender."""
    net = DatagramNet()
    host = net.host("81.0.0.1")
    payload = host.router.servent_id + data[HEADER_SIZE + 16 :]
    host.do(host.udp.receive(encode_header(guid_of(8), PUSH, 1, 0, len(payload)) + payload, STRANGER, 0.0))
    calls = [event.push.address.host for event in host.events if isinstance(event, PushReceived)]
    assert not net.sent and set(calls) <= {STRANGER.host}


def _judge_keyed_query(data: bytes) -> None:
    """Its payload as a query with a sound key."""
    net = DatagramNet()
    host = net.host("81.0.0.1", [f"gnutella howto {number} hello" for number in range(70)])
    key = Guess(SECRET + bytes((1,)), 0.0).key_value(STRANGER, 0.0)
    payload = data[HEADER_SIZE:].partition(b"\xc3")[0] + Ggep.of(key).encode()
    host.do(host.udp.receive(encode_header(guid_of(3), QUERY, 1, 0, len(payload)) + payload, STRANGER, 0.0))
    assert sum(len(sent.data) for sent in net.sent) <= _MOST_DRAWN
