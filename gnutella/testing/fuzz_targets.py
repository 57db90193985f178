"""Everything that reads a stranger's bytes, as functions to throw bytes at.

A target takes bytes and returns, or raises RemoteViolation; any other exception is a fault of ours, and so is a broken promise
(an AssertionError here).  The same bytes always do the same, so that bytes alone reproduce a fault.  `benchmarks/fuzz.py` runs
them by the million, the tests run the corpus and a few thousand mutated inputs.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gnutella.control import grammar
from gnutella.control.commands import COMMANDS
from gnutella.control.telnet_bytes import TelnetBytes
from gnutella.errors import RemoteViolation, UserError
from gnutella.networks import Shares, host_key, is_ip, near, wide
from gnutella.protocol import http, http_fields
from gnutella.protocol.deflate import PIECE, Inflater
from gnutella.protocol.frames import frames
from gnutella.protocol.ggep import MAX_INFLATED, MAX_ITEMS, MAX_VALUE, Ggep, cobs_decode, cobs_encode, le_decode
from gnutella.protocol.handshake import Acceptor, Initiator, Offer
from gnutella.protocol.hit import FORBIDDEN_IN_NAME, MAX_FILE_SIZE, MAX_RECORDS
from gnutella.protocol.kinds import HEADER_SIZE, HSEP, KIND_NAMES, PUSH, QUERY_HIT, ROUTE_TABLE, VENDOR
from gnutella.protocol.magnet import format_magnet, parse_magnet
from gnutella.protocol.message import (
    Bye,
    Message,
    Ping,
    Pong,
    Push,
    Query,
    QueryHit,
    RoutePatch,
    RouteReset,
    VendorMessage,
    parse_header,
    parse_payload,
)
from gnutella.protocol.peer import MAX_TRY_HOSTS, hosts_in_bye
from gnutella.protocol.qrp import MAX_SIZE, RouteTable
from gnutella.protocol.thex import parse as parse_thex
from gnutella.protocol.urn import b32decode, b32encode, parse_urn
from gnutella.protocol.vendor import body_of
from gnutella.routing.blocklist import BrokenList, Range, parse_blocklist, parse_line
from gnutella.routing.udp import Needs
from gnutella.routing.udp_limits import MAX_AMPLIFICATION
from gnutella.routing.udp_pongs import Tellable, wants_guess_hosts
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.sharing.paths import safe_target
from gnutella.superpeers.lastmile import INDEX_BITS, LastMile
from gnutella.superpeers.lookup import asked_by
from gnutella.testing import fuzz_bootstrap, fuzz_dynamic, fuzz_keys, fuzz_relay
from gnutella.testing.datagrams import FakeServent, make_datagrams, sent
from gnutella.testing.fuzz_datagrams import judge_routed_datagram
from gnutella.testing.fuzz_seeds import TREE, seeds
from gnutella.testing.fuzz_vendor import judge_push_request, judge_signals
from gnutella.testing.routers import make_router, open_links
from gnutella.units import Address, Guid, LinkId, is_plausible_peer, parse_address


@dataclass(frozen=True)
class Target:
    """`weight` is how often it is chosen, relative to the others; `seeds` are sound inputs to damage."""

    name: str
    weight: int
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _pieces(data: bytes) -> Iterator[bytes]:
    """The bytes cut into pieces, in a way that depends on nothing but them."""
    state = zlib.crc32(data)
    if state & 3 == 0:
        yield data
        return
    at = 0
    while at < len(data):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        size = 1 + (state >> 16) % 200
        yield data[at : at + size]
        at += size


# -- the codec -----------------------------------------------------------------------------------------------------------


def _header(data: bytes) -> None:
    header = parse_header(data)
    assert header.length <= 65536


def _payload(kind: int) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        message = parse_payload(kind, data)
        if isinstance(message, QueryHit):
            _look_at_hit(message)
        elif isinstance(message, Pong):
            assert len(message.packed_hosts) <= 60
            _use(message.is_ultrapeer, message.daily_uptime_s, message.free_slots, message.ipv6, message.vendor)
        elif isinstance(message, Ping):
            _use(message.is_ultrapeer, message.wants_packed_hosts)
        elif isinstance(message, Push):
            _use(message.ipv6, message.wants_tls, message.wants_firewall_transfer)
        elif isinstance(message, Query):
            _use(message.hashes, message.full_text, message.max_hits, message.wants_oob)
        elif isinstance(message, VendorMessage):
            body_of(message)
        written = message.encode()
        assert written == data or not _is_canonical(message)
        assert parse_payload(kind, written).encode() == written

    return run


def _is_canonical(message: Message) -> bool:
    """Whether all its forms are kept: queries have many, and Latin-1 is written as UTF-8."""
    if isinstance(message, QueryHit):
        return all(record.name.isascii() for record in message.records)
    return not isinstance(message, Query | Bye)


def _use(*values: object) -> None:
    """Properties are read for what they may raise."""


def _look_at_hit(hit: QueryHit) -> None:
    assert 0 < len(hit.records) <= MAX_RECORDS
    assert len(hit.push_proxies) <= 16
    for record in hit.records:
        assert record.name
        assert not FORBIDDEN_IN_NAME.search(record.name)
        assert 0 <= record.size <= MAX_FILE_SIZE
        assert record.sha1 is None or len(record.sha1) == 20
        assert record.tth is None or len(record.tth) == 24
        assert len(record.alternates) <= 20
        _use(record.created, record.is_partial)
    _use(hit.ipv6, hit.can_browse, hit.reads_tls)


def _ggep(data: bytes) -> None:
    ggep, end = Ggep.decode(data)
    assert 4 <= end <= len(data)
    assert len(ggep) <= MAX_ITEMS
    assert sum(len(value) for _, value in ggep.items) <= len(data) + MAX_INFLATED
    assert Ggep.decode(ggep.encode())[0] == ggep
    if all(len(value) < MAX_VALUE // 2 for _, value in ggep.items):
        free = ggep.encode(nul_free=True)
        assert b"\0" not in free
        assert Ggep.decode(free)[0] == ggep


def _cobs(data: bytes) -> None:
    assert cobs_decode(cobs_encode(data)) == data
    le_decode(data[:8])
    cobs_decode(data)


def _urn(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    if not text.lower().startswith("urn"):
        assert b32encode(b32decode(text)) == text.upper()
        return
    urn = parse_urn(text)
    assert urn.sha1 or urn.tth


def _stream(data: bytes) -> None:
    for frame in frames(data):
        assert len(frame.message) == HEADER_SIZE + frame.length


# -- the texts -----------------------------------------------------------------------------------------------------------

_OFFER = Offer("Fuzz/1.0", Address("80.1.2.3", 6346), tls=True, servent_id=Guid(bytes(range(16))))


def _acceptor(data: bytes) -> None:
    _shake(Acceptor(_OFFER, "24.1.2.3", lambda peer: None), data)


def _initiator(data: bytes) -> None:
    machine = Initiator(_OFFER, "24.1.2.3")
    machine.start()
    _shake(machine, data)


def _shake(machine: Acceptor | Initiator, data: bytes) -> None:
    for piece in _pieces(data):
        machine.receive(piece)
        if machine.result is not None:
            assert machine.result.peer is None or len(machine.result.peer.try_hosts) <= 100
            return


def _request(data: bytes) -> None:
    reader = http.HeadReader()
    for piece in _pieces(data):
        head = reader.feed(piece)
        assert reader.pending <= http.MAX_HEAD_BYTES + len(piece)
        if head is not None:
            request = http.read_request(head)
            _look_at_fields(request.headers)
            http.parse_range(request.headers.get("range"), 1 << 20)
            return


def _response(data: bytes) -> None:
    reader = http.HeadReader()
    body: http.Chunked | None = None
    for piece in _pieces(data):
        if body is not None:
            assert sum(map(len, body.feed(piece))) <= len(piece)
            continue
        head = reader.feed(piece)
        if head is not None:
            response = http.read_response(head)
            assert response.length is None or response.length >= 0
            _look_at_fields(response.headers)
            if response.is_chunked:
                body = http.Chunked()


def _look_at_fields(headers: http.Headers) -> None:
    size = 1 << 40
    assert len(http_fields.parse_alternates(headers, allow_private=True)) <= http_fields.MAX_ALTERNATES
    for span in http_fields.parse_available(headers.get("x-available-ranges"), size) or ():
        assert 0 <= span.start < span.stop <= size
    http_fields.parse_queue(headers.get("x-queue"))
    http_fields.parse_retry_after(headers.get("retry-after"))
    http_fields.parse_content_urns(headers)
    http_fields.parse_thex_uri(headers.get("x-thex-uri"))
    http_fields.parse_features(headers)
    if (value := headers.get("content-range")) is not None:
        span, total = http.parse_content_range(value)
        assert span.start < span.stop
        assert total is None or span.stop <= total


def _parting(data: bytes) -> None:
    """Header lines of a Bye: hosts that can be dialled, and none twice."""
    ultrapeers, others = hosts_in_bye(data.decode("latin-1"))
    assert not set(ultrapeers) & set(others) and len(ultrapeers) + len(others) <= 2 * MAX_TRY_HOSTS
    assert all(0 < host.port < 65536 for host in ultrapeers + others)


def _giv(data: bytes) -> None:
    giv = http_fields.parse_giv(data)
    assert len(giv.servent_id) == 16


def _magnet(data: bytes) -> None:
    magnet = parse_magnet(data.decode("utf-8", "replace"))
    if magnet.sha1 is not None:
        assert parse_magnet(format_magnet(magnet)).sha1 == magnet.sha1


def _name(data: bytes) -> None:
    path = safe_target("/shared/incoming", data.decode("utf-8", "replace"))
    place, _, name = path.rpartition("/")
    assert place == "/shared/incoming"
    assert name not in ("", ".", "..")
    assert "\0" not in name
    assert len(name.encode()) <= 255


# -- compressed and hashed -----------------------------------------------------------------------------------------------


def _deflate(data: bytes) -> None:
    inflater = Inflater()
    total = 0
    for piece in _pieces(data):
        for out in inflater.feed(piece):
            assert 0 < len(out) <= PIECE
            total += len(out)
    assert total <= 40 * len(data) + (1 << 20)


def _thex(data: bytes) -> None:
    tree = parse_thex(data, TREE.root, TREE.size)
    assert tree.root == TREE.root


def _qrp(data: bytes) -> None:
    """A row of payloads, each with its length in two bytes before it."""
    table, mile = RouteTable(), LastMile()
    violation: RemoteViolation | None = None
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        try:
            message = parse_payload(ROUTE_TABLE, data[at + 2 : at + 2 + size])
            assert isinstance(message, RouteReset | RoutePatch)
            mile.receive(LinkId(0), message, 0.0)
            table.receive(message)
        except RemoteViolation as caught:  # one bad message does not end a link
            violation = caught
        at += 2 + size
    assert len(table.slots) <= MAX_SIZE
    assert len(mile) <= 1
    assert mile.largest_bits <= INDEX_BITS
    for asked in (asked_by(data), asked_by(b"\x80\0word\0")):
        found = mile.match(asked)
        assert found & ~mile.complete == 0
        assert len(list(mile.links(found))) == found.bit_count()
    table.has("word")
    if violation is not None:
        raise violation


# -- the rooms behind ----------------------------------------------------------------------------------------------------


def _router(data: bytes) -> None:
    """The stream of one link of three, then a few ticks; nothing may be raised at all, violations neither."""
    router = make_router(["purple elephant", "gnutella howto"])
    open_links(router, 3)
    for number, piece in enumerate(_pieces(data)):
        router.receive(LinkId(0), piece, number * 0.1)
    router.tick(60.0)
    router.link_closed(LinkId(0), 61.0)
    router.tick(700.0)


_PEER, _OWN_CACHE = Address("81.2.3.4", 5000), Address("82.1.1.1", 3558)
_TOLD = tuple(Tellable(Address(f"83.1.1.{n}", 6346), bool(n & 1)) for n in range(1, 13))
#: The longest answer with packed hosts: header, pong, and a block of ten hosts and all that is said of us.
_LONGEST_ANSWER = 400


def judge_datagram(data: bytes) -> None:
    """As a stranger's datagram, as a call of the LAN, and with the GUID of a ping of ours; nothing may be raised at all."""
    for is_call in (False, True):
        udp = make_datagrams(FakeServent(hosts=_TOLD), allow_private=is_call)
        answers = sent(udp.receive(data, _PEER, 1.0, is_call=is_call))
        assert len(answers) + sum(udp.counters.dropped().values()) == 1
        for answer in answers:
            ping = Ping.decode(data[HEADER_SIZE:])
            packs = not is_call and (ping.wants_packed_hosts or wants_guess_hosts(ping.ggep))
            assert len(answer.data) <= (_LONGEST_ANSWER if packs else MAX_AMPLIFICATION * len(data))
    for needs in (Needs(True, False, False), Needs(False, True, True)):
        udp = make_datagrams(caches=[_OWN_CACHE], calls=True)
        (asked,) = sent(udp.tick(1.0, needs))
        assert len(udp.receive(asked.data[:16] + data[16:], _OWN_CACHE, 2.0)) <= 64
        udp.tick(70.0, needs)


