"""The relay layer in real processes: speed, latency, CPU and what it costs when nothing happens.

    python -m benchmarks.relay_live [--nodes 12] [--mib 10] [--gets 6] [--small 20] [--delay-ms 0] [--rest 60] [--idle 60]

Each node is a daemon (`twistd -n gnutella --anonymous`) of its own; they are linked over TLS on loopback, with the rules of an
island and no limits of rate.  One puts a file of random bytes, others get it one after the other: goodput is the file's size
divided by the seconds from the order to `done` (all), and by those from the first verified bytes to `done` (after).  Then small
files are put and fetched by others: together with the large ones they give the time to the first byte.

CPU is user + system.  `cpu_us_a_cell_hop` is that of all processes over all gets, less what they use at rest just before,
divided by the large cells that were sent: what origins do for their files, what pivots do for blocks, disks and all small cells
are in it.  `relay_us_a_cell_hop` is the median of the nodes that did nothing but pass cells on in a get (no origin, no more
sent than received, at least MIN_PASSED large ones), small ones and their share of the rest included.

Idle is a time in which nothing is asked for, cover and decoys on.
--delay-ms makes everything on relay links that much later at its receiver.  Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.transfer import cpu_seconds
from tests.live.relay_island import Island, RelayDaemon, make_file

MIB = 1 << 20
SMALL_BYTES = 20_000
#: Large cells that a node has to pass on in one get for its CPU time to tell something: the clock has steps of 10 ms.
MIN_PASSED = 100
#: For so long the CPU at rest is taken, before the gets.
REST_SAMPLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process has used until now."""

    at: float
    cpu_s: float
    tx_large: int
    rx_large: int
    tx_bytes: int

    def since(self, before: Cost) -> Cost:
        return Cost(*(getattr(self, name) - getattr(before, name) for name in self.__slots__))


def costs(nodes: list[RelayDaemon]) -> list[Cost]:
    """Of each node, with what went over its links."""
    found = []
    for node in nodes:
        traffic = node.relay()["traffic"]
        said = [traffic[key] for key in ("tx_large", "rx_large", "tx_bytes")]
        found.append(Cost(time.monotonic(), cpu_seconds(node.process.pid), *said))
    return found


def spent(after: list[Cost], before: list[Cost]) -> list[Cost]:
    return [one.since(other) for one, other in zip(after, before, strict=True)]


def fetched(node: RelayDaemon, uri: str, data: bytes) -> dict[str, Any]:
    """A get that was right."""
    row = node.get(uri, 120.0)
    if row["state"] != "done" or Path(row["path"]).read_bytes() != data:
        raise SystemExit(f"a get failed: {row}")
    return row


def rate(size: int, seconds: float) -> float:
    """MB/s."""
    return round(size / seconds / 1e6, 2)


def measure(island: Island, directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    nodes, size = island.nodes, options.mib * MIB
    data = make_file(directory / "large.bin", size)
    row = nodes[1].put(directory / "large.bin")
    if row["state"] != "done":
        raise SystemExit(f"the put failed: {row}")
    put_s, uri = row["took_s"], row["uri"]
    time.sleep(options.rest)
    before = costs(nodes)
    time.sleep(REST_SAMPLE_S)
    at_rest = [cost.cpu_s / cost.at for cost in spent(costs(nodes), before)]
    large, gets, passed = [], [], []
    for number in range(options.gets):
        reader = (2 + number) % len(nodes)
        before = costs(nodes)
        large.append(fetched(nodes[reader], uri, data))
        used = spent(costs(nodes), before)
        gets.append(used)
        for place, cost in enumerate(used):
            if place != reader and cost.tx_large >= MIN_PASSED and cost.tx_large <= cost.rx_large:
                passed.append((cost.cpu_s - at_rest[place] * cost.at) / cost.tx_large)
    hops = sum(cost.tx_large for used in gets for cost in used)
    cpu_s = sum(cost.cpu_s for used in gets for cost in used)
    rest_s = sum(rate * cost.at for used in gets for rate, cost in zip(at_rest, used, strict=True))
    wall_s = sum(statistics.mean(cost.at for cost in used) for used in gets)
    small = []
    for number in range(options.small):
        data = make_file(directory / f"small{number}.bin", SMALL_BYTES, 100 + number)
        row = nodes[number % len(nodes)].put(directory / f"small{number}.bin")
        small.append(fetched(nodes[(number + 5) % len(nodes)], row["uri"], data))
    first_large, first_small = ([row["first_byte_s"] for row in rows] for rows in (large, small))
    everything = [rate(size, row["took_s"]) for row in large]
    after = [rate(size, row["took_s"] - row["first_byte_s"]) for row in large]
    return {
        "put_mb_s": rate(size, put_s),
        "get_mb_s_all": [statistics.median(everything), everything],
        "get_mb_s_after_first": [statistics.median(after), after],
        "first_byte_s_large": [statistics.median(first_large), max(first_large)],
        "first_byte_s_small": [statistics.median(first_small), max(first_small)] if small else None,
        "cell_hops": hops,
        "cell_hops_a_block": round(hops / (options.gets * (size / 32768)), 2),
        "cpu_us_a_cell_hop": round((cpu_s - rest_s) / hops * 1e6),
        "relay_us_a_cell_hop": [round(statistics.median(passed) * 1e6), len(passed)] if passed else None,
        "cpu_share_of_machine": round(cpu_s / wall_s / (os.cpu_count() or 1), 2),
        "rss_mib": [round(memory) for memory in sorted(node.memory_kib() / 1024 for node in nodes)],
    }


def idle(nodes: list[RelayDaemon], seconds: float) -> dict[str, Any]:
    """Bytes a second and node, both ways counted where they are sent."""
    time.sleep(5)
    before = costs(nodes)
    time.sleep(seconds)
    used = spent(costs(nodes), before)
    links = [node.relay()["links"] for node in nodes]
    return {
        "idle_bytes_s_sent": round(statistics.mean(cost.tx_bytes / cost.at for cost in used)),
        "idle_cpu_share": round(statistics.mean(cost.cpu_s / cost.at for cost in used), 4),
        "links": statistics.mean(links),
    }


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=12)
    parser.add_argument("--mib", type=int, default=10)
    parser.add_argument("--gets", type=int, default=6)
    parser.add_argument("--small", type=int, default=20)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--rest", type=float, default=60.0, help="seconds between the put and the gets")
    parser.add_argument("--idle", type=float, default=60.0)
    options = parser.parse_args()
    slow = [sys.executable, "-m", "benchmarks.slow_links", f"{options.delay_ms:g}", "-n", "--pidfile=", "gnutella"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Island(directory, options.nodes, command=slow if options.delay_ms else None) as island:
            row: dict[str, Any] = {"nodes": options.nodes, "mib": options.mib, "delay_ms": options.delay_ms}
            row["load"] = round(os.getloadavg()[0], 1)
            if options.idle:
                row |= idle(island.nodes, options.idle)
            row |= measure(island, directory, options)
            row["faults"] = island.faults()
    print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
