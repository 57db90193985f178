"""The relay layer in real processes: speed, latency, CPU and what it costs when nothing happens.

    python -m benchmarks.relay_live [--nodes 12] [--mib 10] [--gets 6] [--small 20] [--delay-ms 0] [--idle 60]

Each node is a daemon (`twistd -n gnutella --anonymous`) of its own; they are linked over TLS on loopback, with the rules of an
island and no limits of rate.  One puts a file of random bytes, others get it one after the other: goodput is the file's size
divided by the seconds from the order to `done` (all), and by those from the first verified bytes to `done` (after).  Then small
files are put and fetched by others: together with the large ones they give the time to the first byte.  CPU is user + system of
all processes over all gets, divided by the large cells that were sent in them, so all that goes with a large cell is in it:
its sealing and opening, small cells, blocks on disk.  Idle is a time in which nothing is asked for, cover and decoys on.
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
from pathlib import Path
from typing import Any

from benchmarks.transfer import cpu_seconds
from tests.live.relay_island import Island, RelayDaemon, make_file

MIB = 1 << 20
SMALL_BYTES = 20_000


def cost(nodes: list[RelayDaemon]) -> tuple[float, dict[str, int]]:
    """CPU seconds of all processes, and what went over their links."""
    total: dict[str, int] = {}
    for node in nodes:
        for key, count in node.relay()["traffic"].items():
            total[key] = total.get(key, 0) + count
    return sum(cpu_seconds(node.process.pid) for node in nodes), total


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
    cpu, cells = cost(nodes)
    began = time.monotonic()
    large = [fetched(nodes[(2 + number) % len(nodes)], uri, data) for number in range(options.gets)]
    spent_s = time.monotonic() - began
    after_cpu, after_cells = cost(nodes)
    hops = after_cells["tx_large"] - cells["tx_large"]
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
        "cpu_us_a_cell_hop": round((after_cpu - cpu) / hops * 1e6),
        "cpu_share_of_machine": round((after_cpu - cpu) / spent_s / (os.cpu_count() or 1), 2),
        "rss_mib": [round(memory) for memory in sorted(node.memory_kib() / 1024 for node in nodes)],
    }


def idle(nodes: list[RelayDaemon], seconds: float) -> dict[str, Any]:
    """Bytes a second and node, both ways counted where they are sent."""
    time.sleep(5)
    cpu, before = cost(nodes)
    began = time.monotonic()
    time.sleep(seconds)
    now_cpu, after = cost(nodes)
    passed = time.monotonic() - began
    links = [node.relay()["links"] for node in nodes]
    return {
        "idle_bytes_s_sent": round((after["tx_bytes"] - before["tx_bytes"]) / passed / len(nodes)),
        "idle_cpu_share": round((now_cpu - cpu) / passed / len(nodes), 4),
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
