"""Whole nodes in virtual time: one publishes a file, others fetch it, with and without nodes that come and go.

    python benchmarks/relay_network.py [--nodes 100] [--size 1048576] [--readers 50] [--churn 0.3] [--seeds 3]
        [--parts fetch,hops,idle,search] [--variants stay,sessions,gone,amid] [--uplink KB] [--minutes 60]

Nodes are gnutella.testing.relay_cores: the program's own Core, links that are delays (one way lognormal, median 40 ms) and,
with --uplink, that many kB/s of each node.  Pivots give 256 KiB/s to each link, as by default.

fetch: all readers begin within a second.  `stay`: nobody leaves.  `sessions`: exponential ones with a median of 90 minutes,
the share --churn of all nodes is away at any time, and readers begin one by one over --minutes.  `gone`: that share leaves at
once, five seconds before the readers begin.  `amid`: it leaves at once, three seconds after, and from then on all come and go.
Readers whose own node leaves are not counted.  `first`: those whose first try succeeded; `again`: those who got it within
five tries, a minute after each error.  Of the errors, those of first tries are shown; `at once`: nothing had been sent.
hops: links that a block took from who had it to the pivot, counted in the cells.  idle: bytes that a node sends while nobody
asks for anything, with cover and decoys.  search: seconds to the first hit.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from anonymizer.cells import Cell, Command
from anonymizer.fetching import Fetched
from anonymizer.membership import Manners
from anonymizer.search import Search
from anonymizer.shares import AnonymousShare
from anonymizer.uri import ChkUri
from anonymizer.wire import BlockType
from gnutella.testing.relay_churn import MEDIAN_S, Reader, Sessions, publish
from gnutella.testing.relay_cores import CoreNet, CoreNode

T = TypeVar("T", int, float)

PIVOT_RATE = 256 * 1024.0
VARIANTS = ("stay", "sessions", "gone", "amid")
SETTLE_S = 90.0
#: Readers are waited for so long: longer than a guard is.
PATIENCE_S = 3_600.0
TRIES = 5
#: Nodes that share a file each, and others that search for one of these.
SHARERS, SEARCHES = 20, 40


class Watch:
    """What goes over all links: bytes by command, and how many links each block took on its route."""

    def __init__(self, net: CoreNet) -> None:
        self.bytes: Counter[Command] = Counter()
        self.blocks: Counter[bytes] = Counter()
        #: Fetches of pivots that found their block, here or elsewhere.
        self.found = 0
        self._taken: set[bytes] = set()
        for node in net.nodes:
            node.watch = self._see
            self._hook(node)

    def _see(self, to: bytes, cell: Cell, when: float) -> None:
        self.bytes[cell.command] += cell.size
        if cell.command is Command.BLOCK:
            self.blocks[cell.body[:16]] += 1
        elif cell.command is Command.TAKE:
            self._taken.add(cell.body[32:48])

    def _hook(self, node: CoreNode) -> None:
        """Count what this pivot's fetches end with; how far their blocks came the cells tell."""
        fetch = node.core.route.fetch

        def counted(
            type: BlockType, routing: bytes, done: Callable[[Fetched], None], now: float, second: bool = False
        ) -> None:
            def told(found: Fetched) -> None:
                self.found += bool(found.blocks)
                done(found)

            fetch(type, routing, told, now, second)

        node.core.route.fetch = counted  # type: ignore[method-assign]

    def spread(self) -> list[int]:
        """Links that the block of each took, in order; none where the pivot itself had it."""
        hops = sorted(count for uid, count in self.blocks.items() if uid not in self._taken)
        return [0] * (self.found - len(hops)) + hops

    def total(self) -> int:
        return sum(self.bytes.values())


@dataclass
class Tally:
    """What became of readers."""

    asked: int = 0
    done: int = 0
    again: int = 0
    left: int = 0
    at_once: int = 0
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    amplification: list[float] = field(default_factory=list)

    def take(self, readers: list[Reader]) -> None:
        for reader in readers:
            if reader.has_left and reader.done is None:
                self.left += 1
                continue
            self.asked += 1
            is_done = reader.done is not None
            self.again += is_done
            if is_done and not reader.errors:
                self.done += 1
                assert reader.first is not None and reader.done is not None
                self.first.append(reader.first)
                self.whole.append(reader.done)
            self.at_once += bool(reader.errors) and reader.refused_at_once > 0
            self.errors.update(reader.errors[:1] or ([] if is_done else ["waiting"]))


