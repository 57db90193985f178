"""Whole nodes of the relay layer in virtual time: the `Core` of the program, links that are delays, blocks in memory.

    net = CoreNet(100, seed=1)
    net.settle()                       # links and guards are there
    net.nodes[3].core.client...        # what a user of that node would ask
    net.run(60)
    net.down(node); net.restart(node)  # it goes, and comes again with what is on its disk

Each node begins with descriptors of all others, known for two days from three sources; whom it links with, which edges and
guards it takes and everything after that is the program's doing.  Everything is drawn from one seed.  `uplink` is what each
node sends at most, in bytes a second (None: as much as it likes); a cell's time on the wire counts, its computation does not.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.cells import Cell
from anonymizer.core import Core, Identity, Ways
from anonymizer.descr import HOUR_S, PIVOT, node_id_of
from anonymizer.known import KnownNodes
from anonymizer.membership import Manners
from anonymizer.own import OwnFacts
from anonymizer.reasons import Violation
from anonymizer.seal import PivotKeys
from anonymizer.wire import ByeReason
from gnutella.lab.clock import Clock
from gnutella.testing.relay_nodes import NOW, signing_key
from gnutella.testing.route_net import HeldBlocks
from gnutella.units import Address

#: Seconds until a dialled link is there.
DIAL_S = 0.2
#: Dials a second of one node.
DIALS = 2
#: One way over a link: lognormal, median 40 ms (design section 4.3).
DELAY = (-3.2, 0.6)


class CoreNode:
    """One node.  `watch` is told of each cell that leaves: to whom, the cell, the time."""

    def __init__(self, net: CoreNet, number: int) -> None:
        self.net, self.number = net, number
        self.address = Address(f"{20 + number // 250}.{number % 250}.1.1", 6346)
        self.key = signing_key(number)
        self.id = node_id_of(self.key.public_key().public_bytes_raw())
        self.keys = PivotKeys(NOW, net.new_key)
        self.blocks = HeldBlocks()
        self.known = KnownNodes(self.id)
        self.core = self._core(0)
        self.links: set[bytes] = set()
        self.dialling: set[bytes] = set()
        self.is_up = True
        self.watch: Callable[[bytes, Cell, float], None] | None = None
        self.violations: list[Violation] = []
        self._planned = float("inf")
        #: When all that was sent has left.
        self.free_at = 0.0

    def _core(self, sequence: int) -> Core:
        secret = hashlib.sha256(b"secret %d" % self.number).digest()
        return Core(
            Identity(self.key, self.keys, secret, sequence),
            self.known,
            self.blocks,
            self.net.rng,
            self.net.new_key,
            self.net.now,
            drop=self._drop,
            ways=Ways(OwnFacts(self.address, PIVOT), self.net.manners, self.net.pivot_rate),
        )

    def restart(self) -> None:
        """As the program starts again: guards, nodes, blocks and the number of the descriptor are those of the disk."""
        guards, rows = self.core.stem.guards.rows(), self.known.rows()
        self.known = KnownNodes(self.id)
        self.known.restore(rows, self.net.now)
        self.core = self._core(self.core.membership.own.current.sequence)
        self.core.stem.guards.restore(guards, self.net.now)
        self.dialling.clear()
        if self.net.has_decoys:
            self.core.client.start(self.net.now)

    def _drop(self, node: bytes, reason: ByeReason, now: float) -> None:
        self.net.clock.after(0.0, self.net.cut, self.id, node)

    def tick(self) -> None:
        """What a second brings."""
        if self.is_up:
            self.core.tick(self.net.now)
            for descriptor in self.core.membership.wanted()[:DIALS]:
                self.net.dial(self, descriptor.node_id)
            self.wake()
        self.net.clock.after(1.0, self.tick)

    def wake(self) -> None:
        """Plan what this node has to do next."""
        when = self.core.next_at
        if when is not None and when - NOW < self._planned:
            self._planned = max(when - NOW, self.net.clock.now, self.free_at)
            self.net.clock.at(self._planned, self._run, self._planned)

    def _run(self, planned: float) -> None:
        if planned != self._planned:
            return
        self._planned = float("inf")
        if self.is_up:
            for to, cell in self.core.due(self.net.now):
                if self.watch is not None:
                    self.watch(to, cell, self.net.clock.now)
                self.net.carry(self, to, cell)
            self.wake()

    def receive(self, came: bytes, cell: Cell) -> None:
        """A cell has come."""
        if not self.is_up or came not in self.links:
            return
        try:
            self.core.receive(came, cell, self.net.now)
        except Violation as violation:
            self.violations.append(violation)
            self.net.cut(self.id, came)
        self.wake()


class CoreNet:
    """See the module text."""

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        manners: Manners | None = None,
        pivot_rate: float | None = None,
        has_decoys: bool = False,
        uplink: float | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.has_decoys, self.uplink = has_decoys, uplink
        self.manners = manners or Manners(pad_rate=0.0)
        self.pivot_rate = pivot_rate
        self.nodes = [CoreNode(self, number) for number in range(count)]
        self.by_id = {node.id: node for node in self.nodes}
        self._delays: dict[frozenset[bytes], float] = {}
        self._cuts: dict[frozenset[bytes], int] = {}
        self.cells = 0
        self._introduce()
        for node in self.nodes:
            if has_decoys:
                node.core.client.start(self.now)
            self.clock.at(self.rng.random(), node.tick)

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return NOW + self.clock.now

    def new_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.rng.randbytes(32))

    def _introduce(self) -> None:
        rows = []
        for node in self.nodes:
            sources = [other.id for other in self.rng.sample(self.nodes, 4) if other is not node][:3]
            rows.append((node.core.membership.own.current.data, NOW - 48 * HOUR_S, sources))
        for node in self.nodes:
            node.known.restore(rows, NOW)

    def settle(self, seconds: float = 60.0) -> None:
        """Let links and edges be made."""
        self.run(seconds)

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        self.clock.run(self.clock.now + seconds)

    def run_until(self, claim: Callable[[], object], seconds: float, step: float = 0.25) -> bool:
        """Let time pass until it holds; False: it does not after that long."""
        end = self.clock.now + seconds
        while not claim():
            if self.clock.now >= end:
                return False
            self.run(step)
        return True

    # -- links -----------------------------------------------------------------------------------------------------------

    def dial(self, node: CoreNode, to: bytes) -> None:
        """Try to open a link."""
        if to not in node.dialling and to not in node.links:
            node.dialling.add(to)
            self.clock.after(DIAL_S, self._dialled, node, to)

    def _dialled(self, node: CoreNode, to: bytes) -> None:
        node.dialling.discard(to)
        other = self.by_id[to]
        if to in node.links or not node.is_up:
            return
        refused = not other.is_up or other.core.membership.admits(
            node.id, node.address.host, self.now, is_incoming=True
        )
        if refused:
            node.core.membership.dial_failed(to, self.now)
            return
        pair = frozenset((node.id, to))
        if pair not in self._delays:
            self._delays[pair] = self.rng.lognormvariate(*DELAY)
        for one, peer, is_client in ((node, other, True), (other, node, False)):
            one.links.add(peer.id)
            one.core.link_up(peer.id, self.now, is_client=is_client, host=peer.address.host)
            one.wake()

    def cut(self, one: bytes, other: bytes) -> None:
        """End the link between two nodes."""
        pair = frozenset((one, other))
        self._cuts[pair] = self._cuts.get(pair, 0) + 1
        for node, peer in ((self.by_id[one], other), (self.by_id[other], one)):
            if peer in node.links:
                node.links.discard(peer)
                node.core.link_down(peer, self.now)
                node.wake()

    def down(self, node: CoreNode) -> None:
        """The node is gone; what it keeps on disk stays."""
        node.is_up = False
        for peer in sorted(node.links):
            self.cut(node.id, peer)

    def up(self, node: CoreNode) -> None:
        """It is there again."""
        node.is_up = True
        node.wake()

    def restart(self, node: CoreNode) -> None:
        """The program of a node that is gone is started again."""
        node.restart()
        self.up(node)

    def carry(self, node: CoreNode, to: bytes, cell: Cell) -> None:
        """A cell goes over a link, in order."""
        self.cells += 1
        leaves = self.clock.now
        if self.uplink is not None:
            leaves = node.free_at = max(node.free_at, leaves) + cell.size / self.uplink
        pair = frozenset((node.id, to))
        self.clock.at(leaves + self._delays[pair], self._carried, node, to, cell, self._cuts.get(pair, 0))

    def _carried(self, node: CoreNode, to: bytes, cell: Cell, cuts: int) -> None:
        # What was under way when the link was cut never comes, even if there is another one by now.
        if self._cuts.get(frozenset((node.id, to)), 0) == cuts:
            self.by_id[to].receive(node.id, cell)
