"""What is true of every run, checked at each message: the rules that a correct router never breaks.

    ttl             no message outlives its TTL: each hop lowers it by one and raises hops by one
    handled-twice   no node handles a GUID a second time: answers and forwards follow its first arrival only, but that a probe
                    (TTL 1) that comes again with more TTL is passed on once, to ultrapeers; and that a leaf's query is driven
                    on when that leaf tells what it keeps, to ultrapeers, to none of them again with no more TTL
    unheard-of      a node forwards and answers only what it received
    sent-back       a query never goes back over the link it came from
    hit-astray      hits travel back only: each over the one link its query first came from, as many as came in
    leaf-relays     a leaf passes on nobody's messages
    leaf-links      a leaf has links to ultrapeers only, and to a few of them
    pong-astray     pongs answer a ping of that very link, that came now or asked lately; pings are not passed on
    push-astray     a push goes to one link, once
    bounds          tables and queues stay within their bounds
    balance         messages sent = received + lost, by the nodes' own counters too
    byte-exact      a finished download has the bytes that were shared
    noted-safe      what a download has noted as arrived is on disk, whenever its node dies

A broken rule raises `InvariantBroken` at once, at the virtual time where it broke.  The watch sees bytes, not the router's
thoughts; what it remembers of each query (`Life`) is also what the reports are made from.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gnutella.errors import RemoteViolation
from gnutella.lab.heads import Heads
from gnutella.lab.life import Life
from gnutella.network.admission import MAX_LEAF_LINKS
from gnutella.protocol.frames import frames
from gnutella.protocol.kinds import PING, PONG, PUSH, QUERY, QUERY_HIT, VENDOR
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, Flood, Send
from gnutella.routing.flow import QUEUE_BYTES
from gnutella.routing.pongs import MAX_PONGS
from gnutella.routing.reverse import MAX_SEARCHES, PUSH_GENERATION, QUOTA_GENERATION, SERVENT_GENERATION
from gnutella.routing.trace import MAX_TRACED
from gnutella.units import LinkId

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.node import LabNode

#: Cells (node and query) that are remembered; the oldest queries are forgotten beyond it.  48 MiB at six bytes each.
MAX_CELLS = 8_000_000
#: Pings of a link before its newest whose pongs may still come: the newest may have come too fast to be answered.
LAST_PINGS = 3
#: Twice the size of a generation, as routing/seen.py bounds its tables.
_BOUNDS = {
    "servents": 2 * SERVENT_GENERATION,
    "results": 2 * QUOTA_GENERATION,
    "pushes": 2 * PUSH_GENERATION,
    "searches": MAX_SEARCHES,
    "pongs": MAX_PONGS,
    "traced": MAX_TRACED,
}
#: A query status (BEAR/12v1) and, behind it, that no more is wanted.
_STATUS, _STATUS_ENOUGH = b"BEAR\x0c\0\1\0", b"\xff\xff"


class InvariantBroken(AssertionError):
    """A rule of the module text does not hold; `rule` is its name, `time` virtual, `node` where it was seen."""

    def __init__(self, rule: str, time: float, node: str, detail: str) -> None:
        super().__init__(f"{rule}: at {time:.6f} s node {node}: {detail}")
        self.rule = rule
        self.time = time
        self.node = node
        self.detail = detail


class Watch:
    """Sees each chunk that arrives and each list of actions before it is executed."""

    def __init__(self, heads: Heads, *, is_strict: bool = True) -> None:
        self._heads = heads
        self.is_strict = is_strict
        self.lives: dict[bytes, Life] = {}
        self.time = 0.0
        #: Off when a strategy sends other messages than the routers count.
        self.checks_counters = True
        self._forgotten: dict[bytes, None] = {}
        self._cells = 0
        #: GUIDs of queries that came for the first time in the chunk that is treated now.
        self._fresh: dict[bytes, int] = {}
        #: Those that came again with more TTL than the 1 they had, and with which TTL and hops: a node may pass one on once.
        self._extended: dict[bytes, int] = {}
        #: Other messages of that chunk: (kind, GUID) -> their (TTL, hops) that have not been passed on yet.
        self._others: dict[tuple[int, bytes], list[tuple[int, int]]] = {}
        self._pushes: set[tuple[int, bytes]] = set()
        self._has_arrived = False
        #: The chunk that is treated now, and how often a node took a later copy of a query for the first.
        self._chunk = b""
        self._taken_later: dict[int, int] = {}

    # -- what arrives --------------------------------------------------------------------------------------------------

    def arrived(self, end: End, data: bytes) -> None:
        """A chunk reaches the node of `end`, which will treat it now."""
        if self._fresh:
            self._fresh.clear()
        if self._others:
            self._others.clear()
        if self._extended:
            self._extended.clear()
        self._has_arrived = True
        self._chunk = data
        if len(data) < 23 or end.partial:
            self._pieces(end, data)
            return
        guid, kind, ttl, hops, length = self._heads[data]
        if length + 23 != len(data):
            self._pieces(end, data)
            return
        end.arrived += 1
        if kind == 0x80:
            life = self.lives.get(guid)
            number = end.node.number
            if life is None or number >= len(life.came):
                self._query(end, guid, ttl, hops)
            elif not life.came[number]:
                life.came[number] = end.id
                life.heads[number] = ttl << 8 | hops
                life.by_hops[hops & 15] += 1
                self._fresh[guid] = 1
            elif ttl > 1 and life.heads[number] >> 8 == 1 and not end.is_leaf:
                self._extended[guid] = ttl << 8 | hops
        else:
            self._others[kind, guid] = [(ttl, hops)]
            if kind == PING and ttl > 1:
                end.asked_by = (*end.asked_by[-LAST_PINGS:], guid)

    def _pieces(self, end: End, data: bytes) -> None:
        self._chunk = data = end.partial + data
        whole = 0
        try:
            for frame in frames(data):
                whole = frame.end
                end.arrived += 1
                if frame.kind == QUERY:
                    self._query(end, frame.guid, frame.ttl, frame.hops)
                else:
                    self._others.setdefault((frame.kind, frame.guid), []).append((frame.ttl, frame.hops))
                    if frame.kind == PING and frame.ttl > 1:
                        end.asked_by = (*end.asked_by[-LAST_PINGS:], frame.guid)
        except RemoteViolation as error:
            if not end.is_damaged:
                raise InvariantBroken("unheard-of", self.time, end.peer.node.name, f"sent garbage: {error}") from None
        end.partial = data[whole:]

    def _query(self, end: End, guid: bytes, ttl: int, hops: int) -> None:
        life = self.lives.get(guid)
        number = end.node.number
        if life is None:
            if guid in self._forgotten:
                return
            if not end.is_damaged and not end.is_foreign:
                self._break("unheard-of", end.node, f"query {guid.hex()} was asked by nobody")
            life = self.asked(guid, None, ttl + hops, "", number + 1)
        if number >= len(life.came):
            life.extend(number + 1)
        if not life.came[number] and life.origin != number:
            life.came[number] = end.id
            life.heads[number] = ttl << 8 | hops
            life.by_hops[hops & 15] += 1
            self._fresh[guid] = 1
        elif life.came[number] and ttl > 1 and life.heads[number] >> 8 == 1 and not end.is_leaf:
            self._extended[guid] = ttl << 8 | hops

    # -- what is asked -------------------------------------------------------------------------------------------------

    def asked(self, guid: bytes, node: LabNode | None, budget: int, text: str, nodes: int) -> Life:
        """A query begins; `budget` is its TTL, `nodes` how many there are."""
        life = self.lives[guid] = Life(guid, node.number if node is not None else -1, budget, text, self.time, nodes)
        self._cells += nodes
        while self._cells > MAX_CELLS and len(self.lives) > 1:
            oldest = next(iter(self.lives))
            gone = self.lives.pop(oldest)
            self._cells -= len(gone.came)
            gone.came, gone.heads = array("I"), array("H")
            self._forgotten[oldest] = None
        return life

    def forget(self, node: LabNode) -> None:
        """The node has lost its memory: what it handled before, it may handle again."""
        number = node.number
        for life in self.lives.values():
            if number < len(life.came):
                life.came[number] = life.heads[number] = 0
            if life.origin == number:
                life.origin = -1
        self._pushes = {(holder, guid) for holder, guid in self._pushes if holder != number}

    # -- what is sent --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """What follows is not caused by a message: a search, a tick, a link that opened, a queue that empties."""
        self._fresh = {}
        self._extended = {}
        self._others = {}
        self._has_arrived = False

    def sent(self, node: LabNode, actions: Sequence[Action]) -> None:
        """The router of a node answered; nothing of it has been executed yet."""
        for action in actions:
            if type(action) is Flood:
                data = action.data
                if action.count == 1:
                    guid, kind, ttl, hops, _ = self._heads[data]
                    if kind == 0x80:
                        self._judge_query(node, action.links, guid, ttl, hops)
                    else:
                        self._judge(node, action.links, guid, kind, ttl, hops)
                else:
                    for frame in frames(data):
                        self._judge(node, action.links, *frame[:4])
                for link in action.links:
                    node.ends[link].sent += action.count
            elif type(action) is Send:
                end = node.ends[action.link]
                for frame in frames(action.data):
                    end.sent += 1
                    self._judge(node, (action.link,), *frame[:4])

    def _judge(self, node: LabNode, links: Sequence[LinkId], guid: bytes, kind: int, ttl: int, hops: int) -> None:
        if kind == QUERY:
            self._judge_query(node, links, guid, ttl, hops)
        elif kind == QUERY_HIT:
            self._judge_hit(node, links, guid, ttl, hops)
        elif kind in (PING, PONG):
            self._judge_ping(node, links, guid, kind, hops)
        elif kind == PUSH:
            self._judge_push(node, links, guid, ttl, hops)

    def _judge_query(self, node: LabNode, links: Sequence[LinkId], guid: bytes, ttl: int, hops: int) -> None:
        life = self.lives.get(guid)
        if life is None:
            if guid not in self._forgotten:
                self._break("unheard-of", node, f"sends query {guid.hex()} that it never received")
            return
        life.copies += len(links)
        number = node.number
        if life.is_walk:
            return
        if life.origin == number:
            if hops or not 0 < ttl <= life.budget:
                self._break("handled-twice", node, f"relays its own query {guid.hex()} with TTL {ttl}, hops {hops}")
            self._drives(node, life, links, ttl)
            return
        if number >= len(life.heads) or not life.heads[number]:
            self._break("unheard-of", node, f"sends query {guid.hex()} that it never received")
            return
        if self._is_again(node, life, links, guid) and not self._was_refused_before(node, life, guid):
            self._break("handled-twice", node, f"forwards {guid.hex()} again")
        if guid in self._extended:
            life.heads[number] = self._extended[guid]
        self._drives(node, life, links, ttl)
        was_ttl, was_hops = self._came_with(node, life)
        if hops != was_hops + 1 or ttl < 1 or (ttl >= was_ttl and not self._is_last_hop(node, links, was_ttl, ttl)):
            self._break(
                "ttl", node, f"got {guid.hex()} with TTL {was_ttl}, hops {was_hops}, sends TTL {ttl}, hops {hops}"
            )
        if life.came[number] in links:
            self._break("sent-back", node, f"query {guid.hex()} goes back where it came from")
        if node.is_leaf:
            self._break("leaf-relays", node, f"passes on query {guid.hex()}")

    def _came_with(self, node: LabNode, life: Life) -> tuple[int, int]:
        """TTL and hops of the copy that the node handled; an ultrapeer drives a leaf's query as its own (digest 8.1)."""
        head = life.heads[node.number]
        asker = node.ends.get(LinkId(life.came[node.number]))
        is_driven = node.settings.dynamic_queries and asker is not None and asker.is_leaf
        return node.largest_ttl + 1 if is_driven else head >> 8, head & 0xFF

    def _is_again(self, node: LabNode, life: Life, links: Sequence[LinkId], guid: bytes) -> bool:
        """Whether a query goes out that did not just come, nor may be driven or passed on further to ultrapeers."""
        if guid in self._fresh or not self._has_arrived:
            return False
        is_further = guid in self._extended or self._is_told(node, life, guid)
        return not is_further or any(node.ends[link].is_leaf for link in links)

    def _is_told(self, node: LabNode, life: Life, guid: bytes) -> bool:
        """Whether the leaf whose query it is has just told what it keeps, so that it is driven on; not that it is enough."""
        asker = node.ends.get(LinkId(life.came[node.number]))
        if (VENDOR, guid) not in self._others or asker is None or not asker.is_leaf or asker.id != node.hearing:
            return False
        said = [frame.payload for frame in frames(self._chunk) if frame.guid == guid and frame.kind == VENDOR]
        return node.settings.dynamic_queries and any(
            payload.startswith(_STATUS) and payload[len(_STATUS) :] != _STATUS_ENOUGH for payload in said
        )

    def _drives(self, node: LabNode, life: Life, links: Sequence[LinkId], ttl: int) -> None:
        """A query of the node itself or of a leaf of its, sent step by step, goes to nobody again but with more TTL."""
        asker = node.ends.get(LinkId(life.came[node.number]))
        if life.origin != node.number and (asker is None or not asker.is_leaf):
            return
        for link in links:
            if life.driven.get((node.number, link), 0) >= ttl:
                self._break("handled-twice", node, f"asks link {link} again for {life.guid.hex()} with TTL {ttl}")
            life.driven[node.number, link] = ttl

    def _was_refused_before(self, node: LabNode, life: Life, guid: bytes) -> bool:
        """Whether this may be the first copy that the node handles, because it refused one that came before: it was asked too
        fast, or could not have sent the hits back.  It is, at most, as often as it has counted such a refusal.
        """
        drops, taken = node.drops(), self._taken_later.get(node.number, 0)
        copies = [frame for frame in frames(self._chunk) if frame.guid == guid and frame.kind == QUERY]
        if not copies or taken >= drops.get(DropReason.RATE, 0) + drops.get(DropReason.SENDER_BUSY, 0):
            return False
        self._taken_later[node.number] = taken + 1
        life.came[node.number] = node.hearing
        life.heads[node.number] = copies[0].ttl << 8 | copies[0].hops
        self._fresh[guid] = 1
        return True

    def _is_last_hop(self, node: LabNode, links: Sequence[LinkId], was_ttl: int, ttl: int) -> bool:
        """A spent query goes to leaves, with the TTL 1 that makes it a legal message."""
        return was_ttl == 1 == ttl and all(node.ends[link].is_leaf for link in links)

    def _judge_hit(self, node: LabNode, links: Sequence[LinkId], guid: bytes, ttl: int, hops: int) -> None:
        life = self.lives.get(guid)
        if life is None:
            if guid not in self._forgotten:
                self._break("unheard-of", node, f"sends a hit for {guid.hex()}, which nobody asked")
            return
        life.hit_copies += len(links)
        number = node.number
        came = life.came[number] if number < len(life.came) else 0
        if came and not hops and guid not in self._fresh and self._was_refused_before(node, life, guid):
            came = life.came[number]
        if len(links) != 1 or links[0] != came:
            self._break(
                "hit-astray", node, f"hit for {guid.hex()} goes to links {list(links)}, its query came from {came}"
            )
        if life.is_walk:
            return
        if not hops:
            if guid not in self._fresh and self._has_arrived:
                self._break("handled-twice", node, f"answers {guid.hex()} again")
            return
        if node.is_leaf:
            self._break("leaf-relays", node, f"passes on a hit for {guid.hex()}")
        self._passed_on(node, "hit-astray", QUERY_HIT, guid, ttl, hops)

    def _passed_on(self, node: LabNode, rule: str, kind: int, guid: bytes, ttl: int, hops: int) -> None:
        """A message that is not flooded leaves as often as it came, one hop older."""
        if not self._has_arrived:
            return
        waiting = self._others.get((kind, guid))
        if not waiting:
            self._break(rule, node, f"passes on {guid.hex()} that did not come just now, or twice")
            return
        for place, (was_ttl, was_hops) in enumerate(waiting):
            if hops == was_hops + 1 and (ttl == was_ttl - 1 or ttl == was_ttl == 1):
                del waiting[place]
                return
        self._break("ttl", node, f"got {guid.hex()} with (TTL, hops) {waiting}, sends TTL {ttl}, hops {hops}")

    def _judge_ping(self, node: LabNode, links: Sequence[LinkId], guid: bytes, kind: int, hops: int) -> None:
        if kind == PING:
            if hops or (PING, guid) in self._others:
                self._break("pong-astray", node, f"passes on ping {guid.hex()}")
        elif self._has_arrived and (len(links) != 1 or not self._is_asked(node, links[0], guid)):
            self._break("pong-astray", node, f"pong {guid.hex()} to links {list(links)}, which did not ask for it")

    def _is_asked(self, node: LabNode, link: LinkId, guid: bytes) -> bool:
        """Whether a pong with that GUID may go over that link: its ping came just now, or is one of the last that asked."""
        if link == node.hearing and (PING, guid) in self._others:
            return True
        end = node.ends.get(link)
        return end is not None and guid in end.asked_by

    def _judge_push(self, node: LabNode, links: Sequence[LinkId], guid: bytes, ttl: int, hops: int) -> None:
        if len(links) != 1 or (node.number, guid) in self._pushes:
            self._break("push-astray", node, f"push {guid.hex()} to links {list(links)}")
        self._pushes.add((node.number, guid))
        if hops:
            if node.is_leaf:
                self._break("leaf-relays", node, f"passes on push {guid.hex()}")
            self._passed_on(node, "push-astray", PUSH, guid, ttl, hops)

    # -- now and then --------------------------------------------------------------------------------------------------

    def bounds(self, node: LabNode) -> None:
        """Tables and queues of a node are within their bounds, and its counters agree with its links."""
        sizes = node.router.table_sizes()
        for name, bound in (*_BOUNDS.items(), ("queries", 2 * node.query_generation)):
            if sizes[name] > bound:
                self._break("bounds", node, f"table {name} holds {sizes[name]}, its bound is {bound}")
        if node.is_leaf:
            leaves = [end.peer.node.name for end in node.ends.values() if end.is_leaf]
            if leaves or len(node.ends) > MAX_LEAF_LINKS:
                self._break("leaf-links", node, f"has {len(node.ends)} links, of them to leaves: {leaves}")
        for link, end in node.ends.items():
            counts = node.router.link_counters(link)
            if counts is None:
                continue
            if node.router.queued_bytes(link) > QUEUE_BYTES:
                self._break("bounds", node, f"queue of link {link} holds {node.router.queued_bytes(link)} bytes")
            if not self.checks_counters:
                continue
            if counts["tx_messages"] != end.sent:
                self._break("balance", node, f"link {link} counts {counts['tx_messages']} sent, {end.sent} were")
            if counts["rx_messages"] != end.arrived and not end.is_damaged:
                self._break("balance", node, f"link {link} counts {counts['rx_messages']} received, {end.arrived} came")

    def _break(self, rule: str, node: LabNode, detail: str) -> None:
        if self.is_strict:
            raise InvariantBroken(rule, self.time, node.name, detail)