def at(values: Sequence[T], share: float) -> T:
    """A quantile."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def seconds(values: list[float]) -> str:
    """p50, p95 and the most."""
    if not values:
        return "      -       -        -"
    return f"{at(values, 0.5):7.1f} {at(values, 0.95):7.1f} {max(values):8.1f}"


def made(options: argparse.Namespace, seed: int, nodes: int | None = None) -> CoreNet:
    uplink = options.uplink * 1000.0 if options.uplink else None
    net = CoreNet(nodes or options.nodes, seed, pivot_rate=PIVOT_RATE, uplink=uplink)
    net.settle(SETTLE_S)
    return net


def fetched(options: argparse.Namespace, seed: int, variant: str, tally: Tally) -> None:
    net = made(options, seed)
    owner, data = net.nodes[0], random.Random(seed).randbytes(options.size)
    sessions = Sessions(net, away=options.churn, stay=(owner,))
    if variant == "sessions":
        sessions.start()
        net.run(1_800)
    uri = publish(owner, data)
    net.run(30)
    leaving = net.rng.sample(net.nodes[1:], int(options.churn * options.nodes))
    if variant == "gone":
        sessions.leave_at_once(leaving)
        net.run(5)
    watch = Watch(net)
    readers: list[Reader] = []

    def begin() -> None:
        there = [node for node in net.nodes[1:] if node.is_up and node not in {reader.node for reader in readers}]
        reader = Reader(net.rng.choice(there), uri, options.size, tries=TRIES)
        readers.append(reader)
        reader.start()

    over = 60.0 * options.minutes if variant == "sessions" else 0.0
    for _ in range(options.readers):
        net.clock.after(net.rng.random() * over, begin)
    if variant == "amid":
        net.run(3)
        sessions.leave_at_once(leaving)
        sessions.start(in_balance=False)
    net.run(over + 0.01)
    net.run_until(lambda: all(reader.is_over for reader in readers), PATIENCE_S, 1.0)
    tally.take(readers)
    if variant == "stay":
        delivered = sum(reader.got for reader in readers)
        idle = (Command.PING, Command.PONG, Command.PAD, Command.DESC, Command.DESC_REQ)
        tally.amplification.append((watch.total() - sum(watch.bytes[one] for one in idle)) / delivered)


def fetches(options: argparse.Namespace) -> None:
    print(f"\n{options.readers} of {options.nodes} nodes fetch {options.size} bytes, {options.seeds} networks each")
    print("variant    asked  first  again  at once  left   first byte p50, p95, most    whole p50, p95, most   errors")
    for variant in options.variants.split(","):
        tally, begun = Tally(), time.time()
        for seed in range(1, options.seeds + 1):
            fetched(options, seed, variant, tally)
        print(
            f"{variant:9} {tally.asked:6d} {tally.done / tally.asked:6.3f} {tally.again / tally.asked:6.3f}"
            f" {tally.at_once:8d} {tally.left:5d}  {seconds(tally.first)}  {seconds(tally.whole)}  {dict(tally.errors)}"
            + (f" amplification {at(tally.amplification, 0.5):.1f}" if tally.amplification else "")
            + f"; {time.time() - begun:.0f} s of computing",
            flush=True,
        )


def hops(options: argparse.Namespace) -> None:
    print("\nlinks that a block takes to its pivot; `cold`: the first reader's")
    print("nodes  reader    mean  p50  p95  most  of fetches")
    for nodes in (25, 50, 100, 200):
        cold: list[int] = []
        every: list[int] = []
        for seed in range(1, options.seeds + 1):
            net = made(options, seed, nodes)
            uri = publish(net.nodes[0], random.Random(seed).randbytes(options.size))
            net.run(30)
            watch = Watch(net)
            for number, node in enumerate(net.rng.sample(net.nodes[1:], min(15, nodes - 1))):
                wait(Reader(node, uri, options.size), 300)
                if number == 0:
                    cold += watch.spread()
            every += watch.spread()
        for name, found in (("cold", cold), ("all", every)):
            p50, p95 = at(found, 0.5), at(found, 0.95)
            mean = sum(found) / len(found)
            print(f"{nodes:5d}  {name:6} {mean:7.2f} {p50:4d} {p95:4d} {max(found):5d} {len(found):8d}", flush=True)


def wait(reader: Reader, seconds: float) -> None:
    """Let it read to its end."""
    reader.start()
    reader.node.net.run_until(lambda: reader.is_over, seconds)


def idle(options: argparse.Namespace) -> None:
    print("\nidle, ten minutes: sent by a node a second")
    print("      manners  links  kB/s: mean, most  at 12 links   shares of cover, pings, circuits, the rest")
    for name, has_decoys in (("no decoys", False), ("decoys", True)):
        net = CoreNet(options.nodes, 1, pivot_rate=PIVOT_RATE, manners=Manners(), has_decoys=has_decoys)
        net.settle(300)
        sent: Counter[bytes] = Counter()
        by: Counter[str] = Counter()
        for node in net.nodes:
            node.watch = _counter(node.id, sent, by)
        net.run(600)
        links = sum(len(node.links) for node in net.nodes) / len(net.nodes)
        mean, most = sum(sent.values()) / len(net.nodes) / 600_000, max(sent.values()) / 600_000
        shares = ", ".join(f"{by[kind] / sum(by.values()):.3f}" for kind in ("cover", "pings", "circuits", "rest"))
        print(f"{name:>13} {links:6.1f} {mean:10.2f} {most:7.2f} {mean * 12 / links:12.2f}        {shares}", flush=True)


def _counter(node: bytes, sent: Counter[bytes], by: Counter[str]) -> Callable[[bytes, Cell, float], None]:
    kinds = {Command.PAD: "cover", Command.PING: "pings", Command.PONG: "pings"}
    kinds |= dict.fromkeys((Command.OPEN, Command.CELL, Command.CLOSE, Command.CREDIT), "circuits")

    def see(to: bytes, cell: Cell, when: float) -> None:
        sent[node] += cell.size
        by[kinds.get(cell.command, "rest")] += cell.size

    return see


def search(options: argparse.Namespace) -> None:
    found: list[float] = []
    asked = 0
    for seed in range(1, options.seeds + 1):
        net = made(options, seed)
        for number, node in enumerate(net.nodes[:SHARERS]):
            share = AnonymousShare(f"tale number{number}.txt", 1, "text/plain", 1, ChkUri(bytes(32), bytes(32)), False)
            node.core.shares.add(share)
        for number, node in enumerate(net.nodes[SHARERS : SHARERS + SEARCHES]):
            asked += 1
            found += first_hit(node, f"tale number{number % SHARERS}")
            net.run(2)
    share_found = len(found) / asked
    print(
        f"\nsearches: {asked}, with a hit within 30 s {share_found:.3f}; the first after p50, p95, most: {seconds(found)}"
    )


def first_hit(node: CoreNode, text: str) -> list[float]:
    """Seconds from the question to the first hit; empty if none comes."""
    net = node.net
    times: list[float] = []
    begun = net.clock.now
    one = Search(
        node.core.client.channels,
        net.new_key,
        text,
        found=lambda _: times.append(net.clock.now - begun),
        done=lambda error: None,
    )
    one.start(net.now)
    node.wake()
    net.run_until(lambda: times, 30)
    one.stop(net.now)
    return times[:1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--size", type=int, default=1 << 20)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--churn", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--uplink", type=float, default=0.0, help="kB/s of each node; 0: no limit")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--parts", default="fetch,hops,idle,search")
    options = parser.parse_args()
    parts = {"fetch": fetches, "hops": hops, "idle": idle, "search": search}
    bandwidth = f"{options.uplink:g} kB/s up" if options.uplink else "no limit of bandwidth"
    print(f"median session {MEDIAN_S:.0f} s; seeds 1 to {options.seeds}; {bandwidth}")
    for part in options.parts.split(","):
        parts[part](options)


if __name__ == "__main__":
    main()
