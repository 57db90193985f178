"""How long a blocklist of a million ranges takes to read, how much memory it holds, and how long a look-up takes.

    python benchmarks/blocklist.py [--ranges 1000000]

Ranges are spread evenly over IPv4, one line each, in each of the formats; CPU time, so that other programs do not count.
"""

from __future__ import annotations

import argparse
import ipaddress
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator

from gnutella.routing.blocklist import parse_blocklist

LOOK_UPS = 100_000
FORMATS: dict[str, Callable[[str, str], str]] = {
    "p2p": lambda first, last: f"Some Company of the World:{first}-{last}",
    "dat": lambda first, last: f"{first} - {last} , 100 , Some Company of the World",
    "cidr": lambda first, last: f"{first}/26",
}


def lines(count: int, form: Callable[[str, str], str]) -> Iterator[bytes]:
    """`count` ranges in random order of their lengths, as lines of that format."""
    rng = random.Random(1)
    step = (1 << 32) // count
    for number in range(count):
        first = number * step + rng.randrange(step // 2)
        last = first + rng.randrange(max(1, step // 3))
        yield form(str(ipaddress.IPv4Address(first)), str(ipaddress.IPv4Address(last))).encode() + b"\n"


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--ranges", type=int, default=1_000_000)
    count = options.parse_args().ranges
    rng = random.Random(2)
    hosts = [str(ipaddress.IPv4Address(rng.getrandbits(32))) for _ in range(LOOK_UPS)]
    print(f"{'format':<8} {'ranges':>9} {'read, s':>8} {'kept, MiB':>10} {'look-up, us':>12} {'listed':>7}")
    for name, form in FORMATS.items():
        text = list(lines(count, form))
        started = time.process_time()
        listed = parse_blocklist(text)
        read = time.process_time() - started
        started = time.process_time()
        found = sum(listed.find(host) is not None for host in hosts)
        look_up = (time.process_time() - started) / LOOK_UPS
        kept = _kept(text[: count // 10]) * 10
        share = found / LOOK_UPS
        print(f"{name:<8} {len(listed):>9,} {read:>8.1f} {kept / 2**20:>10.1f} {look_up * 1e6:>12.2f} {share:>7.1%}")


def _kept(text: list[bytes]) -> int:
    """Bytes that a list of these lines holds; tracing slows reading tenfold, so it is done for a part."""
    tracemalloc.start()
    listed = parse_blocklist(text)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept if len(listed) else 0


if __name__ == "__main__":
    main()
