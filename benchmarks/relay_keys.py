"""What the storage formats of the relay layer cost: sealing, checking and opening blocks, redundancy, blocks on disk.

    python benchmarks/relay_keys.py [--mib 16]

Prints MB/s of file data (or microseconds for one block) on one core, each the best of three runs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from anonymizer.blocks import CHK, SSK, verify
from anonymizer.chk import DATA, pad, seal, unseal
from anonymizer.fec import check_texts, recover
from anonymizer.files import FileReader, Splitter
from anonymizer.ssk import WriteKey, keyword_key
from anonymizer.store import BlockStore, Recent
from anonymizer.uri import ChkUri

MIB = 1 << 20
REPEATS = 200


def best(run: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest of some runs."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        found.append(time.perf_counter() - begun)
    return min(found)


def _repeat(run: Callable[[], object]) -> None:
    for _ in range(REPEATS):
        run()


def split(data: bytes, *, redundant: bool) -> tuple[ChkUri, dict[bytes, bytes]]:
    splitter = Splitter(os.urandom(32), redundant=redundant)
    held = {block.routing: block.sealed for block in splitter.feed(data)}
    uri, last = splitter.finish("application/octet-stream")
    return uri, {**held, **{block.routing: block.sealed for block in last}}


def fetch(uri: ChkUri, held: dict[bytes, bytes], lost_every: int = 0) -> None:
    """Read a file; of the blocks asked for each one in `lost_every` is lost."""
    reader, number = FileReader(uri), 0
    while not reader.is_done:
        for routing in reader.ask(64):
            number += 1
            if lost_every and number % lost_every == 0:
                reader.lost(routing)
            else:
                reader.receive(routing, held[routing])
        reader.take()


def show(what: str, value: float, unit: str) -> None:
    print(f"{what:44} {value:10.1f} {unit}")


def files(mib: int) -> None:
    data = os.urandom(mib * MIB)
    mega = len(data) / 1e6
    for redundant in (False, True):
        word = "with checks" if redundant else "without checks"
        show(f"split {word}", mega / best(partial(split, data, redundant=redundant)), "MB/s")
    uri, held = split(data, redundant=True)
    show("read, nothing lost", mega / best(lambda: fetch(uri, held)), "MB/s")
    show("read and heal, one block in ten lost", mega / best(lambda: fetch(uri, held, 10)), "MB/s")
    texts = [pad(data[at : at + 32_768]) for at in range(0, 16 * 32_768, 32_768)]
    checks = check_texts(texts, 16)
    size = 16 * 32_768 / 1e6
    show("16 check texts of 16", size / best(lambda: check_texts(texts, 16)), "MB/s")
    show("16 lost of 16", size / best(lambda: recover({16 + n: text for n, text in enumerate(checks)}, 16)), "MB/s")


def blocks() -> None:
    key = os.urandom(32)
    block = seal(pad(b"x" * 32_768), key, DATA, 0)
    owner = WriteKey(os.urandom(32), os.urandom(32))
    record = owner.write("page", 1, b"x", os.urandom(16))
    routing = owner.read_key.routing("page")
    runs: dict[str, Callable[[], object]] = {
        "check a content block": lambda: verify(CHK, block.routing, block.sealed),
        "check and open a content block": lambda: unseal(block.routing, block.sealed, key, DATA, 0),
        "check a signed record": lambda: verify(SSK, routing, record),
    }
    for what, run in runs.items():
        show(what, best(partial(_repeat, run)) / REPEATS * 1e6, "us")
    show("a keyword key", best(lambda: keyword_key("keyword")) * 1e3, "ms")


def disk() -> None:
    made = [seal(pad(os.urandom(32_768)), bytes(32), DATA, number) for number in range(500)]
    with tempfile.TemporaryDirectory() as place:
        store = BlockStore(Path(place), os.urandom(32), Recent())
        store.open()
        show(
            "put a block on disk",
            best(lambda: [store.put(CHK, b.routing, b.sealed) for b in made], 1) / 500 * 1e6,
            "us",
        )
        show("get a block from disk", best(lambda: [store.get(CHK, b.routing) for b in made]) / 500 * 1e6, "us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mib", type=int, default=16, help="size of the file")
    files(parser.parse_args().mib)
    blocks()
    disk()


if __name__ == "__main__":
    main()
