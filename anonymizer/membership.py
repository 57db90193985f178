"""Membership: which nodes are known and linked, whether links are alive, and what covers them when nothing else is sent.

    gossip      descriptors (anonymizer.gossip), ours among them (anonymizer.own)
    edges       which links are stem edges (anonymizer.edge_talk)
    targets     whom to dial: guards, then what routes need (anonymizer.targets)
    here        pings, cover, who may link with us, who is banned, and which link goes when there are too many

Pure: `wanted` says whom to dial and `drop` is called for links that shall go; who holds the connections does both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from anonymizer.bans import BAN_S, Bans
from anonymizer.descr import Descriptor, location_of
from anonymizer.edge_talk import EdgeTalk
from anonymizer.gossip import Gossip
from anonymizer.known import KnownNodes
from anonymizer.own import OwnDescriptor, OwnFacts
from anonymizer.pacing import Chance, exponential
from anonymizer.reasons import Refusal, Refusals
from anonymizer.seams import Edges, Guards
from anonymizer.targets import MAX_LINKS, TARGET_LINKS, Targets, is_next
from anonymizer.timers import Timer, Timers
from anonymizer.wire import (
    AnyBody,
    Bye,
    ByeReason,
    Descriptors,
    DescriptorsWanted,
    EdgeAnswer,
    EdgeDrop,
    EdgeRequest,
    Pad,
    Ping,
    Pong,
)

#: Pings go every 30 s on the average; never sooner than the floor, or three could be missed within a round trip.
PING_FLOOR_S: Final = 10.0
PING_MEAN_S: Final = 20.0
MISSED_PINGS: Final = 3
#: A peer that answers late shall not make our virtual stems longer than this for each of their hops.
MAX_ROUND_TRIP_S: Final = 5.0
#: Cells of cover a second on each link, up to as many links as are aimed at: 9.2 kB/s on twelve links, or on more.
PAD_RATE: Final = 0.5
#: After a dial that failed: doubled from here to there.
RETRY_S: Final = 60.0
MAX_RETRY_S: Final = 3_600.0
MAX_FAILURES: Final = 4_096
#: Nodes that somebody is told of whose link is refused.
MAX_PARTING: Final = 8
#: Fewer clocks than these say nothing about ours.
MIN_CLOCKS: Final = 3
#: Wishes are looked over this often, and when a link came or went.
WISH_S: Final = 10.0
TIDY_S: Final = 600.0

#: What `Membership.receive` takes.
Talk = Pad | Ping | Pong | Bye | Descriptors | DescriptorsWanted | EdgeRequest | EdgeAnswer | EdgeDrop


@dataclass(frozen=True, slots=True)
class Manners:
    """What tests and small networks may set otherwise."""

    pad_rate: float = PAD_RATE
    target_links: int = TARGET_LINKS
    max_links: int = MAX_LINKS


@dataclass(slots=True)
class _Link:
    """`is_incoming`: of the other side's choice; `network` is empty where networks do not count."""

    is_incoming: bool
    network: str
    since: float
    nonce: bytes = b""
    asked_at: float = 0.0
    missed: int = 0
    ping: Timer | None = None
    pad: Timer | None = None
    #: By how many seconds its clock is ahead of ours, as its HELLO said; within a minute.
    ahead_s: float | None = None


