"""Key routing in virtual time: how often a stored block is found, over how many links, with and without nodes that leave.

    python benchmarks/relay_route.py [--sizes 20,50,100,200,1000] [--churn none,gone] [--blocks 100] [--runs 5] [--seed 1]

The routes are those of the program, with links as membership makes them (ring neighbours, an octave each, 10 wanted, 12 at
most) and without caches, so that what is found is found in a store.  30 % of the nodes leave: at once after the blocks were
stored, before anybody mends his links ("gone") or after ("mended"), or one by one while blocks are fetched and links mended
("leaving").  `kept` is the share of blocks that a node still has at the end, `both` what is found when blocks were stored, and
are asked for, at two places, as manifests and signed records are.  At the end, the CPU of one relay for one block, with SHA-256
and without.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, field

from anonymizer.chk import routing_of
from anonymizer.fetching import Fetched
from anonymizer.route import Route
from anonymizer.timers import Timers
from anonymizer.wire import Accepted, AnyBody, Block, BlockType, Fetch
from gnutella.testing.route_net import HeldBlocks, RouteNet, RouteNode

CHK = BlockType.CHK
LEAVING = 0.3
CHURNS = ("none", "gone", "mended", "leaving")
FETCHES_OF_BLOCK = 5
#: Links are mended after so many nodes have left.
MEND_EVERY = 5
#: Seconds in which all that was begun has ended.
DRAIN_S = 200.0


@dataclass
class Tally:
    """What became of fetches."""

    found: int = 0
    asked: int = 0
    hops: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def row(self) -> str:
        hops, seconds = sorted(self.hops), sorted(self.seconds)
        mean = sum(hops) / max(1, len(hops))
        return (
            f"{self.found / max(1, self.asked):7.4f} {mean:6.2f} {hops[int(0.95 * len(hops))]:4d}"
            f" {seconds[len(seconds) // 2]:6.2f} {seconds[int(0.95 * len(seconds))]:6.2f}"
        )


def stored(net: RouteNet, count: int, places: int) -> list[bytes]:
    """Keys of blocks that were stored at so many places."""
    keys = []
    for _ in range(count):
        routing, block = net.new_block()
        for second in (False, True)[:places]:
            net.store(net.rng.choice(net.nodes), CHK, routing, block, second)
        keys.append(routing)
    net.clock.run(net.clock.now + DRAIN_S)
    return keys


def fetch(net: RouteNet, node: RouteNode, routing: bytes, tally: Tally, second: bool = False) -> bool:
    """One fetch to its end."""
    net.carried.clear()
    begun = net.clock.now
    told: list[Fetched] = net.fetch(node, CHK, routing, second)
    while not told:
        net.clock.step()
    tally.asked += 1
    if told[0].blocks:
        tally.found += 1
        tally.hops.append(len(net.sent(Block)))
        tally.seconds.append(told[0].at - begun)
    return bool(told[0].blocks)


def fetched(net: RouteNet, keys: list[bytes], churn: str, places: int, tally: Tally) -> int:
    """Every key asked for by several nodes: in `tally` how it was found at its first place; how often at either."""
    to_leave = net.rng.sample(net.nodes, int(LEAVING * len(net.nodes))) if churn != "none" else []
    if churn in ("gone", "mended"):
        while to_leave:
            net.leave(to_leave.pop())
    if churn == "mended":
        net.mend(10)
    either, wanted, leaving = 0, len(keys) * FETCHES_OF_BLOCK, len(to_leave)
    for number in range(wanted):
        while to_leave and len(to_leave) > leaving * (1 - number / wanted):
            net.leave(to_leave.pop())
            if len(to_leave) % MEND_EVERY == 0:
                net.mend(10)
        node = net.rng.choice([node for node in net.nodes if node.is_up])
        routing = keys[number % len(keys)]
        either += fetch(net, node, routing, tally) or (places > 1 and fetch(net, node, routing, Tally(), second=True))
    return either


def measure(size: int, blocks: int, seeds: range, churn: str) -> None:
    tally, kept, either = Tally(), 0, 0
    for seed in seeds:
        net = RouteNet(size, seed, has_caches=False)
        degree, keys = net.degree, stored(net, blocks, 1)
        fetched(net, keys, churn, 1, tally)
        kept += sum(bool(net.holders(CHK, routing)) for routing in keys)
        net = RouteNet(size, seed + 1_000, has_caches=False)
        either += fetched(net, stored(net, blocks, 2), churn, 2, Tally())
    total = blocks * len(seeds)
    both = either / (total * FETCHES_OF_BLOCK)
    print(f"{size:5d} {churn:8} {degree:6.1f} {tally.row()} {kept / total:6.3f} {both:7.4f}", flush=True)


def relay_cpu(count: int = 3_000) -> tuple[float, float]:
    """Microseconds of one relay for one block that it fetches, checks and passes on; and those of the hash alone."""
    block = b"\x01\x01" + random.Random(1).randbytes(32_786)
    routing, timers, out = routing_of(block), Timers(), list[tuple[bytes, AnyBody]]()
    route = Route(
        bytes(32),
        random.Random(1),
        timers,
        HeldBlocks(has_cache=False),
        lambda to, body: out.append((to, body)),
        bytes_per_s=1e9,
    )
    nodes = [bytes((number,)) * 32 for number in range(1, 13)]
    for node in nodes:
        route.link_up(node, 0.0)
    best = 1e9
    for turn in range(3):
        begun = time.process_time()
        for number in range(count):
            now, uid = turn * 1e6 + number, (turn * count + number).to_bytes(16, "big")
            route.receive(nodes[0], Fetch(uid, CHK, routing, 6, False), now)
            to = out[-1][0]
            route.receive(to, Accepted(uid), now + 0.05)
            route.receive(to, Block(uid, CHK, block), now + 0.3)
            timers.run(now + 0.4)
            assert isinstance(out[-1][1], Block)
            out.clear()
        best = min(best, time.process_time() - begun)
    begun = time.process_time()
    for _ in range(count):
        routing_of(block)
    return best / count * 1e6, (time.process_time() - begun) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="20,50,100,200,1000")
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5, help="networks of each size; of the large ones fewer")
    parser.add_argument("--churn", default=",".join(CHURNS))
    given = parser.parse_args()
    print("nodes churn    degree  found   hops  p95  t p50  t p95   kept    both")
    for size in map(int, given.sizes.split(",")):
        for churn in given.churn.split(","):
            seeds = range(given.seed, given.seed + max(1, min(given.runs, 1_000 // size)))
            measure(size, given.blocks, seeds, churn)
    whole, hash_alone = relay_cpu()
    print(f"CPU of one relay for one block: {whole:.0f} us, {hash_alone:.0f} us of them the hash")


if __name__ == "__main__":
    main()
