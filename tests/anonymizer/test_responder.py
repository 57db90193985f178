"""The provider's side: when it answers, how often, and that nothing but a seal to the pivot leaves."""

from __future__ import annotations

import hashlib
import random
import statistics
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.hits import AnchorHint, HitContent, open_hit
from anonymizer.known import KnownNodes
from anonymizer.posts import open_post
from anonymizer.reasons import Refusal
from anonymizer.responder import (
    ANSWER_BURST,
    APART_MEAN_S,
    APART_STEPS,
    DELAY_MEAN_S,
    MAX_ANSWERS,
    MAX_DELAY_S,
    MAX_WAITING,
    KeyedChance,
    Responder,
)
from anonymizer.seal import PivotKeys, Replays
from anonymizer.shares import AnonymousShare, ShareIndex
from anonymizer.timers import Timers
from anonymizer.uri import ChkUri
from anonymizer.wire import CloseReason, Seek
from gnutella.testing.relay_nodes import NOW, descriptor_of


def key(text: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(hashlib.sha256(text).digest())


REPLY = key(b"reply")
PIVOT_KEYS = PivotKeys(NOW, lambda: key(b"pivot"))
PIVOT = descriptor_of(1, pivot_keys=PIVOT_KEYS.public)
OWN = bytes(32)
UID = bytes(range(16))
HINT = AnchorHint(bytes(32), UID, bytes(32))


@dataclass
class Posts:
    """Circuits that only post."""

    has_guard: bool = True
    sent: list[tuple[bytes, bytes, float]] = field(default_factory=list)

    def post(self, pivot_id: bytes, sealed: bytes, now: float) -> bool:
        if self.has_guard:
            self.sent.append((pivot_id, sealed, now))
        return self.has_guard

    def open(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        raise AssertionError("an answer needs no circuit")

    def say(self, number: int, data: bytes, now: float) -> None:
        raise AssertionError

    def close(self, number: int, reason: CloseReason, now: float) -> None:
        raise AssertionError

    def room(self, number: int) -> int:
        raise AssertionError


class Provider:
    """A node with shares."""

    def __init__(self, *names: str, seed: int = 1, anchored: bool = False, persona: bool = False) -> None:
        self.shares, self.posts, self.timers = ShareIndex(), Posts(), Timers()
        self.here: list[bytes] = []
        self.trips = [0.05, 0.1]
        self.hints: tuple[AnchorHint, ...] = (HINT,)
        known = KnownNodes(OWN)
        assert known.hear(PIVOT.data, b"x" * 32, NOW) is not None
        for name in names:
            digest = hashlib.sha256(name.encode()).digest()
            self.shares.add(AnonymousShare(name, 7, "", 0, ChkUri(digest, digest), anchored))
        self.responder = Responder(
            OWN,
            self.shares,
            self.posts,
            known,
            random.Random(seed),
            self.timers,
            secret=b"secret",
            round_trips=lambda: self.trips,
            anchors=lambda routing, now: self.hints,
            own_keys=lambda: PIVOT_KEYS.public,
            here=lambda sealed, now: self.here.append(sealed),
            persona=Ed25519PrivateKey.from_private_bytes(bytes(32)) if persona else None,
        )

    def ask(self, text: str = "purple", pivot: bytes = PIVOT.node_id, now: float = NOW, kinds: int = 0) -> None:
        self.responder.asked(Seek(UID, pivot, REPLY.public_key().public_bytes_raw(), 3, text, kinds), now)

    def waits(self) -> list[float]:
        """Let all answers go; how long each took."""
        waits = []
        while (when := self.timers.next_at) is not None:
            waits.append(when - NOW)
            self.timers.run(when)
        return waits

    def hits(self) -> list[HitContent]:
        """What the pivot passes on, opened by the searcher."""
        replays = Replays()
        found = [open_post(pivot, PIVOT_KEYS, replays, sealed, now) for pivot, sealed, now in self.posts.sent]
        assert all(content.query_id == UID for content in found)
        return [open_hit(REPLY, content.sealed) for content in found]


def test_what_matches_is_told_to_the_searcher_by_the_pivot() -> None:
    made = Provider("purple elephant", "purple rain", "green")
    made.ask()
    assert made.posts.sent == []
    made.waits()
    assert sorted(hit.name for hit in made.hits()) == ["purple elephant", "purple rain"]
    assert {pivot for pivot, _, _ in made.posts.sent} == {PIVOT.node_id}
    assert made.responder.answered == 2
    made.ask("nothing")
    assert made.waits() == []


def test_the_keyed_delay_is_the_same_each_time_and_has_its_law() -> None:
    made = Provider("purple elephant")
    delays = [made.responder.delay(f"text {n}", bytes(32)) for n in range(2_000)]
    assert delays == [made.responder.delay(f"text {n}", bytes(32)) for n in range(2_000)]
    assert max(delays) == MAX_DELAY_S
    assert abs(statistics.fmean(delays) - DELAY_MEAN_S) < 0.03
    assert made.responder.delay("text", bytes(31) + b"\1") != made.responder.delay("text", bytes(32))


def test_a_part_of_the_wait_is_the_files_whatever_is_asked() -> None:
    made = Provider("purple elephant")
    routings = [hashlib.sha256(b"%d" % n).digest() for n in range(2_000)]
    apart = [made.responder.apart(routing) for routing in routings]
    assert apart == [made.responder.apart(routing) for routing in routings]
    assert abs(statistics.fmean(apart) - APART_STEPS * APART_MEAN_S) < 0.12
    routing = hashlib.sha256(b"purple elephant").digest()
    for text in ("purple", "elephant", "purple elephant"):
        made.ask(text)
        assert min(made.waits()) > made.responder.apart(routing) + made.responder.delay(text, routing)


def test_asking_again_shows_one_distance_behind_which_is_not_this_nodes() -> None:
    """The mean over many answers is that of one node further behind: another for each file, whatever is asked."""
    made = Provider("purple elephant", "green elephant")
    means = []
    for name in ("purple elephant", "green elephant"):
        routing = hashlib.sha256(name.encode()).digest()
        rounds = [[made.responder._hold(routing) for _ in range(300)] for _ in range(2)]
        first, again = (statistics.fmean(holds) for holds in rounds)
        assert abs(first - again) < 0.03
        assert len(set(rounds[0])) == 300
        assert min(rounds[0]) > 0.05
        means.append(first)
    assert abs(means[0] - means[1]) > 0.03


def test_the_distance_behind_stays_when_links_are_measured_anew() -> None:
    made = Provider()
    made.trips = []
    assert made.responder._hold(bytes(32)) > 0
    made.trips = [0.05]
    first = statistics.fmean(made.responder._hold(bytes(32)) for _ in range(200))
    made.trips = [5.0]
    assert abs(statistics.fmean(made.responder._hold(bytes(32)) for _ in range(200)) - first) < 0.05
    assert made.responder._hold(b"\1" * 32) > 5.0


def test_a_text_in_another_form_is_the_same_text() -> None:
    one, other = Provider("purple elephant"), Provider("purple elephant")
    one.ask("purple elephant")
    other.ask("  PURPLE élephant")
    assert one.waits() == other.waits()


def test_one_search_gets_so_many_answers_and_the_same_again() -> None:
    made = Provider(*(f"purple {n}" for n in range(MAX_ANSWERS + 5)))
    made.ask()
    made.waits()
    first = {hit.name for hit in made.hits()}
    assert len(first) == MAX_ANSWERS
    assert made.responder.refusals[Refusal.ANSWERS_MANY] == 5
    made.posts.sent.clear()
    made.ask()
    made.waits()
    assert {hit.name for hit in made.hits()} == first


def test_answers_are_bounded_in_time_and_in_number() -> None:
    made = Provider("purple elephant")
    for _ in range(ANSWER_BURST + 10):
        made.ask()
    assert made.responder.waiting == ANSWER_BURST
    assert made.responder.refusals[Refusal.ANSWERS_MANY] == 10
    made.waits()
    assert made.responder.waiting == 0
    for n in range(2 * MAX_WAITING):
        made.ask(now=NOW + 10_000 + 60.0 * n)
    assert made.responder.waiting == MAX_WAITING


def test_what_is_not_offered_any_more_is_not_told() -> None:
    made = Provider("purple elephant")
    made.ask()
    made.shares.remove(hashlib.sha256(b"purple elephant").digest())
    made.waits()
    assert made.posts.sent == []


def test_no_guard_no_answer_and_no_other_way() -> None:
    made = Provider("purple elephant")
    made.posts.has_guard = False
    made.ask()
    made.waits()
    assert made.responder.refusals[Refusal.ANSWER_NO_ROUTE] == 1
    assert (made.responder.answered, made.here) == (0, [])


def test_a_pivot_that_nobody_told_of_gets_nothing() -> None:
    made = Provider("purple elephant")
    made.ask(pivot=b"\7" * 32)
    made.waits()
    assert made.responder.refusals[Refusal.ANSWER_NO_PIVOT] == 1
    assert made.posts.sent == []


def test_a_search_without_a_key_gets_nothing() -> None:
    made = Provider("purple elephant")
    made.responder.asked(Seek(UID, PIVOT.node_id, bytes(32), 3, "purple", 0), NOW)
    made.waits()
    assert made.responder.refusals[Refusal.HIT_BROKEN] == 1


def test_the_pivot_itself_answers_as_late_as_others_and_over_no_link() -> None:
    made = Provider("purple elephant")
    made.ask(pivot=OWN)
    (wait,) = made.waits()
    assert made.posts.sent == []
    (sealed,) = made.here
    content = open_post(OWN, PIVOT_KEYS, Replays(), sealed, NOW + wait)
    assert open_hit(REPLY, content.sealed).name == "purple elephant"
    other = Provider("purple elephant")
    other.ask()
    assert wait > other.waits()[0]


def test_what_is_anchored_is_told_with_its_anchors_or_not_at_all() -> None:
    made = Provider("purple elephant", anchored=True)
    made.ask()
    made.waits()
    assert [hit.hints for hit in made.hits()] == [(HINT,)]
    made.hints = ()
    made.ask()
    made.waits()
    assert made.responder.refusals[Refusal.ANSWER_NO_ANCHOR] == 1
    assert len(made.posts.sent) == 1


def test_a_persona_signs_if_there_is_one() -> None:
    made = Provider("purple elephant", persona=True)
    made.ask()
    made.waits()
    (hit,) = made.hits()
    assert hit.signer == Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()


def test_keyed_chance_is_chance() -> None:
    one, other = KeyedChance(b"k", b"a"), KeyedChance(b"k", b"b")
    draws = [one.random() for _ in range(1_000)]
    assert abs(statistics.fmean(draws) - 0.5) < 0.05
    assert all(0 <= draw < 1 for draw in draws)
    assert draws[0] != other.random()
    assert {KeyedChance(b"k", b"%d" % n).randrange(3) for n in range(50)} == {0, 1, 2}
