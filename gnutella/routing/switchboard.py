"""The open links and everything that leaves through them.

All parts of the router put their effects here; `flush` turns them into the actions of one call: one Flood for the queries of a
chunk, one Send for each link that gets more.  A blocked link's messages go to its queue instead (flow.py).
"""

from __future__ import annotations

from collections.abc import Callable

from gnutella.protocol.frames import HOPS_AT, Frame, frames
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, Close, Emit, Flood, Send
from gnutella.routing.counters import Counters
from gnutella.routing.events import MessageRefused
from gnutella.routing.flow import Outcome, SendQueue
from gnutella.routing.link import Link
from gnutella.routing.seams import Chance
from gnutella.routing.trace import Trace
from gnutella.settings import RoutingSettings
from gnutella.units import Guid, LinkId

#: Stands for this node where a table names the link that a message came from; the edge numbers links from 0 or 1 on.
OWN = LinkId(-1)
#: The same for the UDP port.
BY_UDP = LinkId(-2)
#: A query of a leaf, as others get it from us: under a GUID of ours (oob_proxy.py).
BY_PROXY = LinkId(-3)
QUERY = 0x80

#: Reasons that a person should hear of once for each link; all others are everyday events and only counted.
_WORTH_A_WARNING = frozenset(
    {
        DropReason.TTL_ZERO,
        DropReason.TTL_TOO_HIGH,
        DropReason.BAD_PING,
        DropReason.BAD_PONG,
        DropReason.BOGUS_PONG,
        DropReason.BAD_QUERY,
        DropReason.BAD_HIT,
        DropReason.BOGUS_HIT,
        DropReason.HIT_TOO_LARGE,
        DropReason.BAD_PUSH,
        DropReason.BAD_GGEP,
        DropReason.BAD_URN,
        DropReason.BAD_VENDOR,
        DropReason.BAD_ROUTE_TABLE,
        DropReason.UNKNOWN_KIND,
        DropReason.UNREQUESTED_HIT,
        DropReason.LEAF_RELAYED,
    }
)


