"""What a transfer of the relay layer costs its origin, and how fast it can be where only delay limits it.

    python benchmarks/relay_client.py [--mib 32]

The far side is scripted (gnutella.testing.relay_pivot) and runs in virtual time: seconds of the first table are those of the
network, and no computer is in them.  The second table is the origin's own processor time for each block, with all that the
origin does to it: the cells opened or sealed, the block checked and opened, the file's hash, checks made for a put.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from anonymizer import lanes, transfer
from anonymizer.channel import Channels
from anonymizer.chk import DATA_BYTES
from anonymizer.client_cache import ClientCache
from anonymizer.errors import AnonymityError
from anonymizer.files import Splitter
from anonymizer.transfer import Get, Put
from anonymizer.uri import ChkUri
from anonymizer.wire import CloseReason
from gnutella.testing.relay_pivot import RelayPivots

MIB = 1 << 20


class Timed:
    """The origin, with the processor time that it takes."""

    def __init__(self, net: RelayPivots) -> None:
        self.channels = Channels(b"o" * 32, net, net.known, net.rng, net.timers, net.new_key, lambda: "guard")
        self.seconds = 0.0
        net.origin = self

    def time(self, call: Callable[[], object]) -> None:
        begun = time.process_time()
        call()
        self.seconds += time.process_time() - begun

    def heard(self, number: int, data: bytes, now: float) -> None:
        self.time(lambda: self.channels.heard(number, data, now))

    def ended(self, number: int, reason: CloseReason, now: float) -> None:
        self.channels.ended(number, reason, now)

    def has_room(self, number: int, now: float) -> None:
        self.time(lambda: self.channels.has_room(number, now))


def publish(net: RelayPivots, data: bytes) -> ChkUri:
    splitter = Splitter(os.urandom(32), redundant=False)
    blocks = list(splitter.feed(data))
    uri, last = splitter.finish("application/octet-stream")
    net.blocks |= {block.routing: (block.sealed,) for block in [*blocks, *last]}
    return uri


def get(size: int, hop_s: float, hold_s: float) -> tuple[float, float, float]:
    """(seconds to the first byte, MB/s after it, microseconds of the origin for each block)."""
    net = RelayPivots(os.getpid(), hop_s=hop_s, hold_s=hold_s)
    uri, origin = publish(net, os.urandom(size)), Timed(net)
    firsts: list[float] = []
    ends: list[AnonymityError | None] = []

    def data(offset: int, piece: bytes) -> None:
        if not offset:
            firsts.append(net.now)

    begun = net.now
    getting = Get(origin.channels, ClientCache(), uri, data, lambda error, now: ends.append(error))
    origin.time(lambda: getting.start(net.now))
    net.run_until(lambda: bool(ends))
    if ends != [None]:
        raise SystemExit(f"the transfer failed: {ends}")
    return firsts[0] - begun, size / (net.now - firsts[0]) / 1e6, 1e6 * origin.seconds / (size / DATA_BYTES)


def put(size: int, hop_s: float, hold_s: float) -> tuple[float, float]:
    """(MB/s of file data, microseconds of the origin for each block of the file, its check block included)."""
    net = RelayPivots(os.getpid(), hop_s=hop_s, hold_s=hold_s)
    origin, data, ends = Timed(net), os.urandom(size), []
    at = 0

    def read(count: int, back: Callable[[bytes, float], None]) -> None:
        nonlocal at
        piece, at = data[at : at + count], at + count
        net.timers.at(net.now, lambda now: origin.time(lambda: back(piece, now)))

    begun = net.now
    putting = Put(origin.channels, os.urandom(32), read, lambda error, now: ends.append(error))
    putting.start(net.now)
    net.run_until(lambda: bool(ends))
    if ends != [None]:
        raise SystemExit(f"the transfer failed: {ends}")
    return size / (net.now - begun) / 1e6, 1e6 * origin.seconds / (size / DATA_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=32)
    size = parser.parse_args().mib * MIB
    print("seconds of the network: 10 hops each way, exponential delays, a virtual stem of four links upwards")
    print("| mean of a hop | mean of the stem | circuits | outstanding on each | first byte, s | MB/s then |")
    print("|---|---|---|---|---|---|")
    for hop_s, hold_s in ((0.025, 0.125), (0.05, 0.125), (0.025, 0.0)):
        for count in (2, 4):
            for window in (16, 64):
                transfer.MANY_LANES, lanes.WINDOW = count, window  # type: ignore[misc]
                first, rate, _ = get(size, hop_s, hold_s)
                print(f"| {1e3 * hop_s:.0f} ms | {4 * hold_s:.1f} s | {count} | {window} | {first:.1f} | {rate:.1f} |")
    transfer.MANY_LANES, lanes.WINDOW = 4, 64  # type: ignore[misc]
    print("processor time of the origin, the best of three")
    got = min(get(size, 0.025, 0.125)[2] for _ in range(3))
    stored = [put(size, 0.025, 0.125) for _ in range(3)]
    print(f"get: {got:.0f} us a block, {DATA_BYTES / got:.0f} MB/s")
    made = min(cpu for _, cpu in stored)
    print(
        f"put: {made:.0f} us a block with its check block, {DATA_BYTES / made:.0f} MB/s; in time {stored[0][0]:.1f} MB/s"
    )


if __name__ == "__main__":
    main()
