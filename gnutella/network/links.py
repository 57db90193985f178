"""The links service: opens and accepts links, feeds their bytes to the router and does what the router asks.

It decides nothing about messages (routing.router), about who may link (admission) or whom to dial when (dialling); it
connects those to transports.  One `transport.write` for each link and chunk: the router hands over batches, and a
compressed link is flushed once a cork, not once a message.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation, UserError
from gnutella.network.admission import Admission
from gnutella.network.corks import Corks
from gnutella.network.demux import Doors, PeerPort
from gnutella.network.dial import Dialler
from gnutella.network.dialling import Dialling
from gnutella.network.events import (
    LinkClosed,
    LinkFailed,
    LinkOpened,
    PortReached,
    ReachabilityChanged,
    RoleChanged,
)
from gnutella.network.gate import Gate
from gnutella.network.introductions import Introductions
from gnutella.network.link import PeerLink, Phase
from gnutella.network.measures import demands_of
from gnutella.network.own_address import OwnAddresses
from gnutella.network.ports import Ports
from gnutella.network.roles import Roles
from gnutella.network.roster import Roster
from gnutella.network.rows import link_info, link_row
from gnutella.network.targets import Asking, Targets, addresses_in, parted, rest_after
from gnutella.network.tls import PeerTls
from gnutella.protocol.handshake import Offer, Peer, Refusal
from gnutella.protocol.message import BYE, Bye, encode
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, Close, Emit, Flood, Send
from gnutella.routing.events import ByeReceived, HostLearned
from gnutella.routing.guess import GUESS_HEADER
from gnutella.routing.guids import fresh_guid
from gnutella.routing.hosts import HostCache
from gnutella.routing.router import Router
from gnutella.routing.seams import Chance
from gnutella.settings import NetworkSettings
from gnutella.superpeers.facts import Facts
from gnutella.superpeers.roles import RolePolicy
from gnutella.units import Address, LinkId

TICK_S = 1.0


class Links:
    """All links of one node.

    `emit` gets the router's events and those of network.events.  `http` and `giv` make the protocols that take over such
    connections to the peer port; each gets the peer's IP.  `policy` decides our role from what `measure` tells; without one
    it is fixed, `auto` meaning an ultrapeer.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: NetworkSettings,
        router: Router,
        own_address: OwnAddresses,
        hosts: HostCache,
        dialler: Dialler,
        rng: Chance,
        emit: Callable[[object], None],
        *,
        tls: PeerTls | None = None,
        http: Callable[[str], IProtocol] | None = None,
        giv: Callable[[str], IProtocol] | None = None,
        gate: Gate | None = None,
        policy: RolePolicy | None = None,
        measure: Callable[[], Facts] = Facts,
    ) -> None:
        self.router = router
        self.tls = tls if settings.tls else None
        self.handshake_timeout_s = settings.handshake_timeout_s
        self.hosts = hosts
        self._reactor = reactor
        self._settings = settings
        self._own_address = own_address
        self._rng = rng
        self._emit = emit
        self._clock: Callable[[], float] = reactor.seconds
        self._gate = gate or Gate()
        self._admission = Admission(settings, router.servent_id, self._gate)
        self.roster = Roster()
        targets = Targets(addresses_in(settings.connect))
        self._dialling = Dialling(self, self.roster, hosts, dialler, targets, is_public=settings.profile == "public")
        self._targets = self._dialling.targets
        self._ports = Ports(reactor)
        self._introductions = Introductions(settings, router.servent_id, own_address, hosts, self._ports)
        tls_server = None if self.tls is None else self.tls.server
        self.doors = doors = Doors(self._incoming, http, giv, tls_server, router.count_drop, self._gate)
        self._port = PeerPort(
            reactor,
            doors,
            settings.handshake_timeout_s,
            leaves=settings.max_leaves,
            reached=lambda host: emit(PortReached(host)),
        )
        policy = policy or RolePolicy("leaf" if router.is_leaf else "ultrapeer", demands_of(settings), rng)
        self.roles = Roles(self, self.roster, hosts, router.servent_id, policy, measure)
        self._admission.is_leaf = self._introductions.is_leaf = self.roles.is_leaf
        self._asking = Asking()
        self._corks = Corks(reactor)
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor
        self._all_gone: Deferred[None] | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def listen(self, option: str = "network.listen") -> None:
        """Open the ports.  UserError (69: a port is in use)."""
        await self._ports.listen(self._settings.listen, self._port, option, both=self._settings.ipv6)
        addresses = self._ports.addresses
        self._own_address.port = addresses[0].port if addresses else None

    def start(self) -> None:
        """Begin to dial and to tick; `listen` first."""
        self._ticks.start(TICK_S, now=True).addErrback(self._tick_failed)

    async def stop(self) -> None:
        """Close the ports, say Bye to everybody, and return when all connections are gone; at most a few seconds."""
        if self._ticks.running:
            self._ticks.stop()
        await self._ports.close()
        self._port.abort_half_open()
        self._dialling.stop()
        for link in list(self.roster.all):
            self.close(link, DropReason.SHUTDOWN)
        self._corks.stop()
        if self.roster.all:
            self._all_gone = Deferred()
            await self._all_gone

    # -- what people ask for -------------------------------------------------------------------------------------------

    @property
    def listening(self) -> list[str]:
        """Open ports as people read them."""
        return self._ports.names

    @property
    def addresses(self) -> list[Address]:
        """IP and port of each open TCP port."""
        return self._ports.addresses

    @property
    def half_open(self) -> int:
        """Incoming connections that are nobody's yet."""
        return self._port.half_open

    def connect(self, address: Address) -> Deferred[dict[str, object]]:
        """Open a link, unless it is open; its row of `peers`.  UserError (exit 69) says why there is none."""
        if (known := self._dialling.known(address)) is not None:
            return known
        if (objection := self._objection()) is not None:
            return defer.fail(objection)
        return self._dialling.connect(address)

    def _objection(self) -> UserError | None:
        if not self._admission.has_slot(is_leaf=False, links=self.roster.counted()):
            hint = "close one, or raise network.max_links"
            return UserError("no slot is free for another link", hint, os.EX_UNAVAILABLE)
        return None

    def disconnect(self, text: str) -> dict[str, object]:
        """Close the link whose row of `peers` says `text` (its address or number); its last row.  UserError (exit 1)."""
        if (link := self.roster.find(text)) is not None:
            row = self.row(link)
            if link.dialled is not None:
                self._targets.drop(link.dialled)
            self.close(link, DropReason.USER_CLOSED)
            return row
        raise UserError(f"no link to {text!r}", "see `gnutella peers`", 1)

    def close_listed(self) -> None:
        """Close links, and cut other incoming connections, whose hosts are on a blocklist by now."""
        for link in list(self.roster.all):
            if link.host and self._gate.is_listed(link.host):
                self.close(link, DropReason.BLOCKED)
        self._port.close_listed()

    def peers(self) -> list[dict[str, object]]:
        """A row for each open link, in order of opening."""
        return [self.row(link) for link in self.roster.open.values()]

    def row(self, link: PeerLink) -> dict[str, object]:
        """One link as the product contract shows it, and some more."""
        return link_row(link, self._clock(), self.router.link_counters(link.id) or {})

    def use_settings(self, settings: NetworkSettings) -> None:
        """Take other settings from now on; ports, targets and open links stay as they are."""
        self._settings = settings
        self.handshake_timeout_s = settings.handshake_timeout_s
        self._admission.use_settings(settings)
        self._introductions.use_settings(settings)
        self.roles.use_settings(settings, self._clock())

    def announce(self, name: str, value: str) -> None:
        """Say this in every handshake from now on."""
        self._introductions.extra = (*self._introductions.extra, (name, value))

    def saying(self, name: str, value: str) -> list[Address]:
        """Where linked peers can be dialled that said so in their handshake."""
        said = [link for link in self.roster.open.values() if link.peer and link.peer.headers.get(name) == value]
        return [link.reached_at for link in said if link.reached_at is not None]

    def summary(self) -> dict[str, int]:
        """How many of each role are linked: ultrapeers, leaves, peers (all of them)."""
        return self.roster.summary()

    @property
    def wanted_links(self) -> int:
        """Links that are kept open by dialling: fewer for a leaf."""
        return self._admission.wanted_links

    def local_host(self) -> str | None:
        """Our IP on the oldest open link, which is as good a guess as any; None without links."""
        return self.roster.local_host()

    def name(self, link: LinkId | None) -> str:
        """Address of a link, also of one that is gone (if not long); "" for this node itself."""
        return self.roster.name(link)

    # -- the router's wishes -------------------------------------------------------------------------------------------

    def execute(self, actions: list[Action]) -> None:
        """Do what the router asks, in order."""
        links = self.roster.open
        for action in actions:
            if type(action) is Flood:
                data = action.data
                for link_id in action.links:
                    if link_id in links:
                        links[link_id].write(data)
            elif type(action) is Send:
                if action.link in links:
                    links[action.link].write(action.data)
            elif type(action) is Emit:
                self._happened(action.event)
            elif type(action) is Close and action.link in links:
                self._close_counted(links[action.link], action.reason, action.detail)

    def _happened(self, event: object) -> None:
        if type(event) is ByeReceived:
            link = self.roster.open.get(event.link)
            if link is not None:
                reason = parted(event.code)
                self.router.count_drop(reason)
                self._introductions.learn_parting(event.headers, self.roster.open.values(), self._clock())
                self._close_counted(link, reason, f"{event.code} {event.text}".strip())
        elif type(event) is HostLearned and event.address not in self._own_addresses():
            self.hosts.learn(
                event.address,
                self._clock(),
                is_ultrapeer=event.is_ultrapeer,
                daily_uptime_s=event.daily_uptime_s,
                has_room=None if event.free_leaf_slots is None else event.free_leaf_slots > 0,
            )
        self._emit(event)

    def close(self, link: PeerLink, reason: DropReason, detail: str = "") -> None:
        """Close a link for a reason of the edge's, or give up one that is not open yet."""
        if link.id in self.roster.open:
            self.router.count_drop(reason, link=link.id)
            self._close_counted(link, reason, detail)
        else:
            link.close(reason, detail)
            if link.phase is Phase.CLOSED:
                self.gone(link)

    def _close_counted(self, link: PeerLink, reason: DropReason, detail: str) -> None:
        words = b""
        if reason.bye and link.peer is not None and link.peer.reads_bye:
            hosts = self._introductions.try_lines(link, self.roster.open.values())
            words = encode(fresh_guid(self._rng), 1, 0, Bye(reason.bye, detail or reason.meaning, hosts))
            self.router.counters.kind(BYE).tx += 1
        self._unlink(link, reason, detail)
        link.close(reason, detail, words)

    def _unlink(self, link: PeerLink, reason: DropReason, detail: str) -> None:
        """An open link is none any more, from here on for everybody."""
        now = self._clock()
        del self.roster.open[link.id]
        self._emit(LinkClosed(link.id, str(link.address), reason, detail))
        self._targets.lost(link.dialled, now, now - link.opened_at)
        is_public = self._settings.profile == "public"
        rest_after(self.hosts, link.address, reason, now, now - link.opened_at, is_public=is_public)
        self.execute(self.router.link_closed(link.id, now))

    # -- what links ask and tell (link.LinkOwner) ------------------------------------------------------------------------

    def offer(self, link: PeerLink) -> Offer:
        """What we say of ourselves to that peer."""
        offer = self._introductions.offer(
            link,
            list(self.roster.open.values()),
            has_tls=self.tls is not None,
            ultrapeer_needed=self.roles.needed(link),
        )
        return replace(offer, extra=(*offer.extra, *GUESS_HEADER)) if self.router.self.takes_guess else offer

    def decide(self, link: PeerLink, peer: Peer) -> Refusal | None:
        """Whether we want it."""
        if (refusal := self.roles.met(link, peer, self._clock())) is not None:
            return refusal
        twins = list(self.roster.open.values())  # two that are both still shaking hands are sorted out when they open
        others = [other for other in self.roster.counted() if other is not link]
        if not link.incoming:
            return self._admission.outgoing(link.host, peer, twins, others)
        return self._admission.incoming(link.host, peer, twins, others, self._clock())

    def become_leaf(self, link: PeerLink, peer: Peer) -> bool:
        """An ultrapeer tells us that it needs no other one: whether we are its leaf from now on."""
        return self.roles.become_leaf(self._clock())

    def turn(self, *, is_leaf: bool, reason: str) -> None:
        """roles.Owner: be a leaf, or an ultrapeer, from now on; open links anew, since their handshakes said otherwise."""
        self.router.set_role(is_leaf=is_leaf)
        self._admission.is_leaf = self._introductions.is_leaf = is_leaf
        links = sorted(self.roster.open.values(), key=lambda link: not link.is_leaf)
        ultrapeers = [link.reached_at for link in links if link.peer is not None and link.peer.is_ultrapeer]
        self._emit(RoleChanged(is_leaf, reason))
        for link in links:
            self.close(link, DropReason.ROLE_CHANGED, reason)
        for address in [a for a in ultrapeers if a is not None][: self._admission.wanted_links]:
            self._dialling.dial(address)

    def link_ready(self, link: PeerLink) -> None:
        """Its handshake is over: from now on the router has it."""
        peer, now = link.peer, self._clock()
        assert peer is not None
        if link.we_are_leaf is not self.roles.is_leaf:
            self._turned_meanwhile(link)
            return
        if (twin := self.roster.twin(link)) is not None:
            self._resolve_twins(link, twin)
            if link.phase is not Phase.OPEN:
                return
        self.roster.opened(link)
        self._asking.opened(now)
        if link.dialled is not None:
            has_room = True if peer.ultrapeer_needed is False else None
            self.hosts.worked(link.address, now, is_ultrapeer=peer.is_ultrapeer, has_room=has_room)
        else:
            self._introductions.learn_caller(link.host, peer, self.roster.open.values(), now)
        self._introductions.learn(peer, self.roster.open.values(), now)
        if self._own_address.linked_at(link.local_host):
            self.router.self.ipv6 = self._own_address.ipv6 or ""
            self.router.self_changed()
        if self._own_address.report(link.host, peer.remote_ip):
            self.router.self.ipv6 = self._own_address.ipv6 or ""
            self.router.self_changed()
            self._emit(ReachabilityChanged(self._own_address.external or ""))
        info = link_info(link, peer, we_are_leaf=link.we_are_leaf)
        self.execute(self.router.link_opened(link.id, info, now))
        row = self.row(link)
        self._emit(LinkOpened(link.id, row))
        self._dialling.opened(link, row)

    def link_failed(self, link: PeerLink, reason: DropReason, detail: str) -> None:
        """No link came of it."""
        refused = link.refusal
        if refused is not None and refused.peer is not None:
            self._introductions.learn(refused.peer, self.roster.open.values(), self._clock())
            if refused.peer.servent_id == self.router.servent_id:
                reason, detail = DropReason.SELF_LINK, "that is this node itself"
        self.router.count_drop(reason)
        now = self._clock()
        if link.dialled is None:
            self._gate.refused(link.host, reason)
            if refused is not None and refused.peer is not None and reason is DropReason.LEAF_TO_LEAF:
                self._introductions.learn_caller(link.host, refused.peer, self.roster.open.values(), now)
            return
        link.closed_for = (reason, detail)
        self._dialling.let_rest(link.dialled, refused, reason, now, is_leaf=self.roles.refused(link, refused, now))
        self._emit(LinkFailed(str(link.dialled), reason, detail))
        self._dialling.failed(link, reason, detail)

    def _turned_meanwhile(self, link: PeerLink) -> None:
        """Our role changed between two blocks of its handshake: what the peer was told is not true any more."""
        self.router.count_drop(DropReason.ROLE_CHANGED)
        if link.peer is not None and link.dialled is None:
            self._introductions.learn_caller(link.host, link.peer, self.roster.open.values(), self._clock())
        if link.dialled is not None:
            self._dialling.let_rest(link.dialled, None, DropReason.ROLE_CHANGED, self._clock(), is_leaf=False)
            self._dialling.failed(link, DropReason.ROLE_CHANGED, "")
        link.close(DropReason.ROLE_CHANGED)

    def link_lost(self, link: PeerLink) -> None:
        """Its connection is gone."""
        if link.id in self.roster.open:
            self.router.count_drop(DropReason.PEER_CLOSED)
            self._unlink(link, DropReason.PEER_CLOSED, "")
        self.gone(link)

    def link_received(self, link: PeerLink, data: bytes) -> None:
        """Bytes of the message stream, inflated."""
        if actions := self.router.receive(link.id, data, self._clock()):
            self.execute(actions)

    def link_violated(self, link: PeerLink, violation: RemoteViolation) -> None:
        """Its compressed stream is broken."""
        self.close(link, violation.reason, violation.detail)

    def link_blocked(self, link: PeerLink) -> None:
        """Its transport pushes back."""
        self.execute(self.router.blocked(link.id, self._clock()))

    def link_unblocked(self, link: PeerLink) -> None:
        """Its transport takes bytes again."""
        self.execute(self.router.unblocked(link.id, self._clock()))

    def link_dirty(self, link: PeerLink) -> None:
        """It holds bytes back, or will hold back those that follow."""
        self._corks.dirty(link)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _incoming(self, settled: Callable[[], None]) -> IProtocol:
        link = PeerLink(self, self._reactor, None, settled)
        self.roster.all.add(link)
        return link

    def new_link(self, address: Address) -> PeerLink:
        """dialling.Owner: a link that is going to be dialled."""
        return PeerLink(self, self._reactor, address)

    def gone(self, link: PeerLink) -> None:
        """Its connection is gone, or will never be."""
        self.roster.all.discard(link)
        self._dialling.gone(link)
        if not self.roster.all and self._all_gone is not None:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    def fault(self) -> None:
        """Count a fault of ours."""
        self.router.count_drop(DropReason.INTERNAL_ERROR)

    def _resolve_twins(self, new: PeerLink, old: PeerLink) -> None:
        """Keep one of two links to one servent: the one dialled by the greater servent id, so that both sides agree."""
        assert new.servent_id is not None
        we_are_greater = self.router.servent_id > new.servent_id
        keep_new = old.incoming is not new.incoming and new.incoming is not we_are_greater
        loser = old if keep_new else new
        if loser is new:
            self.router.count_drop(DropReason.ALREADY_LINKED)
            if new.dialled is not None:
                self._targets.failed(new.dialled, self._clock(), is_refused=True)
            self._dialling.opened(new, self.row(old))
            new.close(DropReason.ALREADY_LINKED)
        else:
            self.close(old, DropReason.ALREADY_LINKED)

    def _own_addresses(self) -> set[Address]:
        return self._introductions.own_addresses(self.roster.open.values())

    def _tick(self) -> None:
        now = self._clock()
        self.roles.tick(now)
        self.execute(self.router.tick(now))
        self._dialling.dial_targets(now)
        if self._settings.profile != "loopback":  # such a node finds nobody on its own
            wanted, own = self._admission.wanted_links, self._own_addresses()
            is_lacking = self._dialling.dial_hosts(wanted, own, now, is_leaf=self.roles.is_leaf)
            if self._asking.is_due(now, self.roster.open, is_lacking=is_lacking):
                self.execute(self.router.ask_for_hosts(now))

    def _tick_failed(self, failure: Failure) -> None:
        self.log.failure("a fault while looking after links", failure)
        self.fault()
        self._ticks.start(TICK_S, now=False).addErrback(self._tick_failed)
