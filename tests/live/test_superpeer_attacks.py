"""What leaves and strangers may try on a running ultrapeer: broken tables, query floods, forged calls and datagrams.

Each is refused, counted by its reason, and leaves the node alive, without a fault in its log and within its bounds.
"""

from __future__ import annotations

import random
import socket
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gnutella.protocol.frames import frames
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import QUERY
from gnutella.protocol.message import HitRecord, Ping, Query, QueryHit, RoutePatch, RouteReset, VendorMessage
from gnutella.protocol.qrp import MAX_SIZE
from gnutella.protocol.query import FLAG_MARK, FLAG_OOB
from gnutella.protocol.vendor import OobAck, OobReplies, TcpConnectBack
from gnutella.protocol.vendor_out import message_of
from gnutella.routing.link import LEAF_QUERY_BURST
from gnutella.units import Address, Guid
from tests.live.attacker import SHORT, Peer, counted, guid, message
from tests.live.daemon import Daemon, wait_until

pytestmark = pytest.mark.live

SLOTS = 1 << 14
#: What all of this may leave in memory.
MAX_GROWTH_KIB = 48 * 1024


@pytest.fixture(scope="module")
def ultrapeer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    base = tmp_path_factory.mktemp("superpeer")
    with Daemon(base / "node", "--role", "ultrapeer", environ=SHORT) as node:
        before = node.memory_kib()
        yield node
        assert node.memory_kib() - before < MAX_GROWTH_KIB
        assert node.stop() < 1
        assert node.faults() == []


def leaf(node: Daemon) -> Peer:
    return Peer(node, "X-Query-Routing: 0.1", "Vendor-Message: 0.1", is_leaf=True)


def patch(data: bytes, sequence: int = 1, count: int = 1, *, zipped: bool = False, bits: int = 4) -> RoutePatch:
    return RoutePatch(sequence, count, int(zipped), bits, zlib.compress(data) if zipped else data)


