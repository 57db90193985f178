"""What links of the relay layer cost: setting one up, and sending cells over it, in one process over loopback.

    python benchmarks/relay_link.py [--cells 3000]

CPU is that of the process, so of both ends together; each figure is the best of three runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred

from anonymizer.cells import LARGE_BODY, Cell
from anonymizer.tls import RelayTls, Session
from anonymizer.wire import ByeReason, Ciphertext, cell_of
from gnutella.testing.aio import until
from gnutella.testing.relay_link_nodes import LinkedNode
from gnutella.testing.relay_nodes import signing_key

RUNS = 3
HANDSHAKES = 200
#: Large cells on their way at once: the window of a circuit.
WINDOW = 64
reactor: Any = installed


def best(run: Callable[[], float]) -> float:
    return min(run() for _ in range(RUNS))


def show(what: str, value: float, unit: str) -> None:
    print(f"{what:52} {value:10.1f} {unit}")


def shake(client: Session, server: Session) -> list[int]:
    """Bytes of each flight."""
    sizes, data = [], client.begin()
    while data:
        sizes.append(len(data))
        server.feed(data)
        answer = server.take()
        sizes.append(len(answer))
        client.feed(answer)
        data = client.take()
    return sizes


def handshakes() -> None:
    one, two = RelayTls(signing_key(1)), RelayTls(signing_key(2))

    def run() -> float:
        begun = time.process_time()
        for _ in range(HANDSHAKES):
            client, server = one.client(two.node_id), two.server()
            shake(client, server)
            assert client.proof("client") == server.proof("client")
        return (time.process_time() - begun) / HANDSHAKES

    show("TLS handshake and proofs, both ends, no socket", best(run) * 1e3, "ms of CPU")
    client, server = one.client(two.node_id), two.server()
    sizes = shake(client, server)
    print(f"{'bytes from the client, from the server':52} {sum(sizes[::2])}, {sum(sizes[1::2])} ({client.group})")


def sessions() -> None:
    one, two = RelayTls(signing_key(1)), RelayTls(signing_key(2))
    client, server = one.client(two.node_id), two.server()
    shake(client, server)
    piece = bytes(11_264)

    def run() -> float:
        begun = time.process_time()
        for _ in range(1_000):
            for _ in range(3):
                client.write(piece)
            server.feed(client.take())
        return (time.process_time() - begun) / 1_000

    show("TLS alone: a large cell in three records, both ends", best(run) * 1e6, "us of CPU")


async def linking(one: LinkedNode, two: LinkedNode) -> float:
    begun = time.process_time()
    for _ in range(50):
        await one.links.connect(two.address, two.id)
        await until(reactor, lambda: bool(one.links.nodes and two.links.nodes), 0.001)
        one.links.drop(two.id, ByeReason.UNWANTED)
        await until(reactor, lambda: one.links.connections == two.links.connections == 0, 0.001)
    return (time.process_time() - begun) / 50


async def cells(one: LinkedNode, two: LinkedNode, cell: Cell, count: int) -> tuple[float, float]:
    """CPU of one cell, and cells a second."""
    got = 0
    done: Deferred[None] = Deferred()

    def take(node: bytes, cell: Cell) -> None:
        nonlocal got
        got += 1
        if got == count:
            done.callback(None)
        elif got + WINDOW <= count:
            one.core.say(two.id, cell)
            one.links.wake()

    two.core.takes = take
    cpu, begun = time.process_time(), time.perf_counter()
    for _ in range(WINDOW):
        one.core.say(two.id, cell)
    one.links.wake()
    await done
    return (time.process_time() - cpu) / count, count / (time.perf_counter() - begun)


async def live(count: int) -> None:
    one, two = LinkedNode(reactor, 1), LinkedNode(reactor, 2)
    await one.start()
    await two.start()
    setups = [await linking(one, two) for _ in range(RUNS)]
    show("a link set up and ended, HELLOs and descriptors, both ends", min(setups) * 1e3, "ms of CPU")
    await one.links.connect(two.address, two.id)
    await until(reactor, lambda: bool(one.links.nodes and two.links.nodes))
    kinds = {"large": cell_of(Ciphertext(bytes(LARGE_BODY)), 3), "small": cell_of(Ciphertext(bytes(1_520)), 3)}
    for name, cell in kinds.items():
        runs = [await cells(one, two, cell, count) for _ in range(RUNS)]
        cpu, rate = min(run[0] for run in runs), max(run[1] for run in runs)
        show(f"a {name} cell over a link, both ends", cpu * 1e6, "us of CPU")
        show(f"{name} cells a second", rate, f"({rate * cell.size / 1e6:.0f} MB/s)")
    await one.stop()
    await two.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cells", type=int, default=3_000)
    options = parser.parse_args()
    handshakes()
    sessions()
    failures: list[Any] = []
    running = Deferred.fromCoroutine(live(options.cells))
    running.addErrback(failures.append).addBoth(lambda _: reactor.callWhenRunning(reactor.stop))
    reactor.run()
    if failures:
        failures[0].raiseException()


if __name__ == "__main__":
    main()