_CATALOG = Catalog.build(
    SharedFile(index, name, 1000 + index, 0, f"/shared/{name}", bytes([index]) * 20, None, name, "/shared")
    for index, name in enumerate(
        ("purple elephant song 1.txt", "gnutella howto.pdf", "Übung macht den Meister.ogg", "東京.jpg")
    )
)


def _catalog(data: bytes) -> None:
    assert len(_CATALOG.answer(data, 3)) <= 3


def _telnet(data: bytes) -> None:
    whole = TelnetBytes().receive(data)
    machine = TelnetBytes()
    pieces = [machine.receive(piece) for piece in _pieces(data)]
    assert b"".join(piece.data for piece in pieces) == whole.data
    assert b"".join(piece.answer for piece in pieces) == whole.answer


def _command_line(data: bytes) -> None:
    line = data.decode("utf-8", "replace")
    plain = "".join(" " if char in "\r\n\0" else char for char in line)
    assert grammar.split(grammar.quote(line)) == [plain]
    try:
        grammar.parse(grammar.split(line), COMMANDS)
    except UserError as error:
        assert error.message


def _address(data: bytes) -> None:
    try:
        address = parse_address(data.decode("utf-8", "replace"))
    except ValueError:
        return
    assert 0 < address.port < 65536
    if is_plausible_peer(address, allow_private=True):
        assert parse_address(str(address)) == address