RESET = RouteReset(SLOTS, 7)
WHOLE = bytes(SLOTS // 2)
TABLES: dict[str, list[RouteReset | RoutePatch]] = {
    "too large": [RouteReset(1 << 31, 7)],
    "twice what is taken": [RouteReset(MAX_SIZE * 2, 7)],
    "no power of two": [RouteReset(SLOTS + 1, 7)],
    "no slots": [RouteReset(0, 7)],
    "no infinity": [RouteReset(SLOTS, 0)],
    "no reset": [patch(WHOLE)],
    "a gap": [RESET, patch(WHOLE[:4096], 1, 3), patch(WHOLE[4096:], 3, 3)],
    "from the middle": [RESET, patch(WHOLE, 2, 2)],
    "no chunks": [RESET, patch(WHOLE, 1, 0)],
    "too short": [RESET, patch(WHOLE[1:])],
    "too long": [RESET, patch(WHOLE + b"\0")],
    "three bits": [RESET, patch(WHOLE, bits=3)],
    "noise for zlib": [RESET, RoutePatch(1, 1, 1, 4, random.Random(1).randbytes(4000))],
    "a bomb": [RESET, patch(bytes(30_000_000), zipped=True)],
    "another packer": [RESET, RoutePatch(1, 1, 9, 4, WHOLE)],
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_break_the_rules_end_the_link(ultrapeer: Daemon, name: str) -> None:
    with leaf(ultrapeer) as peer, counted(ultrapeer, "bad_route_table"):
        peer.send(b"".join(message(1000 + number, 1, 0, told) for number, told in enumerate(TABLES[name])))
        assert peer.end() == 413


def test_large_tables_again_and_again_are_too_much(ultrapeer: Daemon) -> None:
    whole = [
        message(1100, 1, 0, RouteReset(MAX_SIZE, 7)),
        message(1101, 1, 0, patch(bytes(MAX_SIZE // 2), zipped=True)),
    ]
    with leaf(ultrapeer) as peer, counted(ultrapeer, "bad_route_table"):
        peer.send(b"".join(whole) * 50)
        assert peer.end() == 413


def test_a_leaf_that_floods_queries_is_held_to_its_share(ultrapeer: Daemon) -> None:
    with Peer(ultrapeer) as other, leaf(ultrapeer) as peer:
        with counted(ultrapeer, "rate"):
            peer.send(b"".join(message(1200 + number, 3, 0, Query(f"word{number} flood")) for number in range(3000)))
        wait_until(lambda: other.waiting() and asked(other), "one of them is passed on")
        assert len(asked(other)) <= LEAF_QUERY_BURST + 2
        assert peer.is_open()


def asked(peer: Peer) -> set[bytes]:
    return {bytes(frame.guid) for frame in frames(peer.got) if frame.kind == QUERY}


def test_a_leaf_that_passes_on_what_others_ask_is_cut_off(ultrapeer: Daemon) -> None:
    with leaf(ultrapeer) as peer, counted(ultrapeer, "leaf_relayed"):
        peer.send(b"".join(message(5000 + number, 3, 1, Query(f"somebody else{number}")) for number in range(20)))
        assert peer.end() == 414


def test_nobody_is_called_in_the_name_of_another(ultrapeer: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as third, leaf(ultrapeer) as peer:
        port = third.getsockname()[1]
        to = bytes((127, 0, 0, 1)) + port.to_bytes(2, "little")
        with counted(ultrapeer, "connect_back_forged", "signal_relayed"):
            for selector in (7, 8):
                peer.send(message(5100 + selector, 1, 0, VendorMessage(b"LIME", selector, 1, to + bytes(16))))
            peer.send(message(5110, 2, 1, message_of(TcpConnectBack(port))))
        third.settimeout(0.3)
        with pytest.raises(TimeoutError):
            third.accept()
        with counted(ultrapeer, "rate"):
            peer.send(b"".join(message(5120 + number, 1, 0, message_of(TcpConnectBack(port))) for number in range(100)))
        assert peer.is_open()


def test_a_leaf_s_query_sends_its_hits_nowhere_else(ultrapeer: Daemon) -> None:
    """The GUID of a query that wants hits by UDP names who shall get them."""
    away = bytearray(guid(5200))
    away[0:4], away[13:15] = bytes((127, 9, 9, 9)), (6346).to_bytes(2, "little")
    query = replace(Query("aim at another"), flags=FLAG_MARK | FLAG_OOB)
    with Peer(ultrapeer) as other, leaf(ultrapeer) as peer:
        with counted(ultrapeer, "forged_return"):
            peer.send(bytes(Guid(bytes(away))) + message(0, 2, 0, query)[16:])
        other.waiting()
        assert bytes(away) not in asked(other)
        assert peer.is_open()


def test_datagrams_that_nobody_asked_for(ultrapeer: Daemon) -> None:
    hit = QueryHit(Address("127.0.0.1", 6346), 100, (HitRecord(1, 5, "a.txt"),), b"TEST", guid(5399))
    spoofed = {
        "bad_datagram": b"",
        "unrequested_announce": message(5300, 1, 0, message_of(OobReplies(255, True))),
        "unrequested_ack": message(5301, 1, 0, message_of(OobAck(255, b"token"))),
        "query_key": message(5302, 1, 0, replace(Query("no key"), ggep=Ggep.of({"SCP": b"\0"}))),
        "unrequested_hit": message(5303, 1, 0, hit),
        "not_over_udp": message(5304, 1, 0, RESET),
        "udp_rate": message(5305, 1, 0, Ping()),
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        sent = 0
        with counted(ultrapeer, *spoofed):
            for data in spoofed.values():
                for _ in range(30):
                    sent += port.sendto(data or random.Random(sent).randbytes(100), ultrapeer.address)
        port.settimeout(0.3)
        got = 0
        try:
            while more := port.recv(65536):
                got += len(more)
        except TimeoutError:
            pass
        assert got < sent, "nothing is amplified"
