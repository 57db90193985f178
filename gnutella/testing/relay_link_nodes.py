"""Nodes that link over real connections: the membership, the links and the port of the program, and no other rooms above them.

node = LinkedNode(reactor, 1)
await node.start()
await node.links.connect(other.address, other.id)
node.core.say(other.id, Ping(bytes(8)))
await node.stop()
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.cells import Cell, Command
from anonymizer.descr import PIVOT
from anonymizer.known import KnownNodes
from anonymizer.links import RelayLinks
from anonymizer.membership import Manners, Membership
from anonymizer.own import OwnDescriptor, OwnFacts
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import PivotKeys
from anonymizer.timers import Timers
from anonymizer.tls import ALPN, RelayTls
from anonymizer.wire import AnyBody, ByeReason, cell_of, parse
from gnutella.network.demux import Doors, PeerPort
from gnutella.network.dial import Dialler
from gnutella.reasons import DropReason
from gnutella.testing.relay_members import FakeEdges, FakeGuards
from gnutella.testing.relay_nodes import signing_key
from gnutella.units import Address

#: What membership takes; all else is kept by the core for the test.
_TALK = frozenset(range(Command.PAD, Command.OPEN)) - {Command.HELLO}


class MemberCore:
    """links.Core with a membership and nothing else.  `got` has all other cells, `ups` and `downs` the links."""

    def __init__(self, number: int, address: Address, rng: random.Random, now: float, manners: Manners) -> None:
        keys = PivotKeys(now, X25519PrivateKey.generate)
        own = OwnDescriptor(signing_key(number), keys, rng, now, OwnFacts(address, PIVOT))
        self.id = own.node_id
        self.known = KnownNodes(self.id, allow_private=True, by_network=False, min_age_s=0.0, min_sources=0)
        self.timers, self.edges = Timers(), FakeEdges()
        self.drop: Callable[[bytes, ByeReason, float], None] = lambda node, reason, now: None
        self.membership = Membership(
            own,
            self.known,
            rng,
            self.timers,
            self.edges,
            FakeGuards(self.known, rng),
            send=self._send,
            drop=lambda node, reason, now: self.drop(node, reason, now),
            manners=manners,
        )
        self.got: list[tuple[bytes, Cell]] = []
        self.ups: list[tuple[bytes, bool]] = []
        self.downs: list[bytes] = []
        self._out: list[tuple[bytes, Cell]] = []
        self._blocked: set[bytes] = set()
        self.takes: Callable[[bytes, Cell], None] = lambda node, cell: self.got.append((node, cell))

    def say(self, node: bytes, cell: Cell) -> None:
        self._out.append((node, cell))

    def _send(self, node: bytes, body: AnyBody) -> None:
        self._out.append((node, cell_of(body)))

    @property
    def waiting(self) -> list[tuple[bytes, Cell]]:
        """What has not left."""
        return self._out

    @property
    def next_at(self) -> float | None:
        # What is for links that push back waits until these are told of.
        is_due = any(node not in self._blocked for node, _ in self._out)
        return 0.0 if is_due else self.timers.next_at

    def link_up(self, node: bytes, now: float, *, is_client: bool, host: str) -> None:
        self.ups.append((node, is_client))
        self.membership.link_up(node, now, is_client=is_client, host=host)

    def link_down(self, node: bytes, now: float) -> None:
        self.downs.append(node)
        self.edges.edges.pop(node, None)
        self._out = [entry for entry in self._out if entry[0] != node]
        self.membership.link_down(node, now)

    def receive(self, node: bytes, cell: Cell, now: float) -> None:
        if cell.command is Command.HELLO:
            raise Violation(Refusal.HELLO_BROKEN, "a second one")
        if cell.command in _TALK:
            self.membership.receive(node, parse(cell), now)  # type: ignore[arg-type]
        else:
            self.takes(node, cell)

    def due(self, now: float, blocked: Collection[bytes], turn: int) -> list[tuple[bytes, Cell]]:
        self.timers.run(now)
        self._blocked = set(blocked)
        found = [entry for entry in self._out if entry[0] not in blocked]
        self._out = [entry for entry in self._out if entry[0] in blocked]
        return found

    def tick(self, now: float) -> None:
        self.membership.tick(now)


class LinkedNode:
    """See the module text.  `start` opens a port on loopback; `drops` counts what that port refused."""

    def __init__(self, reactor: Any, number: int, *, manners: Manners | None = None, by_network: bool = False) -> None:
        self._reactor, self.number = reactor, number
        self._manners = manners or Manners(pad_rate=0.0, target_links=0)
        self._by_network = by_network
        self.drops: Counter[DropReason] = Counter()
        self.tls = RelayTls(signing_key(number))
        self.id = self.tls.node_id
        self._dialler = Dialler(reactor, 5.0)
        self.core: MemberCore
        self.links: RelayLinks

    async def start(self, *, ticks: bool = False) -> None:
        self.doors = Doors(self._no_links, None, None, None, self._count)
        self.port = self._reactor.listenTCP(0, PeerPort(self._reactor, self.doors, 20.0), interface="127.0.0.1")
        self.address = Address("127.0.0.1", self.port.getHost().port)
        rng = random.Random(self.number)
        self.core = MemberCore(self.number, self.address, rng, self._reactor.seconds(), self._manners)
        self.links = RelayLinks(
            self._reactor, self.core, self.tls, rng, self._dialler.connect, by_network=self._by_network
        )
        self.core.drop = self.links.drop
        self.doors.inside[ALPN] = self.links.door
        if ticks:
            self.links.start()

    async def stop(self) -> None:
        await self.port.stopListening()
        self._dialler.stop()
        await self.links.stop()

    def refused(self, refusal: Refusal) -> int:
        return self.links.refusals[refusal]

    @property
    def refusals(self) -> Refusals:
        return self.links.refusals

    def _no_links(self, settled: Callable[[], None]) -> Any:
        raise AssertionError("no Gnutella here")

    def _count(self, reason: DropReason) -> None:
        self.drops[reason] += 1