class Switchboard:
    """Links by number, counters, trace, and the actions gathered since the last `flush`."""

    def __init__(self, settings: RoutingSettings, servent_id: Guid, rng: Chance, *, is_leaf: bool = False) -> None:
        self.settings = settings
        self.servent_id = servent_id
        self.rng = rng
        self.links: dict[LinkId, Link] = {}
        #: Servent ids of neighbours, as far as their handshakes told them.
        self.neighbours: dict[Guid, LinkId] = {}
        self.counters = Counters()
        self.trace = Trace()
        self.traces_all = settings.trace == "all"
        #: We are a leaf: nobody's messages are passed on.
        self.is_leaf = is_leaf
        #: Servents that asked us to pass pushes on to them (routing.proxies).
        self.proxied: dict[Guid, LinkId] = {}
        #: Servent ids that leaves went by in their hits.
        self.shown: dict[Guid, LinkId] = {}
        #: Some leaf gets every query, so that those on their last hop still go somewhere.
        self.has_leaves = False
        #: Some link pushes back; some link does, or wants only queries of few hops.
        self.has_blocked = self.has_special = False
        #: Told of each link that is none any more.
        self.on_removed: list[Callable[[Link], None]] = []
        self._actions: list[Action] = []
        self._pending: dict[LinkId, list[bytes]] = {}

    def use_settings(self, settings: RoutingSettings) -> None:
        """Take other settings; tracing all queries, or no more, changes which links take the fast path."""
        self.settings = settings
        self.traces_all = settings.trace == "all"
        self.links_changed()

    # -- links ---------------------------------------------------------------------------------------------------------

    def add(self, link: Link) -> None:
        self.links[link.id] = link
        if link.info.servent_id is not None:
            self.neighbours[link.info.servent_id] = link.id
        self.links_changed()

    def remove(self, link: Link) -> None:
        self._pending.pop(link.id, None)
        link.is_closed = True
        if self.links.pop(link.id, None) is not None:
            servent_id = link.info.servent_id
            if servent_id is not None and self.neighbours.get(servent_id) == link.id:
                del self.neighbours[servent_id]
            if link.shown_id is not None:
                del self.shown[link.shown_id]
            for told in self.on_removed:
                told(link)
            self.links_changed()

    def may_show(self, leaf: Link, servent_id: Guid) -> bool:
        """Whether a leaf may go by that id in its hits: it has one, which no other link has.  Notes it.

        Nothing proves an id, and pushes follow it.  So a leaf can draw the pushes of one servent that is no neighbour of ours,
        as any ultrapeer on their way can, but not of many, nor of a neighbour; nor, unless its handshake named the id, of one
        whose hits came over another link that is open (hits.py, proxies.py).
        """
        known = leaf.info.servent_id or leaf.proxied_id or leaf.shown_id
        if known is not None:
            return known == servent_id
        if self.is_anothers(leaf, servent_id):
            return False
        if (before := self.links.get(self.shown.get(servent_id, OWN))) is not None:
            before.shown_id = None
        leaf.shown_id = servent_id
        self.shown[servent_id] = leaf.id
        return True

    def is_anothers(self, link: Link, servent_id: Guid) -> bool:
        """Whether that id is the one of a link to another host; an older link to the same one is mostly a dead one of its."""
        return any(self.is_elsewhere(link, ids.get(servent_id)) for ids in (self.neighbours, self.proxied, self.shown))

    def is_elsewhere(self, link: Link, towards: LinkId | None) -> bool:
        """Whether `towards` is an open link to another host than this one."""
        other = None if towards is None else self.links.get(towards)
        return other is not None and other.info.host != link.info.host

    def links_changed(self) -> None:
        """Recompute on next use which links get what; call after a link came, went, was blocked or unblocked."""
        self.has_leaves = self.has_blocked = self.has_special = False
        for link in self.links.values():
            if link.info.is_leaf and not (link.is_guided or link.is_muted):
                self.has_leaves = True
            if link.blocked_since is not None:
                self.has_blocked = True
            self.has_special = self.has_special or not link.takes_floods
            link.targets = link.unguided = None
            link.is_plain = not (link.info.is_leaf or link.blocked_since is not None or self.traces_all)

    def targets(self, source: Link) -> tuple[LinkId, ...]:
        """The unblocked links that get all queries of `source`: not itself, nor leaves whose tables decide.

        Nor links that want only queries of few hops, so that they cost the others nothing.
        """
        if source.targets is None:
            source.targets = tuple(link.id for link in self._takers(source) if link.takes_floods)
        return source.targets

    def unguided(self, source: Link) -> tuple[LinkId, ...]:
        """Those of the targets that told no table, hence get also the queries on their last hop."""
        if source.unguided is None:
            links = self.links
            source.unguided = tuple(link for link in self.targets(source) if not links[link].is_guided)
        return source.unguided

    def leaves(self, source: Link) -> list[Link]:
        """The leaves that get all queries of `source`, also those on their last hop."""
        return [link for link in self._takers(source) if link.info.is_leaf] if self.has_leaves else []

    # -- what leaves ---------------------------------------------------------------------------------------------------

    def send(self, link: Link, kind: int, hops: int, message: bytes) -> None:
        """One whole message to one link, or to its queue."""
        if link.queue is not None:
            self._enqueue(link, kind, hops, message)
            return
        pending = self._pending.get(link.id)
        if pending is None:
            self._pending[link.id] = [message]
        else:
            pending.append(message)
        self._count_sent(link, kind, 1, len(message))

    def send_queries(self, link: Link, messages: list[bytes]) -> None:
        """Whole queries to one link, or to its queue; none of more hops than it wants."""
        if link.max_hops is not None:
            messages = [message for message in messages if message[HOPS_AT] < link.max_hops]
            if not messages:
                return
        if link.queue is not None:
            for message in messages:
                if link.queue is not None:  # a full one has closed the link
                    self._enqueue(link, QUERY, message[HOPS_AT], message)
            return
        self._pending.setdefault(link.id, []).extend(messages)
        self._count_sent(link, QUERY, len(messages), sum(map(len, messages)))

    def flood(self, source: Link, data: bytes, count: int) -> None:
        """`count` whole queries to all links that get those of `source`."""
        self._flood_to(self.targets(source), data, count)
        if self.has_special:
            self._flood_special(data, self._takers(source))

    def flood_unguided(self, source: Link, data: bytes, count: int) -> None:
        """`count` whole queries, on their last hop, to all links without a table."""
        self._flood_to(self.unguided(source), data, count)
        if self.has_special:
            self._flood_special(data, [link for link in self._takers(source) if not link.is_guided])

    def flood_leaves(self, source: Link, data: bytes, count: int) -> None:
        """`count` whole queries with no hop left to the leaves that get everything."""
        leaves = self.leaves(source)
        self._flood_to(tuple(link.id for link in leaves if link.takes_floods), data, count)
        if self.has_special:
            self._flood_special(data, leaves)

    def emit(self, event: object) -> None:
        self._actions.append(Emit(event))

    def close(self, link: Link, reason: DropReason, detail: str = "") -> None:
        """Close a link after what is already on its way; from here on the router does not know it any more."""
        if link.id not in self.links:
            return
        self._flush_link(link.id)
        self.counters.drops[reason] += 1
        self._actions.append(Close(link.id, reason, detail))
        self.remove(link)

    def unblock(self, link: Link) -> None:
        """Send what waited for the link, the most important first."""
        queue, link.queue, link.blocked_since = link.queue, None, None
        self.links_changed()
        if queue is not None:
            for message in queue.drain():
                self.send(link, message.kind, 0, message.data)

    def block(self, link: Link, now: float) -> None:
        if link.blocked_since is None:
            link.blocked_since = now
            link.queue = SendQueue()
            self.links_changed()

    def flush(self) -> list[Action]:
        """The actions since the last flush, in order."""
        if self._pending:
            for link_id in list(self._pending):
                self._flush_link(link_id)
        actions, self._actions = self._actions, []
        return actions

    # -- what is dropped -----------------------------------------------------------------------------------------------

    def drop(self, link: Link | None, reason: DropReason, detail: str = "", count: int = 1) -> None:
        """Count a dropped message; warns once for each link and reason, and closes a link that does it too often."""
        self.counters.drops[reason] += count
        if link is None:
            return
        closing = link.closing_reason(reason)
        if reason in _WORTH_A_WARNING and reason not in link.warned:
            link.warned.add(reason)
            self.emit(MessageRefused(link.id, reason, detail))
        if closing is not None:
            self.close(link, closing)

    def drop_query(self, link: Link, frame: Frame, reason: DropReason, now: float, detail: str = "") -> None:
        """Count a dropped query and note it in its trace."""
        self.drop(link, reason, detail)
        if frame.guid in self.trace:
            self.trace.step(frame.guid, now, "dropped from", link.id, reason.value)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _flood_to(self, targets: tuple[LinkId, ...], data: bytes, count: int) -> None:
        if not targets:
            return
        size = len(data)
        links = self.links
        for link_id in targets:
            link = links[link_id]
            link.tx_messages += count
            link.tx_bytes += size
        self.counters.messages[QUERY].tx += count * len(targets)
        self.counters.tx_bytes += size * len(targets)
        self._actions.append(Flood(targets, data, count))

    def _takers(self, source: Link) -> list[Link]:
        """The links that get all queries of `source`; none if we are a leaf."""
        if self.is_leaf:
            return []
        return [
            link
            for link in self.links.values()
            if link is not source and not (link.info.is_leaf and (link.is_guided or link.is_muted))
        ]

    def _flood_special(self, data: bytes, links: list[Link]) -> None:
        """To the links that are no part of a flood: into the queues of those that push back, and what the others want."""
        for link in [link for link in links if not link.takes_floods]:
            self.send_queries(link, [frame.message for frame in frames(data)])

    def _enqueue(self, link: Link, kind: int, hops: int, message: bytes) -> None:
        assert link.queue is not None
        outcome, gone = link.queue.offer(kind, hops, message)
        for dropped in gone:
            self._count_busy(link, dropped.data)
        if outcome is Outcome.REFUSED:
            self._count_busy(link, message)
        elif outcome is Outcome.FULL:
            self._count_busy(link, message)
            self.close(link, DropReason.SEND_QUEUE_FULL)

    def _count_busy(self, link: Link, message: bytes) -> None:
        self.counters.drops[DropReason.LINK_BUSY] += 1
        guid = Guid(message[:16])
        if guid in self.trace:
            steps = self.trace.steps(guid)
            self.trace.step(guid, steps[-1].time if steps else 0.0, "dropped to", link.id, DropReason.LINK_BUSY.value)

    def _count_sent(self, link: Link, kind: int, count: int, size: int) -> None:
        link.tx_messages += count
        link.tx_bytes += size
        self.counters.kind(kind).tx += count
        self.counters.tx_bytes += size

    def _flush_link(self, link_id: LinkId) -> None:
        pending = self._pending.pop(link_id, None)
        if pending:
            self._actions.append(Send(link_id, pending[0] if len(pending) == 1 else b"".join(pending)))
