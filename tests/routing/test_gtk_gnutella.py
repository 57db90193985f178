"""gtk-gnutella 1.2.3 dialled this node: what it said is said again to our handshake and router, at the times it was said.

tests/captures/ours/README.md tells how the conversations were recorded.  Our own pings have other GUIDs now, so that its
pongs count as unrequested; nothing else of it may be refused but pings that come less than a second apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnutella.protocol.frames import frames
from gnutella.protocol.handshake import Acceptor, Established, Offer
from gnutella.protocol.message import PING, PONG, QUERY, QUERY_HIT, Query, encode, parse_payload
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action
from gnutella.routing.events import ByeReceived, HitReceived
from gnutella.routing.router import LinkInfo, Router
from gnutella.testing.routers import OWN_ADDRESS, OWN_SERVENT, events_of, make_router, sent_by
from gnutella.units import Address, Guid, LinkId

CAPTURES = Path(__file__).parents[1] / "captures" / "ours"
LINK = LinkId(1)
GTKG = "203.0.113.8"


class Replay:
    """One conversation: the peer's side is fed to our machines, ours is only looked at."""

    def __init__(self, name: str) -> None:
        rows = [json.loads(line) for line in (CAPTURES / f"{name}.jsonl").read_text().splitlines()]
        self.theirs = [(row["t"], bytes.fromhex(row["hex"])) for row in rows if row["from"] == "dialer"]
        self.ours = [bytes.fromhex(row["hex"]) for row in rows if row["from"] == "answerer"]
        self.router: Router = make_router(["golf hotel movie.mkv"])

    def handshake(self) -> Established:
        offer = Offer("GnutellaTest/1.0", OWN_ADDRESS, servent_id=OWN_SERVENT, accepts_deflate=True, tls=True)
        machine = Acceptor(offer, GTKG, lambda peer: None)
        while machine.result is None:
            machine.receive(self.theirs.pop(0)[1])
        assert isinstance(machine.result, Established)
        return machine.result

    def ask_as_recorded(self) -> None:
        """Our searches, with the GUIDs under which the peer answers them."""
        for frame in frames(b"".join(self.ours[1:])):
            if frame.kind == QUERY:
                query = parse_payload(QUERY, frame.payload)
                assert isinstance(query, Query)
                self.router.search(query, 0.0, frame.guid)

    def run(self) -> Iterator[Action]:
        result = self.handshake()
        peer = result.peer
        assert peer.listen is not None
        info = LinkInfo(
            GTKG,
            OWN_ADDRESS.host,
            is_leaf=peer.is_ultrapeer is False,
            is_ultrapeer=peer.is_ultrapeer is True,
            reads_ggep=peer.reads_ggep,
            reads_bye=peer.reads_bye,
            max_ttl=peer.max_ttl,
            listen=Address(GTKG, peer.listen.port),
            servent_id=peer.servent_id,
        )
        yield from self.router.link_opened(LINK, info, 0.0)
        self.ask_as_recorded()
        yield from self.router.receive(LINK, result.surplus, 0.0)
        for time, data in self.theirs:
            yield from self.router.receive(LINK, data, time)


def test_a_leaf_gives_hits_gets_pongs_and_says_bye() -> None:
    replay = Replay("gtkg-leaf")
    actions = list(replay.run())
    hits = [event for event in events_of(actions) if isinstance(event, HitReceived)]
    assert [(hit.hit.address, hit.hit.vendor, hit.hit.needs_push, hit.hops) for hit in hits] == [
        (Address("203.0.113.7", 6346), b"GTKG", False, 1)
    ]
    (record,) = hits[0].hit.records
    assert (record.name, record.size) == ("juliet kilo large.bin", 31_457_280)
    assert record.sha1 is not None and record.sha1.hex() == "d8eef21c673a8f84bebd9de888bcd37096f816c1"
    assert record.tth is not None
    assert hits[0].hit.can_browse and hits[0].hit.reads_tls
    byes = [event for event in events_of(actions) if isinstance(event, ByeReceived)]
    assert [(bye.code, bye.text) for bye in byes] == [(200, "Servent shutdown")]
    pings = sum(frame.kind == PING for _, data in replay.theirs for frame in frames(data))
    pongs = sum(frame.kind == PONG for frame in sent_by(actions)[LINK])
    drops = replay.router.counters.drops
    assert drops[DropReason.RATE] == 1, "two pings in one segment"
    assert (pings, pongs) == (6, 5)
    assert {reason for reason, count in drops.items() if count} == {DropReason.RATE, DropReason.UNREQUESTED_PONG}


def test_an_ultrapeer_asks_and_answers() -> None:
    replay = Replay("gtkg-ultrapeer")
    actions = list(replay.run())
    hits = [event.hit for event in events_of(actions) if isinstance(event, HitReceived)]
    assert [record.name for hit in hits for record in hit.records] == ["tango uniform.bin"]
    asked = [frame for _, data in replay.theirs for frame in frames(data) if frame.kind == QUERY]
    answers = [frame for frame in sent_by(actions)[LINK] if frame.kind == QUERY_HIT]
    assert [frame.guid for frame in answers] == [frame.guid for frame in asked]
    assert len(answers) == 1
    refused = {reason for reason, count in replay.router.counters.drops.items() if count}
    assert refused == {DropReason.UNREQUESTED_PONG}


@pytest.mark.parametrize("name", ["gtkg-leaf", "gtkg-ultrapeer"])
def test_all_messages_are_read_and_written_back_byte_for_byte(name: str) -> None:
    replay = Replay(name)
    surplus = replay.handshake().surplus
    for stream in (surplus + b"".join(data for _, data in replay.theirs), b"".join(replay.ours[1:])):
        found = list(frames(stream))
        assert len(found) > 8
        for frame in found:
            message = parse_payload(frame.kind, frame.payload)
            whole = frame.data[frame.start : frame.end]
            assert encode(Guid(frame.guid), frame.ttl, frame.hops, message) == whole
