"""The searcher's side: what becomes of hits, good and bad, and how a search ends."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anonymizer.channel import MAX_REOPENS, Channels
from anonymizer.descr import GATEWAY, PIVOT
from anonymizer.errors import AnonymityError, BadSearch, GatewayUnavailable, NoAnonymousRoute, PivotTimeout
from anonymizer.fields import Body
from anonymizer.hits import AnchorHint, HitContent, seal_hit
from anonymizer.inner import Dummy, Fail, FailReason, GateHit, Hit, InnerSeek
from anonymizer.reasons import Refusal
from anonymizer.search import MAX_GATE_HITS, MAX_NAMES, SEARCH_FLOOR_S, Search, SearchResult
from anonymizer.wire import SEALED_SIZE
from gnutella.testing.relay_pivot import FarEnd, RelayPivots

UID = bytes(range(16))
SHA1, URN = bytes(20), "urn:sha1:" + "A" * 32


def hit(name: str = "purple elephant", number: int = 0, **changed: object) -> HitContent:
    routing = hashlib.sha256(b"%d" % number).digest()
    return replace(HitContent(name, 7, "text/plain", 0x10, routing, bytes(32)), **changed)  # type: ignore[arg-type]


def gate_hit(**changed: object) -> GateHit:
    return replace(GateHit("elephant.txt", 9, URN, "192.0.2.1", 6346), **changed)  # type: ignore[arg-type]


class Searcher:
    """A search with a scripted pivot, and what its user is told."""

    def __init__(
        self, *answers: HitContent | Body, gateway: bool = False, hits: int = 64, seed: int = 1, gateways: int = 4
    ) -> None:
        self.net = RelayPivots(seed)
        self.gateways = {self.net.add_pivot(100 + n, capabilities=PIVOT | GATEWAY) for n in range(gateways)}
        self.net.others = self._others
        self.answers = list(answers)
        self.asked: list[InnerSeek] = []
        self.told: list[SearchResult] = []
        self.ends: list[AnonymityError | None] = []
        self.channels = Channels(
            b"o" * 32, self.net, self.net.known, self.net.rng, self.net.timers, self.net.new_key, lambda: "guard"
        )
        self.net.origin = self.channels
        self.search = Search(
            self.channels,
            self.net.new_key,
            "Purple  ELEPHANT",
            found=self.told.append,
            done=self.ends.append,
            gateway=gateway,
            hits=hits,
        )

    def _others(self, end: FarEnd, body: Body) -> list[Body]:
        assert isinstance(body, InnerSeek)
        self.asked.append(body)
        return [self._said(body, answer) for answer in self.answers]

    @staticmethod
    def _said(asked: InnerSeek, answer: HitContent | Body) -> Body:
        if isinstance(answer, HitContent):
            return Hit(seal_hit(asked.reply_key, answer))
        return replace(answer, routing=asked.reply_key) if isinstance(answer, Fail) and not answer.routing else answer

    def run(self) -> Searcher:
        self.search.start(self.net.now)
        self.net.run_until(lambda: self.search.is_done)
        return self

    @property
    def names(self) -> list[str]:
        return [result.name for result in self.search.results]


def test_a_search_goes_to_one_pivot_and_tells_what_was_found() -> None:
    made = Searcher(hit(), hit("rain", 1)).run()
    (asked,) = made.asked
    assert (asked.text, asked.kinds, asked.hits, asked.gateway) == ("purple elephant", 0, 64, False)
    assert made.names == ["purple elephant", "rain"]
    assert [result.number for result in made.told] == [1, 2]
    assert made.ends == [None]
    first = made.search.results[0]
    assert first.uri == hit().uri
    assert not first.is_gateway
    assert (made.search.level, made.search.pivots) == ("relay", 1)
    made.net.settle()
    assert made.net.log[0][1] == "open" and made.net.log[-1][1] == "close"
    assert {what for _, what, _ in made.net.log[1:-1]} == {"small"}
    assert len(made.net.timers) == 0


def test_the_end_of_a_search_has_no_fixed_time() -> None:
    ends = []
    for seed in range(30):
        made = Searcher(seed=seed).run()
        made.net.settle()
        ends.append(made.net.log[-1][0] - made.net.log[0][0])
        assert made.ends == [None]
    assert min(ends) > SEARCH_FLOOR_S
    assert len({round(end) for end in ends}) > 5


def test_hits_of_one_file_are_one_result() -> None:
    hints = [AnchorHint(bytes((n,)) * 32, UID, bytes(32)) for n in range(3)]
    persona = Ed25519PrivateKey.from_private_bytes(bytes(32))
    other = hit("other name").with_anchors(hints[1:])
    made = Searcher(hit().with_anchors(hints[:2]), other.signed(persona), hit("other key", key=b"k" * 32)).run()
    assert made.names == ["purple elephant", "other key"]
    (first, _) = made.search.results
    assert first.names == ["purple elephant", "other name"]
    assert first.anchors == hints
    assert first.hits == 2
    assert first.personas == [persona.public_key().public_bytes_raw()]
    assert [result.number for result in made.told] == [1, 1, 2]


def test_what_is_kept_of_one_file_is_bounded() -> None:
    made = Searcher(*(hit(f"name {n}") for n in range(40))).run()
    (result,) = made.search.results
    assert (len(result.names), result.hits) == (MAX_NAMES, 40)


def test_enough_hits_end_it_and_more_are_not_looked_at() -> None:
    made = Searcher(*(hit(number=n) for n in range(5)), hits=3).run()
    assert len(made.search.results) == 3
    assert made.ends == [None]
    assert made.asked[0].hits == 3
    assert made.net.now < made.net.log[0][0] + SEARCH_FLOOR_S


def test_a_hit_that_is_none_is_counted_and_a_hit_twice_is_one() -> None:
    made = Searcher(Hit(bytes(64)), Hit(bytes(SEALED_SIZE - 100)), Hit(bytes(64)), hit()).run()
    assert made.names == ["purple elephant"]
    assert made.search.refusals[Refusal.HIT_BROKEN] == 2
    assert made.search.refusals[Refusal.HITS_MANY] == 1


@pytest.mark.parametrize("nonsense", [Dummy(), Fail(FailReason.NOT_FOUND, bytes(31) + b"\1"), gate_hit()])
def test_a_pivot_that_says_what_was_not_asked_for_is_left(nonsense: Body) -> None:
    made = Searcher(nonsense)
    made.search.start(made.net.now)
    made.net.run_until(lambda: len(made.asked) == 2)
    made.answers = [hit()]
    made.net.run_until(lambda: made.search.is_done)
    assert made.search.refusals[Refusal.BAD_INNER] >= 1
    assert len(set(made.net.pivots_used)) == len(made.asked) > 1


def test_each_circuit_has_a_key_of_its_own() -> None:
    made = Searcher(Fail(FailReason.OVERLOAD, b"")).run()
    assert len(made.asked) == 1 + MAX_REOPENS
    assert len({asked.reply_key for asked in made.asked}) == len(made.asked)
    assert made.search.pivots == len(made.asked)
    assert isinstance(made.ends[0], PivotTimeout)
    assert len(made.ends) == 1


def test_what_was_found_before_the_circuits_were_lost_counts() -> None:
    made = Searcher(hit(), Fail(FailReason.OVERLOAD, b"")).run()
    assert made.ends == [None]
    assert made.names == ["purple elephant"]


def test_a_hit_for_an_earlier_circuit_opens_no_more() -> None:
    made = Searcher()
    made.search.start(made.net.now)
    made.net.run_until(lambda: len(made.asked) == 1)
    early = Hit(seal_hit(made.asked[0].reply_key, hit()))
    made.net.run(5.0)
    made.net.kill(1)
    made.answers = [early]
    made.net.run_until(lambda: made.search.is_done)
    assert made.names == []
    assert made.search.refusals[Refusal.HIT_BROKEN] == 1


def test_what_is_found_outside_says_so_and_has_places() -> None:
    made = Searcher(
        hit(), gate_hit(), gate_hit(name="same.txt", host="2001:db8::1"), gate_hit(size=10), gateway=True
    ).run()
    assert made.names == ["purple elephant", "elephant.txt", "elephant.txt"]
    outside = made.search.results[1]
    assert (outside.is_gateway, outside.uri, outside.sha1) == (True, None, SHA1)
    assert outside.places == [("192.0.2.1", 6346), ("2001:db8::1", 6346)]
    assert outside.names == ["elephant.txt", "same.txt"]
    assert made.ends == [None]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "../x"},
        {"name": "a\x1b[2Jb"},
        {"host": "example.org"},
        {"host": "0x7f.1"},
        {"urn": "urn:x"},
        {"urn": "x"},
    ],
)
def test_hits_from_outside_are_held_to_the_rules_for_hits(changed: dict[str, object]) -> None:
    made = Searcher(gate_hit(**changed), gateway=True).run()
    assert made.names == []
    assert made.search.refusals[Refusal.HIT_BROKEN] == 1


def test_hits_from_outside_are_bounded() -> None:
    made = Searcher(*(gate_hit(size=n) for n in range(MAX_GATE_HITS + 3)), gateway=True).run()
    assert len(made.search.results) == MAX_GATE_HITS
    assert made.search.refusals[Refusal.HITS_MANY] == 3


def test_a_pivot_that_does_not_ask_outside_is_named_when_nothing_else_was_found() -> None:
    refusal = Fail(FailReason.NO_GATEWAY, b"")
    made = Searcher(refusal, gateway=True).run()
    assert isinstance(made.ends[0], GatewayUnavailable)
    assert made.search.no_gateway
    assert set(made.net.pivots_used) <= made.gateways
    assert Searcher(refusal, hit(), gateway=True).run().ends == [None]


def test_without_gateways_the_layer_is_searched_and_that_is_said() -> None:
    made = Searcher(hit(), gateway=True, gateways=0).run()
    assert [asked.gateway for asked in made.asked] == [False]
    assert made.search.no_gateway
    assert made.ends == [None]
    assert isinstance(Searcher(gateway=True, gateways=0).run().ends[0], GatewayUnavailable)


def test_who_stops_is_told_so_once_and_hears_nothing_more() -> None:
    made = Searcher(hit())
    made.search.start(made.net.now)
    made.search.stop(made.net.now)
    made.search.stop(made.net.now)
    made.net.run(600.0)
    assert made.ends == [None]
    assert made.told == []
    assert len(made.net.timers) == 0


def test_without_a_guard_nothing_is_sent() -> None:
    made = Searcher(hit())
    made.net.has_guard = False
    with pytest.raises(NoAnonymousRoute):
        made.search.start(made.net.now)
    assert made.net.log == []


@pytest.mark.parametrize("text", ["", "a", "x" * 300, "日" * 100])
def test_what_asks_for_nothing_is_refused_by_name(text: str) -> None:
    made = Searcher()
    with pytest.raises(BadSearch, match="asks for nothing"):
        Search(made.channels, made.net.new_key, text, found=made.told.append, done=made.ends.append)