def _blocklist(data: bytes) -> None:
    lines = data.splitlines()
    try:
        listed = parse_blocklist(lines)
    except BrokenList:
        return
    assert len(listed) <= len(lines)
    for line in lines:
        found = parse_line(line)
        if isinstance(found, Range):
            make = ipaddress.IPv4Address if found.version == 4 else ipaddress.IPv6Address
            assert listed.find(str(make(found.first))) is not None
            assert listed.find(str(make(found.last))) is not None


def _networks(data: bytes) -> None:
    host = data.decode("utf-8", "replace")
    assert wide(near(host)) == wide(host) or not is_ip(host)
    Shares(counted="all").crowded(host, [host_key(host)] * 3, 20)


_RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "header": (2, _header),
    **{name: (4, _payload(kind)) for kind, name in KIND_NAMES.items() if kind not in (QUERY_HIT, VENDOR, HSEP, PUSH)},
    "query_hit": (16, _payload(QUERY_HIT)),
    "vendor": (8, _payload(VENDOR)),
    "signals": (4, judge_signals),
    "push_request": (2, judge_push_request),
    "hsep": (1, _payload(HSEP)),
    "push": (3, _payload(PUSH)),
    "ggep": (12, _ggep),
    "cobs": (4, _cobs),
    "urn": (4, _urn),
    "stream": (4, _stream),
    "acceptor": (6, _acceptor),
    "initiator": (6, _initiator),
    "http_request": (6, _request),
    "http_response": (6, _response),
    "giv": (2, _giv),
    "parting": (1, _parting),
    "magnet": (3, _magnet),
    "name": (3, _name),
    "deflate": (2, _deflate),
    "thex": (3, _thex),
    "qrp": (1, _qrp),
    "router": (6, _router),
    "datagram": (4, judge_datagram),
    "routed_datagram": (2, judge_routed_datagram),
    "catalog": (4, _catalog),
    "telnet": (2, _telnet),
    "command_line": (2, _command_line),
    "address": (1, _address),
    "blocklist": (3, _blocklist),
    "networks": (1, _networks),
    **fuzz_bootstrap.RUNS,
    **fuzz_relay.RUNS,
    **fuzz_keys.RUNS,
    **fuzz_dynamic.RUNS,
}


def targets(tests: Path) -> list[Target]:
    """All targets, with the seeds found below `tests`."""
    found = {**fuzz_bootstrap.SEEDS, **fuzz_dynamic.SEEDS, **fuzz_relay.SEEDS, **fuzz_keys.SEEDS, **seeds(tests)}
    return [Target(name, weight, run, tuple(found.get(name) or (b"",))) for name, (weight, run) in _RUNS.items()]