class Membership:
    """One node's.  `send` puts a cell into the queue of a link; `drop` closes one, saying why, and then calls `link_down`."""

    def __init__(
        self,
        own: OwnDescriptor,
        known: KnownNodes,
        chance: Chance,
        timers: Timers,
        edges: Edges,
        guards: Guards,
        *,
        send: Callable[[bytes, AnyBody], None],
        drop: Callable[[bytes, ByeReason, float], None],
        manners: Manners | None = None,
    ) -> None:
        self.own, self.known, self.bans, self.refusals = own, known, Bans(), Refusals()
        self.manners = manners or Manners()
        self._chance, self._timers, self._edges, self._guards = chance, timers, edges, guards
        self._send, self._drop = send, drop
        self._links: dict[bytes, _Link] = {}
        self._gossip = Gossip(known, lambda: own.current.data, timers, send, self._heard)
        self._talk = EdgeTalk(edges, guards, send, lambda node: self._links[node].network)
        self._targets = Targets(location_of(own.node_id), chance, target=self.manners.target_links)
        #: Nodes that could not be dialled: until when they are left alone, and how long that was.
        self._failures: dict[bytes, tuple[float, float]] = {}
        self._wished: list[Descriptor] = []
        self._wish_at = self._tidy_at = 0.0

    # -- links -----------------------------------------------------------------------------------------------------------

    def admits(self, node: bytes, host: str, now: float, *, is_incoming: bool) -> Refusal | None:
        """Why a link with that node, at that address, is not taken; None: it is.  Ask before `link_up`."""
        network = self.known.network_at(host)
        if node == self.own.node_id:
            return Refusal.LINK_SELF
        if self.bans.holds(node, now) or (network and self.bans.holds(network, now)):
            return Refusal.LINK_BANNED
        if node in self._links:
            return Refusal.LINK_TWICE
        # A guard is worth more than what stands in its way; it was chosen before anybody could know.
        is_guard = node in self._guards.wanted(now)
        if network and not is_guard and any(link.network == network for link in self._links.values()):
            return Refusal.LINK_NETWORK
        is_full = len(self._links) >= self.manners.max_links or self._incoming() >= self.manners.max_links // 2
        if is_incoming and is_full and not (self._is_next(node) and self._victim(node, is_incoming=True)):
            return Refusal.LINKS_FULL
        return None

    def _incoming(self) -> int:
        return sum(link.is_incoming for link in self._links.values())

    def _is_next(self, node: bytes) -> bool:
        """Whether it is, or would be, our neighbour on the ring, without which routes end short of where they lead."""
        places = [location_of(other) for other in self._links if other != node]
        return is_next(location_of(self.own.node_id), location_of(node), places)

    def link_up(self, node: bytes, now: float, *, is_client: bool, host: str = "") -> None:
        """There is a link; `is_client`: we dialled.  The stem has to know of it before."""
        descriptor = self.known.get(node)
        network = self.known.network_at(host or (descriptor.host if descriptor else ""))
        link = self._links[node] = _Link(not is_client, network, now)
        self._failures.pop(node, None)
        self._gossip.link_up(node, now)
        self._talk.link_up(node, now)
        self._plan_ping(node, link, now)
        self._plan_pad(node, link, now)
        self._wish_at = now
        self._make_room(node, now)

    def link_down(self, node: bytes, now: float) -> None:
        link = self._links.pop(node, None)
        if link is None:
            return
        for timer in (link.ping, link.pad):
            if timer is not None:
                timer.cancel()
        self._gossip.link_down(node)
        self._talk.link_down(node)
        self._wish_at = now

    def hello(self) -> tuple[int, bytes]:
        """What a HELLO says of us: capabilities and descriptor."""
        return self.own.facts.capabilities, self.own.current.data

    def parting(self) -> Descriptors | None:
        """Some nodes that can be dialled, for somebody for whom there is no room here; None: we know none."""
        found = [d for d in self.known if d.host]
        if not found:
            return None
        picked = {self._chance.randrange(len(found)) for _ in range(MAX_PARTING)}
        return Descriptors(tuple(found[number].data for number in sorted(picked)))

    def dial_failed(self, node: bytes, now: float) -> None:
        """It could not be reached, or refused us: not again for a while."""
        _, waited = self._failures.pop(node, (0.0, RETRY_S / 2))
        while len(self._failures) >= MAX_FAILURES:
            del self._failures[next(iter(self._failures))]
        wait = min(MAX_RETRY_S, 2 * waited)
        self._failures[node] = (now + wait + exponential(self._chance, wait / 4), wait)
        self._targets.give_up(node)
        self._guards.refused(node, now)
        self._wish_at = now

    def ban(self, node: bytes, now: float) -> None:
        """It broke the protocol: no link with it for an hour.  The link is dropped by whoever found out."""
        self.bans.ban(node, now)

    @property
    def links(self) -> dict[bytes, bool]:
        """Linked nodes, and whether they dialled us."""
        return {node: link.is_incoming for node, link in self._links.items()}

    def clock_said(self, node: bytes, minute: int, now: float) -> None:
        """What the clock of a linked node showed when it greeted us."""
        if node in self._links:
            self._links[node].ahead_s = 60.0 * (minute - now // 60)

    @property
    def clock_skew_s(self) -> float | None:
        """By how much the clocks of others are ahead of ours, the median of at least MIN_CLOCKS; None: too few tell."""
        told = sorted(link.ahead_s for link in self._links.values() if link.ahead_s is not None)
        return median(told) if len(told) >= MIN_CLOCKS else None

    # -- cells -----------------------------------------------------------------------------------------------------------

    def receive(self, node: bytes, body: Talk, now: float) -> None:
        """A cell of the link itself, parsed."""
        link = self._links.get(node)
        if link is None:
            return
        if isinstance(body, Ping):
            self._send(node, Pong(body.nonce))
        elif isinstance(body, Pong):
            self._answered(link, body.nonce, now)
        elif isinstance(body, Descriptors | DescriptorsWanted):
            self._gossip.receive(node, body, now)
        elif isinstance(body, EdgeRequest | EdgeAnswer | EdgeDrop):
            self._talk.receive(node, body, now)
        elif isinstance(body, Bye):
            if body.reason in (ByeReason.FULL, ByeReason.UNWANTED, ByeReason.STOPPING):
                self.dial_failed(node, now)
            self._drop(node, ByeReason.STOPPING, now)

    def _answered(self, link: _Link, nonce: bytes, now: float) -> None:
        if not nonce or nonce != link.nonce:
            self.refusals.count(Refusal.PONG_UNASKED)
            return
        link.nonce, link.missed = b"", 0
        self._edges.round_trip(min(MAX_ROUND_TRIP_S, now - link.asked_at))

    def _plan_ping(self, node: bytes, link: _Link, now: float) -> None:
        wait = PING_FLOOR_S + exponential(self._chance, PING_MEAN_S)
        link.ping = self._timers.at(now + wait, partial(self._ping, node, link))

    def _ping(self, node: bytes, link: _Link, now: float) -> None:
        link.missed += bool(link.nonce)
        if link.missed >= MISSED_PINGS:
            self.refusals.count(Refusal.LINK_SILENT)
            self._drop(node, ByeReason.SILENT, now)
            return
        link.nonce, link.asked_at = self._chance.getrandbits(64).to_bytes(8, "big"), now
        self._send(node, Ping(link.nonce))
        self._plan_ping(node, link, now)

    def _plan_pad(self, node: bytes, link: _Link, now: float) -> None:
        if self.manners.pad_rate:
            # Beyond the links that are aimed at, all together send no more: else whoever has twenty idles at 18 kB/s.
            share = max(1.0, len(self._links) / max(1, self.manners.target_links))
            wait = exponential(self._chance, share / self.manners.pad_rate)
            link.pad = self._timers.at(now + wait, partial(self._pad, node, link))

    def _pad(self, node: bytes, link: _Link, now: float) -> None:
        self._send(node, Pad())
        self._plan_pad(node, link, now)

    # -- whom to link with -----------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Once a second."""
        if self.own.tick(now):
            self._gossip.tell_own()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_S
            self.bans.tidy(now)
            self._failures = {node: row for node, row in self._failures.items() if row[0] > now - BAN_S}
            if self.known.tidy(now):
                self._gossip.pull(now)
        self._talk.tick(now)
        if now >= self._wish_at:
            self._wish_at = now + WISH_S
            self._wished = self._wishes(now)

    def change(self, facts: OwnFacts, now: float) -> None:
        """Our address, or what we take on, is another."""
        if self.own.change(facts, now):
            self._gossip.tell_own()

    def wanted(self) -> list[Descriptor]:
        """Whom to dial, the most wanted first; as of the last tick."""
        return [descriptor for descriptor in self._wished if descriptor.node_id not in self._links]

    def _wishes(self, now: float) -> list[Descriptor]:
        used = {link.network for link in self._links.values()}

        def may_dial(descriptor: Descriptor) -> bool:
            node, network = descriptor.node_id, self.known.network_of(descriptor)
            failed_until = self._failures.get(node, (0.0, 0.0))[0]
            is_banned = self.bans.holds(node, now) or self.bans.holds(network, now)
            return bool(descriptor.host) and not is_banned and now >= failed_until and node not in self._links

        guards = [d for node in self._guards.wanted(now) if (d := self.known.get(node)) is not None and may_dial(d)]
        room = self.manners.max_links - len(self._links)
        places = [location_of(node) for node in self._links]
        candidates = [d for d in self.known if may_dial(d)]
        others = self._targets.wanted(places, candidates, lambda d: self.known.network_of(d) in used, len(guards))
        found = {d.node_id: d for d in guards}
        others = [d for d in others if d.node_id not in found]
        near = [d for d in others if self._is_next(d.node_id)]
        return list(found.values()) + near + [d for d in others if d not in near][: max(0, room)]

    def _make_room(self, new: bytes, now: float) -> None:
        """Beyond the most links that may be, the oldest goes that is neither stem edge nor neighbour on the ring."""
        link = self._links[new]
        is_beyond = link.is_incoming and self._incoming() > self.manners.max_links // 2
        if len(self._links) <= self.manners.max_links and not is_beyond:
            return
        # Whoever dials us takes the place of others that did, and never of those that we chose.
        victim = self._victim(new, is_incoming=True)
        if victim is None and not link.is_incoming:
            victim = self._victim(new, is_incoming=False)
        if victim is not None:
            self.dial_failed(victim, now)
            self._drop(victim, ByeReason.FULL, now)

    def _victim(self, new: bytes, *, is_incoming: bool) -> bytes | None:
        free = (node for node, link in self._links.items() if node != new and link.is_incoming is is_incoming)
        return next((node for node in free if not self._edges.is_edge(node) and not self._is_next(node)), None)

    def _heard(self, descriptor: Descriptor, now: float) -> None:
        """Somebody new may be somebody wanted; a first few at once, then with the rest."""
        if len(self._links) < self.manners.target_links:
            self._wish_at = min(self._wish_at, now + 1.0)

    def refused(self) -> dict[str, int]:
        """Everything that was refused here, by label."""
        found: dict[str, int] = {}
        for refusals in (self.refusals, self.known.refusals, self._gossip.refusals, self._talk.refusals):
            for label, count in refusals.rows().items():
                found[label] = found.get(label, 0) + count
        return found
