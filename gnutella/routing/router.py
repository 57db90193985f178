"""The router: what one servent does with each message.  Pure; the edge feeds it bytes and executes the actions it gives back.

    router = Router(settings, servent_id, library, own_address, rng, allow_private=False)
    actions = router.link_opened(link, info, now)
    actions = router.receive(link, data, now)        # one inflated chunk of the link's stream, cut anywhere
    actions = router.tick(now)                       # each second

Nothing a peer sends makes it raise; what is refused is counted in `counters.drops`.  A link that the router asked to close is
forgotten at once: bytes that still come from it are ignored, and `link_closed` may be called for it or not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from gnutella.errors import LocalMisuse
from gnutella.networks import Shares
from gnutella.protocol.frames import HEADER, Frame, missing
from gnutella.protocol.kinds import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    PING,
    PONG,
    PUSH,
    QUERY,
    QUERY_HIT,
    VENDOR,
    Header,
    encode_header,
)
from gnutella.protocol.message import Pong, Push, Query
from gnutella.protocol.query import FLAG_GUIDED
from gnutella.protocol.vendor import HeadPing
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, TraceStep
from gnutella.routing.answers import Answers, Self
from gnutella.routing.connectback import ConnectBacks
from gnutella.routing.counters import Counters
from gnutella.routing.dynamic import Dynamic
from gnutella.routing.guidance import Kept
from gnutella.routing.guids import fresh_guid
from gnutella.routing.heads import Heads
from gnutella.routing.hits import Hits
from gnutella.routing.hopsflow import QueryFlow
from gnutella.routing.link import Link, LinkInfo
from gnutella.routing.oob_proxy import OobProxy
from gnutella.routing.out_of_band import RECEIVED as RECEIVED_BY_UDP
from gnutella.routing.out_of_band import OutOfBand
from gnutella.routing.pings import Pings
from gnutella.routing.proxies import PushProxies
from gnutella.routing.pushes import Pushes
from gnutella.routing.reach import Reachability
from gnutella.routing.relay import MAX_LONE, MAX_RELAYED_QUERY, ReadHeader, Relay, unforwardable
from gnutella.routing.reverse import QUERY_GENERATION, ReversePaths
from gnutella.routing.seams import Chance, Library, OwnAddress
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import OWN, Switchboard
from gnutella.routing.tables import Tables
from gnutella.routing.trace import TracedQuery, readable_text
from gnutella.settings import RoutingSettings
from gnutella.units import Address, Guid, LinkId

__all__ = ["OWN", "LinkInfo", "Router", "Self"]

#: Bytes treated as one batch; a larger chunk is cut, so that what one call adds to the tables stays bounded.
MAX_BATCH = 262_144
GUID_BYTES = 16
#: A whole message is at most that long, and so is the incomplete one that is kept of a link.
MAX_MESSAGE = HEADER_SIZE + MAX_PAYLOAD
#: A link whose transport took nothing for this long is closed (gtk-gnutella; digest 4.6).
MAX_BLOCKED_S = 180.0


class Router:
    """All routing of one node.  `is_leaf`: it is a leaf, and passes nobody's messages on."""

    def __init__(
        self,
        settings: RoutingSettings,
        servent_id: Guid,
        library: Library,
        own_address: OwnAddress,
        rng: Chance,
        *,
        allow_private: bool,
        is_leaf: bool = False,
        now: float = 0.0,
        query_generation: int = QUERY_GENERATION,
        read_header: ReadHeader = HEADER.unpack_from,
    ) -> None:
        self._board = board = Switchboard(settings, servent_id, rng, is_leaf=is_leaf)
        self._tables = Tables(board)
        self._paths = ReversePaths(now, query_generation)
        self._answers = Answers(board, library, own_address)
        self._pings = Pings(board, self._answers, allow_private=allow_private, now=now)
        self._hits = Hits(board, self._paths, allow_private=allow_private)
        self._pushes = Pushes(board, self._paths, allow_private=allow_private, now=now)
        self._signals = Signals(board, self._tables)
        self._flow = QueryFlow(board, self._signals, self._tables, self._answers.self, now)
        self._connect_backs = ConnectBacks(board, self._signals, allow_private=allow_private, now=now)
        #: Whether others can reach us.
        self.reach = reach = Reachability(board, self._signals)
        self.heads = Heads(board, self._signals, self._answers.self, now)
        address_for, state = self._answers.address_for, self._answers.self
        self._proxies = PushProxies(
            board, self._paths, self._signals, state, reach, address_for, allow_private=allow_private
        )
        self._proxy = OobProxy(board, self._paths, self._answers, self._signals)
        self._dynamic = Dynamic(board, self._tables, self._paths, self._signals, self._proxy)
        self._kept = Kept(board, self._signals)
        self._relay = Relay(board, self._paths, self._answers, self._tables, self._dynamic, self._other, read_header)
        self._relay.set_library(library)
        self._allow_private = allow_private
        #: Made when our UDP port is open.
        self._oob: OutOfBand | None = None
        self._flush = board.flush
        self._others = {
            PING: self._pings.ping,
            PONG: self._pings.pong,
            QUERY_HIT: self._hits.receive,
            PUSH: self._pushes.receive,
        }

    # -- what the node says and asks -----------------------------------------------------------------------------------

    @property
    def servent_id(self) -> Guid:
        return self._board.servent_id

    @property
    def is_leaf(self) -> bool:
        """We pass nobody's messages on."""
        return self._board.is_leaf

    @property
    def counters(self) -> Counters:
        """Messages, bytes and drops since the router was made."""
        return self._board.counters

    @property
    def self(self) -> Self:
        """What we say of ourselves; call `self_changed` after a change."""
        return self._answers.self

    def self_changed(self) -> None:
        """Use the changed `self` or own address from the next pong on."""
        self._answers.forget_pongs()

    def use_settings(self, settings: RoutingSettings) -> None:
        """Take other settings from now on; pings that are already due keep their time."""
        self._board.use_settings(settings)
        self._relay.use_settings(settings)
        self._pings.use_settings(settings)

    def set_role(self, *, is_leaf: bool) -> None:
        """Be a leaf from now on, or no more.  The edge closes the links, whose handshakes said something else."""
        self._board.is_leaf = is_leaf
        self._board.links_changed()
        self._tables.role_changed()
        self.self_changed()

    def ask_for_hosts(self, now: float) -> list[Action]:
        """Ping all links but leaves for pongs, rather than at the next interval: more hosts are needed now."""
        self._pings.ask(now)
        return self._flush()

    def refuse_hosts(self, refuses: Callable[[str], bool]) -> None:
        """Take no pong of a host that `refuses` says yes to, and pass none on; call it again when it says otherwise."""
        self._pings.refuses = refuses
        self._pings.forget_refused()

    def set_library(self, library: Library) -> None:
        """Answer from this snapshot from now on."""
        self._answers.set_library(library)
        self._relay.set_library(library)

    def set_words(self, hashes: Collection[int]) -> None:
        """What our library answers to (qrp.hashes_of); the routing table made of it goes out with the next tick."""
        self._tables.set_own(hashes)

    # -- links ---------------------------------------------------------------------------------------------------------

    def link_opened(self, link: LinkId, info: LinkInfo, now: float) -> list[Action]:
        """A link finished its handshake.  Gives the first messages: Messages Supported if the peer reads it, and a ping."""
        if link in self._board.links:
            raise LocalMisuse(f"link {link} is open")
        opened = Link(link, info, now, heard_at=now, query_tokens_at=now)
        self._tables.opened(opened, now)
        self._board.add(opened)
        self._signals.opened(opened)
        self._pings.opened(opened, now)
        return self._board.flush()

    def link_closed(self, link: LinkId, now: float) -> list[Action]:
        """A link is gone, whoever closed it."""
        closed = self._board.links.get(link)
        if closed is not None:
            self._board.remove(closed)
        return self._flush()

    def receive(self, link: LinkId, data: bytes, now: float) -> list[Action]:
        """Bytes of a link's stream.  Whole messages are treated, the incomplete one at the end waits for its rest."""
        source = self._board.links.get(link)
        if source is None or not data:
            return []
        source.heard_at = now
        source.silent_pings = 0
        if source.tail:
            source.tail += data
            source.lacks -= len(data)
            if source.lacks > 0:
                return []
            data = bytes(source.tail)
            source.tail = bytearray()
        elif source.is_plain and len(data) <= MAX_LONE and (actions := self._relay.lone(source, data, now)) is not None:
            return actions
        for start in range(0, len(data), MAX_BATCH):
            batch = data if len(data) <= MAX_BATCH else bytes(source.tail) + data[start : start + MAX_BATCH]
            walked = self._relay.walk(source, batch, now)
            if source.is_closed:
                break
            if walked < len(batch):
                self._keep_tail(source, batch, walked)
            elif source.tail:
                source.tail = bytearray()
        return self._flush()

    def blocked(self, link: LinkId, now: float) -> list[Action]:
        """The link's transport pushes back: keep its messages until `unblocked`."""
        source = self._board.links.get(link)
        if source is not None:
            self._board.block(source, now)
        return self._flush()

    def unblocked(self, link: LinkId, now: float) -> list[Action]:
        """The transport takes bytes again: gives what waited, the most important first."""
        source = self._board.links.get(link)
        if source is not None:
            self._board.unblock(source)
        return self._flush()

    def tick(self, now: float) -> list[Action]:
        """Whatever is due: pings, refreshes, expiries, time limits.  Call it each second."""
        self._paths.tick(now)
        self._answers.tick(now)
        for link in list(self._board.links.values()):
            if link.blocked_since is not None and now - link.blocked_since > MAX_BLOCKED_S:
                self._board.close(link, DropReason.BLOCKED_TOO_LONG)
        self._pings.tick(now)
        self._flow.tick(now)
        self._tables.tick(now)
        self._connect_backs.tick(now)
        self.heads.tick(now)
        self.reach.tick(now)
        self._proxies.tick(now)
        self._pushes.tick(now)
        if self._oob is not None:
            self._oob.tick(now)
        self._dynamic.tick(now)
        self._kept.tick()
        return self._flush()

    # -- our own searches ----------------------------------------------------------------------------------------------

    def search(
        self, query: Query, now: float, guid: Guid | None = None, ttl: int | None = None
    ) -> tuple[Guid, list[Action]]:
        """Ask a query of our own; hits come as HitReceived until `stop_search`.

        A leaf asks all its ultrapeers; anybody else asks the leaves that it can be led to, and its neighbours gradually or all
        at once, as the setting dynamic_queries says.  `ttl` defaults to the setting query_ttl; each link gets no more than it
        said it accepts.  LocalMisuse for a query longer than other servents forward.
        """
        if guid is None and self._oob is not None:
            query, guid = self._oob.asking(query)
        is_guided = self._board.is_leaf and self._board.settings.dynamic_queries
        payload = (replace(query, flags=query.flags | FLAG_GUIDED) if is_guided else query).encode()
        if len(payload) > MAX_RELAYED_QUERY:
            raise LocalMisuse(f"a query of {len(payload)} bytes would not be forwarded")
        guid = guid or fresh_guid(self._board.rng)
        board = self._board
        self._paths.queries.put(guid, OWN, now)
        self._paths.start_search(guid, now)
        self._answers.asked(guid, now)
        if board.settings.trace != "off":
            board.trace.start(guid, readable_text(payload), now, is_own=True)
            board.trace.step(guid, now, "asked")
        if is_guided:
            self._kept.start(guid)
        wanted, is_driven = ttl or board.settings.query_ttl, self._dynamic.is_used
        reach = {link.id: max(1, min(wanted, link.info.max_ttl)) for link in board.links.values()}
        for link in self._tables.askers(payload, reach):
            if is_driven and not link.info.is_leaf:
                continue
            board.send(link, QUERY, 0, encode_header(guid, QUERY, reach[link.id], 0, len(payload)) + payload)
            board.trace.step(guid, now, "forwarded to", link.id)
        if is_driven:
            self._dynamic.start(guid, payload, None, wanted, now)
        return guid, self._flush()

    def search_keeps(self, guid: Guid, results: int) -> None:
        """So many results of a search of ours are kept: what a leaf tells the ultrapeers that search for it."""
        self._kept.note(guid, results)

    def stop_search(self, guid: Guid) -> list[Action]:
        """Forget a search: it is sent no further, and later hits for it are dropped."""
        self._paths.searches.pop(guid, None)
        self._dynamic.stop(guid)
        self._kept.stop(guid)
        return self._flush()

    def send_push(self, push: Push, now: float) -> tuple[bool, list[Action]]:
        """Ask a servent to connect to us, over the link its hits came from; False when none is known."""
        sent = self._pushes.send(push, now)
        return sent, self._flush()

    def pass_on_push(self, push: Push, now: float) -> tuple[bool, list[Action]]:
        """A push that somebody asked us by HTTP to pass on; False unless we are that servent's push proxy."""
        passed = self._pushes.pass_on(push, now)
        return passed, self._flush()

    # -- datagrams -----------------------------------------------------------------------------------------------------

    def pong_at(self, local_host: str) -> Pong:
        """Our own pong for a host that reaches us at that IP."""
        return self._answers.pong_at(local_host)

    def recent_pongs(self, now: float) -> list[Pong]:
        """Pongs that came over links lately, in random order: hosts that live and take connections."""
        return self._pings.recent_pongs(now)

    def open_datagrams(self, secret: bytes, now: float) -> OutOfBand:
        """Our UDP port is open: ask for hits out of band and give them.  `secret`: random bytes that nobody else knows."""
        relay = self._relay
        self._oob = OutOfBand(
            self._board,
            self._paths,
            self._answers,
            self._hits,
            self._tables,
            secret,
            relay.look_up,
            unforwardable,
            lambda: bool(self.reach.udp),
            allow_private=self._allow_private,
            now=now,
        )
        self._answers.offers = self._oob.offers
        self._proxy.hits_address = self._oob.hits_address
        self._oob.read(HeadPing, self.heads.by_udp)
        self._signals.vendor_messages = (*self._signals.vendor_messages, *RECEIVED_BY_UDP)
        return self._oob

    def use_shares(self, shares: Shares) -> None:
        """Which part of what datagrams may ask of us one network may have from now on."""
        self.heads.use_shares(shares)
        self._pushes.allowance.shares = shares

    def datagram(self, header: Header, payload: bytes, source: Address, now: float) -> list[Action] | DropReason:
        """udp.Routing: a datagram that is neither ping nor query."""
        if self._oob is None:
            return DropReason.NOT_OVER_UDP
        if header.kind == PUSH:
            return self._pushes.by_udp(header.guid, payload, source, now) or self._flush()
        return self._oob.datagram(header, payload, source, now) or self._flush()

    def query_by_udp(
        self, header: Header, payload: bytes, source: Address, own: Address, now: float
    ) -> list[Action] | DropReason:
        """udp.Routing: a query whose key was sound."""
        if self._oob is None:
            return DropReason.NOT_OVER_UDP
        return self._oob.query(header, payload, source, own, now) or self._flush()

    def datagram_unsent(self, data: bytes, now: float) -> list[Action]:
        """The system did not take a datagram of ours."""
        if self._oob is not None and data[GUID_BYTES] == VENDOR:
            self._oob.offers.unsent(Guid(data[:GUID_BYTES]), now)
        return self._flush()

    # -- what happened -------------------------------------------------------------------------------------------------

    def count_drop(self, reason: DropReason, n: int = 1, link: LinkId | None = None) -> None:
        """Count what the edge refused itself."""
        self._board.counters.drops[reason] += n
        source = None if link is None else self._board.links.get(link)
        if source is not None:
            source.dropped += n

    def link_counters(self, link: LinkId) -> dict[str, int] | None:
        """rx_messages, tx_messages, rx_bytes, tx_bytes, dropped of an open link, hops_flow if it set one; None for others."""
        source = self._board.links.get(link)
        return None if source is None else source.counters()

    def links(self) -> list[LinkId]:
        """Open links."""
        return list(self._board.links)

    def has_table(self, link: LinkId) -> bool:
        """Whether a link told its routing table, so that queries are led to it by that."""
        source = self._board.links.get(link)
        return source is not None and source.is_guided

    def queued_bytes(self, link: LinkId) -> int:
        """Bytes that wait for a blocked link."""
        source = self._board.links.get(link)
        return source.queue.size_bytes if source is not None and source.queue is not None else 0

    def table_sizes(self) -> dict[str, int]:
        """Entries of each bounded table."""
        return {
            **self._paths.sizes(),
            "pongs": len(self._pings.cache),
            "traced": len(self._board.trace),
            "driven": len(self._dynamic),
        }

    def trace(self, guid: Guid) -> list[TraceStep]:
        """The life of one traced query in this node, in order."""
        return self._board.trace.steps(guid)

    def trace_summary(self) -> list[TracedQuery]:
        """Traced queries, the newest first: guid, text, started_at, is_own."""
        return self._board.trace.recent()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _other(self, link: Link, frame: Frame, now: float) -> None:
        self._others.get(frame.kind, self._signals.receive)(link, frame, now)

    def _keep_tail(self, link: Link, data: bytes, walked: int) -> None:
        """Note the incomplete message at the end; one that announces too much closes the link without being waited for."""
        if walked == len(data):
            return
        link.tail = bytearray(data[walked:])
        lacks = missing(link.tail)
        if lacks + len(link.tail) > MAX_MESSAGE:
            self._board.close(link, DropReason.MESSAGE_TOO_LARGE, f"{lacks + len(link.tail)} bytes announced")
        link.lacks = lacks
