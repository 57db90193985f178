"""What the router alone costs: no sockets, no Twisted, no kernel.

    python benchmarks/router_core.py [--queries 200000] [--chunk 65536] [--links 8] [--library 0]

Prints CPU microseconds for each message in these cases: queries that are relayed to all other links, the same with a library
that misses, duplicates, queries and the hits that go back, pings with ten cached pongs; then what the tables hold and how the
peak memory grew over a long run (--soak, in millions of queries).
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence

from gnutella.protocol.message import PING, PONG, QUERY, HitRecord, Ping, Pong, Query, QueryHit, encode, encode_header
from gnutella.reasons import DropReason
from gnutella.routing.actions import Flood, Send
from gnutella.routing.reverse import QUERY_GENERATION
from gnutella.routing.router import LinkInfo, Router
from gnutella.routing.seams import Shared
from gnutella.settings import RoutingSettings
from gnutella.units import Address, Guid, LinkId

TEXTS = ("creative commons music", "debian netinst iso", "public domain film noir", "lecture notes algebra pdf")


class NoFiles:
    """A library that never matches; `file_count` 0 is not even asked."""

    kbytes = 0

    def __init__(self, file_count: int) -> None:
        self.file_count = file_count

    def answer(self, payload: bytes, limit: int) -> Sequence[Shared]:
        return ()


def make_router(links: int, files: int = 0) -> Router:
    router = Router(
        RoutingSettings(trace="own"),
        Guid(b"\x11" * 16),
        NoFiles(files),
        lambda host: Address("10.1.0.1", 6346),
        random.Random(1),
        allow_private=True,
    )
    for number in range(links):
        router.link_opened(LinkId(number), LinkInfo(f"10.1.1.{number}", "10.1.0.1"), 0.0)
    return router


def queries(count: int, ttl: int = 4, hops: int = 1) -> list[tuple[Guid, bytes]]:
    """(GUID, whole message): fresh GUIDs around four payloads."""
    payloads = [Query(text).encode() for text in TEXTS]
    made: list[tuple[Guid, bytes]] = []
    raw = random.Random(count).randbytes(16 * count)
    for number in range(count):
        guid = Guid(raw[16 * number : 16 * number + 16])
        payload = payloads[number & 3]
        made.append((guid, encode_header(guid, QUERY, ttl, hops, len(payload)) + payload))
    return made


def chunks(stream: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(stream), size):
        yield stream[start : start + size]


def measure(label: str, messages: int, run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    cost = (time.process_time() - started) / messages * 1e6
    print(f"{label:58s} {cost:7.3f} us/message  ({messages} messages)")
    return cost


def feed(router: Router, link: int, stream: bytes, size: int) -> int:
    """Bytes that the actions would write."""
    written = 0
    for chunk in chunks(stream, size):
        for action in router.receive(LinkId(link), chunk, 1.0):
            if isinstance(action, Flood):
                written += len(action.data) * len(action.links)
            elif isinstance(action, Send):
                written += len(action.data)
    return written


def relay_chunks(args: argparse.Namespace, stream: bytes, count: int, size: int) -> None:
    router = make_router(args.links)
    label = f"query relayed to {args.links - 1} links, chunks of {size}"
    measure(label, count, lambda: feed(router, 0, stream, size))
    assert router.counters.messages[QUERY].tx == count * (args.links - 1)


def relay_case(args: argparse.Namespace) -> None:
    made = queries(args.queries)
    stream = b"".join(message for _, message in made)
    for size in sorted({args.chunk, 4096, 1500, len(made[0][1])}, reverse=True):
        relay_chunks(args, stream, len(made), size)
    router = make_router(args.links, files=1)
    measure("the same, a library that misses in no time", len(made), lambda: feed(router, 0, stream, args.chunk))
    spent = b"".join(message for _, message in queries(args.queries, ttl=1))
    router = make_router(args.links)
    measure("query on its last hop", args.queries, lambda: feed(router, 0, spent, args.chunk))
    router = make_router(args.links)
    recent = b"".join(message for _, message in made[:QUERY_GENERATION])
    feed(router, 0, recent, args.chunk)
    measure("duplicates from another link", len(made[:QUERY_GENERATION]), lambda: feed(router, 1, recent, args.chunk))
    assert router.counters.drops[DropReason.DUPLICATE] == len(made[:QUERY_GENERATION])


def hit_case(args: argparse.Namespace) -> None:
    made = queries(args.queries // 4)
    record = HitRecord(1, 1 << 20, "creative commons music.ogg", bytes(20))
    stream = b"".join(
        encode(guid, 5, 1, QueryHit(Address("10.9.0.1", 6346), 1, (record,), b"TEST", Guid(guid[::-1]), False))
        for guid, _ in made
    )
    router = make_router(args.links)
    feed(router, 0, b"".join(message for _, message in made), args.chunk)
    measure("hit relayed back", len(made), lambda: feed(router, 1, stream, args.chunk))
    assert router.counters.messages[0x81].tx == len(made)


def pong_case(args: argparse.Namespace) -> None:
    router = Router(
        RoutingSettings(),
        Guid(b"\x11" * 16),
        NoFiles(0),
        lambda host: Address("10.1.0.1", 6346),
        random.Random(1),
        allow_private=True,
    )
    asked: list[bytes] = []
    for number in range(args.links):
        for action in router.link_opened(LinkId(number), LinkInfo(f"10.1.1.{number}", "10.1.0.1"), 0.0):
            assert isinstance(action, Send)
            asked.append(action.data[:16])
    for number, guid in enumerate(asked):
        for host in range(10):
            pong = Pong(Address(f"10.2.{number}.{host + 1}", 6346), 5, 50)
            router.receive(LinkId(number), encode(Guid(guid), 1, 0, pong), 0.5)
    count = args.queries // 20
    alive = b"".join(encode(guid, 1, 0, Ping()) for guid, _ in queries(count))
    measure("alive ping answered with our pong", count, lambda: feed(router, 1, alive, args.chunk))
    often = b"".join(encode(guid, 3, 0, Ping()) for guid, _ in queries(count))
    measure("pings beyond the rate, refused", count, lambda: feed(router, 0, often, args.chunk))
    before = router.counters.messages[PONG].tx
    rounds = 20

    def ask() -> None:
        for number in range(rounds):
            for link in range(args.links):
                ping = encode_header(Guid(number.to_bytes(8, "big") + link.to_bytes(8, "big")), PING, 3, 0, 0)
                router.receive(LinkId(link), ping, 3.0 + 1.5 * number)

    measure("ping answered with our pong and ten cached ones", rounds * args.links, ask)
    assert router.counters.messages[PONG].tx - before == rounds * args.links * 11


def soak(args: argparse.Namespace) -> None:
    router = make_router(args.links)
    payload = Query(TEXTS[0]).encode()
    rng = random.Random(7)
    per_round = 100_000
    started = time.process_time()
    for done in range(0, int(args.soak * 1e6), per_round):
        raw = rng.randbytes(16 * per_round)
        stream = b"".join(
            encode_header(Guid(raw[at : at + 16]), QUERY, 4, 1, len(payload)) + payload for at in range(0, len(raw), 16)
        )
        feed(router, done // per_round % args.links, stream, args.chunk)
        if done % 1_000_000 == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"  {done + per_round:9d} queries: tables {router.table_sizes()['queries']:7d}, peak {peak} MiB")
    print(f"  {time.process_time() - started:.1f} s CPU with making the queries")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the router alone.")
    parser.add_argument("--queries", type=int, default=200_000)
    parser.add_argument("--chunk", type=int, default=65_536)
    parser.add_argument("--links", type=int, default=8)
    parser.add_argument("--soak", type=float, default=0.0, help="millions of queries for the memory figure")
    args = parser.parse_args()
    relay_case(args)
    hit_case(args)
    pong_case(args)
    if args.soak:
        soak(args)


if __name__ == "__main__":
    main()
