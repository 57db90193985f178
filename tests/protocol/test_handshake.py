"""The handshake, both sides: vectors, what real servents sent, refusals, limits, and any cut of the bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.protocol.handshake import (
    MAX_HEAD_BYTES,
    MAX_HEAD_LINES,
    MAX_LINE,
    Acceptor,
    Established,
    HandshakeRefused,
    Headers,
    Initiator,
    Offer,
    Peer,
    Refusal,
)
from gnutella.protocol.headers import HeadReader, format_head
from gnutella.reasons import DropReason
from gnutella.testing import strategies_network as strategies
from gnutella.units import Address, Guid

TESTS = Path(__file__).parents[1]
TRANSCRIPTS = {t["name"]: t for t in json.loads((TESTS / "vectors/handshake.json").read_text())["transcripts"]}
CAPTURES = sorted((TESTS / "captures").glob("*.jsonl"))

US = Address("24.1.2.3", 6346)
THEM = "80.1.2.3"
OFFER = Offer("GnutellaTest/1.0", US, servent_id=Guid(bytes(range(16))))
#: Spelled as LimeWire looks them up (digest 1.4).
LIMEWIRE_NAMES = {
    "Listen-IP", "Remote-IP", "User-Agent", "X-Ultrapeer", "X-Ultrapeer-Needed", "X-Degree", "X-Max-TTL", "X-Requeries",
    "X-Dynamic-Querying", "X-Query-Routing", "X-Ultrapeer-Query-Routing", "Pong-Caching", "GGEP", "Vendor-Message",
    "Bye-Packet", "Accept-Encoding", "Content-Encoding", "X-Try-Ultrapeers", "Upgrade", "Connection", "GUID", "X-Features",
    "X-Ext-Probes",
}  # fmt: skip


def accept(_: Peer) -> Refusal | None:
    return None


def acceptor(**changes: Any) -> Acceptor:
    return Acceptor(offer(**changes), THEM, accept)


def offer(**changes: Any) -> Offer:
    fields = {name: getattr(OFFER, name) for name in Offer.__slots__}
    return Offer(**{**fields, **changes})


def text_of(name: str, step: int) -> bytes:
    return str(TRANSCRIPTS[name]["steps"][step]["text"]).encode()


def established(machine: Initiator | Acceptor) -> Established:
    assert isinstance(machine.result, Established)
    return machine.result


def refused(machine: Initiator | Acceptor) -> HandshakeRefused:
    assert isinstance(machine.result, HandshakeRefused)
    return machine.result


def headers_of(block: bytes) -> Headers:
    head = HeadReader().feed(block)
    assert head is not None
    return head.headers


def captured(path: Path, conn: int = 1) -> tuple[bytes, bytes]:
    """All bytes of the dialler and of the answerer."""
    sides = {"dialer": b"", "answerer": b""}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if row["conn"] == conn:
            sides[row["from"]] += bytes.fromhex(row["hex"])
    return sides["dialer"], sides["answerer"]


# -- vectors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["leaf_to_ultrapeer_ok_deflate", "ultrapeer_to_ultrapeer_ok", "tls_upgrade"])
def test_vector_initiators_are_accepted_and_surplus_is_kept(name: str) -> None:
    machine = acceptor(tls=True)
    answer = machine.receive(text_of(name, 0))
    assert answer.startswith(b"GNUTELLA/0.6 200 OK\r\n")
    assert machine.result is None
    assert machine.receive(text_of(name, 2) + b"\x78\x9cfirst") == b""
    result = established(machine)
    assert result.surplus == b"\x78\x9cfirst"
    assert (result.we_deflate, result.they_deflate, result.tls) == (True, True, name == "tls_upgrade")
    assert result.peer.is_ultrapeer is (name == "ultrapeer_to_ultrapeer_ok")
    assert result.peer.listen == Address("80.1.2.3", 6346)
    assert result.peer.remote_ip == "24.1.2.3"


@pytest.mark.parametrize("name", ["leaf_to_ultrapeer_ok_deflate", "ultrapeer_to_ultrapeer_ok", "tls_upgrade"])
def test_vector_acceptors_are_answered_with_block_3_of_the_vector(name: str) -> None:
    machine = Initiator(offer(tls=True), "24.1.2.3")
    machine.start()
    assert machine.receive(text_of(name, 1)) == text_of(name, 2)
    result = established(machine)
    assert (result.we_deflate, result.they_deflate, result.tls) == (True, True, name == "tls_upgrade")
    assert result.peer.try_hosts == (Address("66.7.8.9", 6346), Address("80.5.6.7", 6348))


def test_initiator_that_gives_up_its_role_in_block_3_is_a_leaf() -> None:
    machine = acceptor()
    machine.receive(text_of("ultrapeer_demoted_to_leaf", 0))
    machine.receive(text_of("ultrapeer_demoted_to_leaf", 2))
    assert established(machine).peer.is_ultrapeer is False


@pytest.mark.parametrize(
    "name, code, hosts",
    [("leaf_refused_full", 503, 3), ("leaf_to_leaf_limewire", 503, 1), ("leaf_to_leaf_gtkg", 204, 1)],
)
def test_refusals_are_read_with_their_hosts(name: str, code: int, hosts: int) -> None:
    machine = Initiator(OFFER, "24.1.2.3")
    machine.start()
    assert machine.receive(text_of(name, 1)) == b""
    result = refused(machine)
    assert (result.code, result.reason) == (code, DropReason.HANDSHAKE_REFUSED)
    assert result.peer is not None
    assert len(result.peer.try_hosts) == hosts


def test_header_names_count_in_any_case() -> None:
    machine = acceptor()
    machine.receive(text_of("lowercase_header_names", 0))
    machine.receive(b"gnutella/0.6 200 ok\r\n\r\n".replace(b"gnutella", b"GNUTELLA"))
    peer = established(machine).peer
    assert peer.is_ultrapeer is False
    assert (peer.degree, peer.max_ttl, peer.reads_ggep, peer.reads_bye, peer.vendor_messages) == (
        32,
        4,
        True,
        True,
        True,
    )
    assert peer.requeries is False


def test_minimal_leaf_is_accepted_with_the_legacy_assumptions() -> None:
    machine = acceptor()
    machine.receive(text_of("minimal_leaf_spec_only", 0) + b"GNUTELLA/0.6 200 OK\r\n\r\n")
    peer = established(machine).peer
    assert (peer.degree, peer.max_ttl, peer.reads_ggep, peer.accepts_deflate) == (8, 7, False, False)


def test_crawler_is_told_our_neighbours_and_closed() -> None:
    peers = tuple(Address("66.7.8.9", 6000 + n) for n in range(12))
    machine = acceptor(crawler_peers=peers, crawler_leaves=(Address("24.3.3.3", 6346),))
    answer = machine.receive(text_of("crawler", 0))
    assert answer.startswith(b"GNUTELLA/0.6 593 Hi\r\n")
    assert headers_of(answer).get("Peers").count(":") == 10
    assert headers_of(answer).get("Leaves") == "24.3.3.3:6346"
    assert refused(machine).reason is DropReason.CRAWLER


def test_gnutella_0_4_becomes_a_plain_link() -> None:
    machine = acceptor(tls=True)
    assert machine.receive(text_of("legacy_0.4", 0) + b"ping") == text_of("legacy_0.4", 1)
    result = established(machine)
    assert (result.version, result.surplus) == ("0.4", b"ping")
    assert not (result.we_deflate or result.they_deflate or result.tls)
    assert result.peer.is_ultrapeer is None


def test_answer_of_gnutella_0_4_is_not_taken() -> None:
    machine = Initiator(OFFER, "24.1.2.3")
    with pytest.raises(RemoteViolation) as caught:
        machine.receive(text_of("legacy_0.4", 1))
    assert caught.value.reason is DropReason.HANDSHAKE_VERSION


# -- captures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CAPTURES, ids=lambda p: p.stem)
def test_captured_dialler_is_accepted_and_its_messages_handed_over(path: Path) -> None:
    dialled, _ = captured(path)
    machine = acceptor(tls=True)
    answer = machine.receive(dialled)
    result = established(machine)
    assert result.surplus == dialled[dialled.index(b"\r\n\r\n", dialled.index(b"\r\n\r\n") + 4) + 4 :]
    assert result.peer.dynamic_querying and result.peer.reads_bye and result.peer.reads_ggep
    assert result.peer.listen is not None and result.peer.listen.port == 6346
    # What a gtk-gnutella leaf wants of an ultrapeer (digest 1.6).
    said = headers_of(answer)
    assert said.get("X-Ultrapeer") == "True"
    assert said.get("X-Dynamic-Querying") == "0.1"
    assert int(said.get("X-Degree")) >= 16
    assert float(said.get("X-Query-Routing")) <= 0.2


@pytest.mark.parametrize("path", CAPTURES, ids=lambda p: p.stem)
def test_captured_answerer_is_understood(path: Path) -> None:
    _, answered = captured(path)
    machine = Initiator(offer(tls=True), "10.77.0.2")
    machine.start()
    assert machine.receive(answered) == b"GNUTELLA/0.6 200 OK\r\n\r\n"
    result = established(machine)
    assert result.surplus == answered[answered.index(b"\r\n\r\n") + 4 :]
    assert result.peer.servent_id is not None
    assert result.peer.user_agent.startswith("gtk-gnutella/1.2.3")
    assert "tls/1.0" in result.peer.features
    assert (result.peer.degree, result.peer.max_ttl, result.peer.is_ultrapeer) == (46, 4, True)


# -- what we send --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_ultrapeer", [True, False])
def test_our_blocks_suit_limewire(is_ultrapeer: bool) -> None:
    hosts = tuple(Address("66.7.8.9", 6000 + n) for n in range(30))
    full = offer(is_ultrapeer=is_ultrapeer, tls=True, try_ultrapeers=hosts, ultrapeer_needed=True)
    first = Initiator(full, THEM).start()
    second = Acceptor(full, THEM, accept).receive(first)
    for block in (first, second):
        headers = headers_of(block)
        assert len(headers) < 25
        assert {name for name, _ in headers} <= LIMEWIRE_NAMES
        assert max(map(len, block.split(b"\r\n"))) <= 1024
        assert headers.get("Accept-Encoding") == "deflate"
        # LimeWire's "good ultrapeer" and "good leaf" (digest 1.7).
        assert int(headers.get("X-Degree")) >= 15 and int(headers.get("X-Max-TTL")) < 5
        assert headers.get("X-Requeries") == "False"
        assert headers.get("X-Ultrapeer-Query-Routing") == headers.get("X-Dynamic-Querying") == "0.1"
        assert headers.get("X-Ultrapeer") == str(is_ultrapeer)
    assert headers_of(second).get("X-Try-Ultrapeers").count(",") == 9
    assert second.startswith(b"GNUTELLA/0.6 200 OK\r\n") and second.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("we, they", [(True, True), (True, False), (False, True), (False, False)])
def test_compression_is_agreed_for_both_directions_or_left(we: bool, they: bool) -> None:
    dialler = Initiator(offer(accepts_deflate=we), THEM)
    answerer = acceptor(accepts_deflate=they)
    answerer.receive(dialler.receive(answerer.receive(dialler.start())))
    for side in (established(dialler), established(answerer)):
        assert side.we_deflate is side.they_deflate is (we and they)


def test_each_direction_is_compressed_on_its_own() -> None:
    machine = acceptor()
    machine.receive(b"GNUTELLA CONNECT/0.6\r\nAccept-Encoding: deflate\r\n\r\nGNUTELLA/0.6 200 OK\r\n\r\n")
    assert (established(machine).we_deflate, established(machine).they_deflate) == (True, False)


@pytest.mark.parametrize("we, they", [(True, True), (True, False), (False, True)])
def test_tls_needs_both_sides(we: bool, they: bool) -> None:
    dialler = Initiator(offer(tls=we), THEM)
    answerer = acceptor(tls=they)
    answerer.receive(dialler.receive(answerer.receive(dialler.start())) + b"\x16\x03")
    assert established(dialler).tls is established(answerer).tls is (we and they)
    assert established(answerer).surplus == b"\x16\x03"


def test_tls_is_not_started_when_block_3_does_not_agree() -> None:
    machine = acceptor(tls=True)
    machine.receive(b"GNUTELLA CONNECT/0.6\r\nUpgrade: TLS/1.0\r\n\r\nGNUTELLA/0.6 200 OK\r\n\r\n")
    assert established(machine).tls is False


def test_line_break_in_our_own_header_is_our_bug() -> None:
    with pytest.raises(LocalMisuse):
        format_head("GNUTELLA CONNECT/0.6", [("User-Agent", "a\r\nX-Evil: b")])


# -- refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code, tells_hosts", [(503, True), (409, True), (429, False), (550, False)])
def test_our_refusal_names_other_hosts_where_that_helps(code: int, tells_hosts: bool) -> None:
    refusal = Refusal(code, "No", DropReason.SLOTS_FULL)
    machine = Acceptor(offer(try_ultrapeers=(Address("66.7.8.9", 6346),)), THEM, lambda peer: refusal)
    answer = machine.receive(b"GNUTELLA CONNECT/0.6\r\nUser-Agent: x\r\n\r\n")
    assert answer.startswith(b"GNUTELLA/0.6 %d No\r\n" % code)
    assert ("X-Try-Ultrapeers" in headers_of(answer)) is tells_hosts
    assert refused(machine).reason is DropReason.SLOTS_FULL


def test_decision_is_asked_once_with_what_block_1_says() -> None:
    seen: list[Peer] = []
    machine = Acceptor(OFFER, THEM, lambda peer: seen.append(peer))
    for byte in b"GNUTELLA CONNECT/0.6\r\nX-Degree: 7\r\n\r\nGNUTELLA/0.6 200 OK\r\n\r\n":
        machine.receive(bytes([byte]))
    assert [peer.degree for peer in seen] == [7]


def test_initiator_may_still_refuse_in_block_3() -> None:
    machine = Initiator(OFFER, THEM, lambda peer: Refusal(409, "Already connected", DropReason.SELF_LINK))
    assert machine.receive(b"GNUTELLA/0.6 200 OK\r\n\r\n") == b"GNUTELLA/0.6 409 Already connected\r\n\r\n"
    assert refused(machine).reason is DropReason.SELF_LINK


def test_refusal_in_block_3_is_understood() -> None:
    machine = acceptor()
    machine.receive(b"GNUTELLA CONNECT/0.6\r\n\r\nGNUTELLA/0.6 503 I have leaves\r\n\r\n")
    assert (refused(machine).code, refused(machine).text) == (503, "I have leaves")


@pytest.mark.parametrize(
    "block, code, reason",
    [
        (b"GNUTELLA CONNECT/0.5\r\n\r\n", 503, DropReason.HANDSHAKE_VERSION),
        (b"GNUTELLA CONNECT/0.6\r\nAccept: application/x-gnutella2\r\n\r\n", 406, DropReason.NOT_GNUTELLA),
    ],
)
def test_other_protocols_are_refused_by_name(block: bytes, code: int, reason: DropReason) -> None:
    machine = acceptor()
    assert machine.receive(block).startswith(b"GNUTELLA/0.6 %d " % code)
    assert refused(machine).reason is reason


def test_acceptor_of_another_network_is_refused_in_block_3() -> None:
    machine = Initiator(OFFER, THEM)
    answer = machine.receive(b"GNUTELLA/0.6 200 OK\r\nContent-Type: application/x-gnutella2\r\n\r\n")
    assert answer == b"GNUTELLA/0.6 406 Protocol not acceptable\r\n\r\n"
    assert refused(machine).reason is DropReason.NOT_GNUTELLA


def test_shareaza_that_speaks_both_networks_is_accepted() -> None:
    machine = acceptor()
    both = b"Accept: application/x-gnutella2,application/x-gnutella-packets\r\n"
    machine.receive(b"GNUTELLA CONNECT/0.6\r\n" + both + b"\r\nGNUTELLA/0.6 200 OK\r\n\r\n")
    assert established(machine).version == "0.6"


# -- limits and bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block, reason",
    [
        (b"GNUTELLA CONNECT/0.6\r\nX: " + b"a" * (MAX_LINE - 2), DropReason.HEAD_TOO_LARGE),
        (b"GNUTELLA CONNECT/0.6\r\n" + b"A: b\r\n" * MAX_HEAD_LINES, DropReason.HEAD_TOO_LARGE),
        (
            b"GNUTELLA CONNECT/0.6\r\n" + (b"A: " + b"b" * 997 + b"\r\n") * (MAX_HEAD_BYTES // 1000 + 1),
            DropReason.HEAD_TOO_LARGE,
        ),
        (b"GNUTELLA CONNECT/0.6\r\nno colon\r\n\r\n", DropReason.HEAD_BROKEN),
        (b"GNUTELLA CONNECT/0.6\r\n: value\r\n\r\n", DropReason.HEAD_BROKEN),
        (b"GNUTELLA CONNECT/0.6\r\n folded\r\n\r\n", DropReason.HEAD_BROKEN),
        (b"GNUTELLA CONNECT/0.6\r\nUser-Agent: \x1b[2J\r\n\r\n", DropReason.HEAD_BROKEN),
        (b"GNUTELLA CONNECT/0.6\r\nUser-Agent: a\0\r\n\r\n", DropReason.HEAD_BROKEN),
        (b"\r\n", DropReason.HEAD_BROKEN),
        (b"GNUTELLA CONNECT/0.6 \r\r\n\r\n", DropReason.HEAD_BROKEN),
        (b"GNUTELLA CONNECT/x\r\n\r\n", DropReason.HANDSHAKE_BROKEN),
        (b"GNUTELLA CONNECT/0.6\r\n\r\nGNUTELLA CONNECT/0.6\r\n\r\n", DropReason.HANDSHAKE_BROKEN),
    ],
)
def test_bad_blocks_are_named(block: bytes, reason: DropReason) -> None:
    with pytest.raises(RemoteViolation) as caught:
        acceptor().receive(block)
    assert caught.value.reason is reason


def test_line_and_block_of_just_the_allowed_size_pass() -> None:
    line = b"X: " + b"a" * (MAX_LINE - 4) + b"\r\n"
    block = b"GNUTELLA CONNECT/0.6\r\n" + line * 15
    block += b"Y: " + b"b" * (MAX_HEAD_BYTES - len(block) - 7) + b"\r\n\r\n"
    assert len(block) == MAX_HEAD_BYTES
    assert acceptor().receive(block).startswith(b"GNUTELLA/0.6 200 OK")


def test_peer_is_told_of_an_error_only_before_block_2() -> None:
    machine = acceptor()
    assert machine.complaint(DropReason.SLOW) == b"GNUTELLA/0.6 408 slow\r\n\r\n"
    assert machine.complaint(DropReason.GARBAGE) == b""
    machine.receive(b"GNUTELLA CONNECT/0.6\r\n\r\n")
    assert machine.complaint(DropReason.SLOW) == b""


def test_folded_repeated_and_spaced_headers_are_understood() -> None:
    machine = acceptor()
    machine.receive(
        b"GNUTELLA CONNECT/0.6\nX-Try: 1.2.3.4:5,\n\t6.7.8.9\nx-try : 2.2.2.2:2 2005-01-01T00:00Z\n\nGNUTELLA/0.6 200 OK\n\n"
    )
    assert established(machine).peer.try_hosts == (
        Address("1.2.3.4", 5),
        Address("6.7.8.9", 6346),
        Address("2.2.2.2", 2),
    )


@pytest.mark.parametrize("value", ["-1", "1e9", "nan", "", "99999999999999999999", "\u0663"])
def test_unreadable_numbers_count_as_not_said(value: str) -> None:
    machine = acceptor()
    machine.receive(
        f"GNUTELLA CONNECT/0.6\r\nX-Degree: {value}\r\nGGEP: x{value}\r\n\r\n".encode() + b"GNUTELLA/0.6 200 OK\n\n"
    )
    assert established(machine).peer.degree == 8
    assert established(machine).peer.reads_ggep is False


def test_numbers_are_clamped() -> None:
    machine = acceptor()
    machine.receive(b"GNUTELLA CONNECT/0.6\nX-Degree: 5000\nX-Max-TTL: 0\n\nGNUTELLA/0.6 200 OK\n\n")
    assert (established(machine).peer.degree, established(machine).peer.max_ttl) == (1000, 1)


# -- any cut of the bytes ------------------------------------------------------------------------------------------------


def conversation(machine: Initiator | Acceptor, pieces: list[bytes]) -> tuple[object, ...]:
    sent = b""
    for n, piece in enumerate(pieces):
        try:
            sent += machine.receive(piece)
        except RemoteViolation as violation:
            return (violation.reason,)
        if machine.result is not None:
            rest = b"".join(pieces[n + 1 :])
            if isinstance(machine.result, Established):
                surplus = machine.result.surplus + rest
                return sent, machine.result.peer, machine.result.tls, machine.result.they_deflate, surplus
            return sent, machine.result
    return (sent,)


@given(strategies.conversations, strategies.offers, st.data())
def test_any_cut_gives_the_same_result_and_only_violations_are_raised(
    peer: bytes, ours: Offer, data: st.DataObject
) -> None:
    for make in (lambda: Acceptor(ours, THEM, accept), lambda: Initiator(ours, THEM)):
        whole = conversation(make(), [peer])
        assert conversation(make(), data.draw(strategies.cuts(peer))) == whole
        assert conversation(make(), [bytes([byte]) for byte in peer]) == whole


@given(strategies.offers, strategies.offers)
def test_our_two_sides_always_agree(ours: Offer, theirs: Offer) -> None:
    dialler, answerer = Initiator(ours, "127.0.0.1"), Acceptor(theirs, "127.0.0.1", accept)
    answerer.receive(dialler.receive(answerer.receive(dialler.start())))
    one, other = established(dialler), established(answerer)
    assert (one.we_deflate, one.they_deflate, one.tls) == (other.they_deflate, other.we_deflate, other.tls)
    assert one.peer.servent_id == theirs.servent_id and other.peer.servent_id == ours.servent_id
    assert one.peer.listen == theirs.listen and other.peer.listen == ours.listen
    assert one.peer.is_ultrapeer is theirs.is_ultrapeer and other.peer.is_ultrapeer is ours.is_ultrapeer
    assert set(one.peer.try_hosts) == set(theirs.try_ultrapeers[:10])
