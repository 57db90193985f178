"""What the lab costs: message deliveries a second through the production router, memory a node, a large flood.

    python benchmarks/lab.py [--nodes 1000] [--queries 1000] [--degree 4] [--ttl 7] [--no-watch]

Prints the wall and CPU time of the queries, deliveries a second, peak and mean memory, and the hash of the event trace.
"""

from __future__ import annotations

import argparse
import resource
import time

from gnutella.lab import chance, topology
from gnutella.lab.content import ZipfContent
from gnutella.lab.net import Network
from gnutella.lab.stream import Line
from gnutella.settings import RoutingSettings


def resident_kib() -> int:
    """Memory of this process now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the lab.")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--degree", type=int, default=4)
    parser.add_argument("--ttl", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-watch", action="store_true", help="without the invariants, to see what they cost")
    args = parser.parse_args()
    before = resident_kib()
    started = time.perf_counter()
    net = Network(args.seed, routing=RoutingSettings(trace="off", query_ttl=args.ttl), watch=not args.no_watch)
    rng = chance.source(args.seed, "benchmark")
    content = ZipfContent(2 * args.nodes, 0.8)
    for number, files in enumerate(content.spread(args.nodes, 10 * args.nodes, rng)):
        net.add(f"n{number}", [file.shared(index) for index, file in enumerate(files, 1)])
    nodes = list(net.nodes.values())
    for one, other in topology.random_regular(args.nodes, args.degree, rng):
        net.connect(nodes[one], nodes[other], Line(chance.between(rng, 0.01, 0.08)))
    net.clock.run(2.0)
    print(f"built in {time.perf_counter() - started:.1f} s, {(resident_kib() - before) / args.nodes:.0f} KiB a node")
    deliveries, happened = net.deliveries, net.clock.happened
    wall, cpu = time.perf_counter(), time.process_time()
    quests = []
    for number in range(args.queries):
        quests.append(
            net.search(nodes[chance.below(rng, len(nodes))], content.words_of(content.draw(rng)), keeps_hits=False)
        )
        net.clock.run(2.0 + 0.05 * (number + 1))
    net.clock.run(net.clock.now + 5.0)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    delivered = net.deliveries - deliveries
    found = sum(bool(quest.found) for quest in quests)
    print(f"{args.queries} queries, TTL {args.ttl}, {found} found something")
    print(f"{delivered} chunks delivered, {net.clock.happened - happened} events, in {wall:.1f} s ({cpu:.1f} s CPU)")
    print(f"{delivered / cpu:,.0f} deliveries a second of CPU time")
    print(f"{(resident_kib() - before) / args.nodes:.0f} KiB a node at the end, with what the lab itself remembers")
    print(f"trace {net.record.digest()}")


if __name__ == "__main__":
    main()
