"""What a pivot costs on one core: blocks, hits and circuits through it, and how much of that is not the cipher.

    python benchmarks/relay_pivot.py [--blocks 2048]

Nothing is sent anywhere: the stem takes what is said and forgets it, the route finds every block at once.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from anonymizer.inner import (
    LARGE_PLAIN,
    SMALL_PLAIN,
    Anchor,
    FetchKeys,
    InnerBlock,
    InnerSeek,
    Join,
    StoreBlock,
)
from anonymizer.posts import seal_post
from anonymizer.wire import BlockType
from gnutella.testing.pivot_world import Far, PivotNode, PivotWorld, content, key_of

CHK = BlockType.CHK
BLOCKS = dict(content(number) for number in range(64))
KEYS = [key_of(routing) for routing in BLOCKS]
TOKEN = b"t" * 16


class Silent(PivotWorld):
    """Cells that pivots say go nowhere once `is_silent`; bridges and what far ends say still work."""

    is_silent = False

    def down(self, node: PivotNode, number: int, data: bytes) -> None:
        if not self.is_silent:
            super().down(node, number, data)


class Forgetful(list[tuple[int, bytes, bytes, bool]]):
    """What the route was given to store, and does not keep."""

    def append(self, item: tuple[int, bytes, bytes, bool]) -> None:
        pass


def timed(run: Callable[[], object], count: int) -> float:
    """Microseconds of one of `count`: the best of three runs."""
    found = []
    for _ in range(3):
        begun = time.process_time()
        run()
        found.append(time.process_time() - begun)
    return min(found) / count * 1e6


def _cipher(size: int, opens: bool) -> float:
    aead, nonce, plain = ChaCha20Poly1305(os.urandom(32)), bytes(12), os.urandom(size)
    sealed = aead.encrypt(nonce, plain, None)

    def run() -> None:
        for _ in range(500):
            if opens:
                aead.decrypt(nonce, sealed, None)
            else:
                aead.encrypt(nonce, plain, None)

    return timed(run, 500)


def _world(count: int = 1) -> Silent:
    world = Silent(count)
    for routing, block in BLOCKS.items():
        world.nodes[0].route.blocks[CHK, routing, False] = (block,)
    return world


def _heard(world: PivotWorld, far: Far, cells: list[bytes]) -> None:
    for data in cells:
        far.node.pivot.heard(far.number, data, world.now)
        world.timers.run(world.now)


def _best(make: Callable[[], tuple[Callable[[], None], int]]) -> float:
    """As `timed`, with new ends for each run, for no cell opens twice."""
    return min(timed_once(*make()) for _ in range(3))


def timed_once(run: Callable[[], None], count: int) -> float:
    begun = time.process_time()
    run()
    return (time.process_time() - begun) / count * 1e6


def by_route(count: int) -> tuple[Callable[[], None], int]:
    """Sixteen keys come in a small cell, sixteen blocks are said."""
    world = _world()
    far = world.open()
    world.is_silent = True
    assert far.end is not None
    cells = [far.end.say(FetchKeys(tuple(KEYS[n % 4 * 16 :][:16]))) for n in range(count // 16)]
    return partial(_heard, world, far, cells), count


def stored(count: int) -> tuple[Callable[[], None], int]:
    """A block comes in a large cell, is checked and given to the route."""
    world = _world()
    world.nodes[0].route.stored = Forgetful()
    far = world.open()
    world.is_silent = True
    assert far.end is not None
    texts = list(BLOCKS.values())
    cells = [far.end.say(StoreBlock(CHK, texts[n % 64], False)) for n in range(count)]
    return partial(_heard, world, far, cells), count


def by_anchor(count: int) -> tuple[Callable[[], None], int]:
    """A provider says a block to its pivot, which checks it, and says it to who asked at that pivot."""
    world = Silent(1)
    provider = world.open(Anchor(TOKEN, bytes(32)))
    origin = world.open(Join(TOKEN))
    world.is_silent = True
    assert provider.end is not None
    texts = list(BLOCKS.items())
    work: list[tuple[bytes, bytes, bytes]] = []
    for n in range(count):
        routing, block = texts[n % 64]
        ask = origin.end.say(FetchKeys((key_of(routing),))) if origin.end else b""
        work.append((ask, provider.end.say(InnerBlock(CHK, block)), routing))

    def run() -> None:
        for ask, answer, _ in work:
            _heard(world, origin, [ask])
            _heard(world, provider, [answer])

    return run, count


def opened(count: int) -> tuple[Callable[[], None], int]:
    """A seal is opened and answered, and its circuit ends."""
    world = Silent(1)
    node = world.nodes[0]
    seals = [world.opening(node, b"\xa1\x00\x0e").sealed for _ in range(count)]
    world.is_silent = True

    def run() -> None:
        for number, sealed in enumerate(seals):
            assert node.pivot.arrived(number, sealed, b"e" * 32, world.now)
            node.hear_end(number, 0, world.now)  # type: ignore[arg-type]

    return run, count


def refused(count: int) -> tuple[Callable[[], None], int]:
    """A seal that was here before."""
    world = Silent(1)
    far = world.open()

    def run() -> None:
        for number in range(count):
            far.node.pivot.arrived(100 + number, far.opening.sealed, b"e" * 32, world.now)

    return run, count


def hits(count: int) -> tuple[Callable[[], None], int]:
    """A POST is opened and its hit said."""
    world = Silent(1)
    node = world.nodes[0]
    posts: list[bytes] = []
    for _ in range(count // 64):
        world.open(InnerSeek("elephant", 0, 64, bytes(32), False), edge=bytes((len(posts) // 64 % 16,)) * 32)
        query_id = node.seek.started[-1][0]
        key = node.keys.public[0][1:]
        posts += [seal_post(node.id, key, query_id, os.urandom(1_376), world.now) for _ in range(64)]
    world.is_silent = True

    def run() -> None:
        for sealed in posts:
            node.pivot.posted(sealed, world.now)

    return run, len(posts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2_048)
    count = parser.parse_args().blocks
    seals, opens = _cipher(LARGE_PLAIN, False), _cipher(LARGE_PLAIN, True)
    small = _cipher(SMALL_PLAIN, True)
    print(f"ChaCha20-Poly1305 of a large cell: seal {seals:.1f}, open {opens:.1f}; open a small one {small:.1f} us")
    print("us of CPU each                                    in all   without the cipher")
    for name, make, cipher in (
        ("block by the route, sixteen keys in a cell", by_route, seals + small / 16),
        ("block to be stored, checked", stored, opens + small),
        ("block of a provider, checked and passed on", by_anchor, seals + opens + small * 2),
    ):
        whole = _best(partial(make, count))
        print(f"{name:<48}{whole:8.1f}{whole - cipher:12.1f}")
    for name, make in (
        ("circuit opened (HPKE, X25519) and ended", opened),
        ("circuit refused: its seal was here before", refused),
        ("hit of a POST passed on", hits),
    ):
        print(f"{name:<48}{_best(partial(make, count)):8.1f}")


if __name__ == "__main__":
    main()
