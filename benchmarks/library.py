"""What the catalog costs: queries that miss and that hit, changes, memory, building; and how fast files are hashed.

    python benchmarks/library.py [--names 100000] [--large 1000000] [--hash-mib 256]

Names are made up of a vocabulary of word-like strings whose frequencies fall as in natural text (Zipf-Mandelbrot), 3 to 8
words a name, with separators, numbers and endings as file names have them.  Times are CPU time (user + system) of this
process, the best of several rounds, so that a busy machine does not blur them; they include reading the query's payload.
Memory is that of a process of its own that holds a catalog of --large names and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.urn import sha1_urn
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.sharing.hashing import FileHasher

ONSETS = ("b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pr", "qu", "r", "s", "sh",
          "st", "t", "th", "tr", "v", "w", "y", "z", "")  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "oo", "ou")
CODAS = ("", "", "", "n", "r", "l", "s", "t", "m", "nd", "ck", "ng")
ENDINGS = (".mp3",) * 5 + (".avi", ".mkv", ".pdf", ".jpg", ".zip", ".ogg", ".txt")
#: Shift and exponent of the Zipf-Mandelbrot law as fitted to English.
SHIFT, EXPONENT = 2.7, 1.0
#: Distinct words for each name, on top of a base: what text of that length has.
WORDS_PER_NAME, BASE_WORDS = 0.3, 20_000
#: Hits asked for: as many as one query hit holds.
LIMIT = 10
ROUNDS = 7


class Names:
    """An endless, reproducible source of file names."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        words: dict[str, None] = {}
        while len(words) < BASE_WORDS + count * WORDS_PER_NAME:
            parts = self.rng.choices((1, 2, 3, 4), (3, 5, 3, 1))[0]
            words["".join(self.rng.choice(part) for _ in range(parts) for part in (ONSETS, VOWELS, CODAS))] = None
        self.words = list(words)
        self.weights = list(itertools.accumulate((rank + SHIFT) ** -EXPONENT for rank in range(1, len(words) + 1)))

    def some(self, count: int) -> list[str]:
        return self.rng.choices(self.words, cum_weights=self.weights, k=count)

    def name(self) -> str:
        words = [word.capitalize() if self.rng.random() < 0.7 else word for word in self.some(self.rng.randint(3, 8))]
        if self.rng.random() < 0.3:
            words.append(f"({self.rng.randint(1950, 2026)})")
        if self.rng.random() < 0.3:
            words.insert(0, f"{self.rng.randint(1, 20):02d}")
        return self.rng.choice((" ", " ", "_", ".", " - ")).join(words) + self.rng.choice(ENDINGS)

    def files(self, count: int, first: int = 1) -> Iterator[SharedFile]:
        for index in range(first, first + count):
            name = self.name()
            relative = f"album {index // 12}/{name}"
            sha1 = hashlib.sha1(b"%d" % index, usedforsecurity=False).digest()
            yield SharedFile(
                index, name, index * 4099, 1_700_000_000 + index, f"/srv/share/{relative}", sha1, sha1 + b"1234", relative,
                "/srv/share", (1_700_000_000 + index) * 1_000_000_000 + index,
            )  # fmt: skip


def payload(text: str, extensions: bytes = b"") -> bytes:
    return b"\x88\0" + text.encode() + b"\0" + extensions


def measure(label: str, catalog: Catalog, payloads: Sequence[bytes]) -> None:
    """Microseconds of CPU a query: the mean of all, in the best round; how they spread; and how much is found."""
    best = min(cpu(lambda: ask_all(catalog, payloads)) for _ in range(ROUNDS)) / len(payloads)
    each = sorted(min(cpu(lambda: catalog.answer(query, LIMIT)) for _ in range(3)) for query in payloads)  # noqa: B023
    found = statistics.fmean(len(catalog.answer(query, LIMIT)) for query in payloads)
    print(
        f"  {label:<44}{best * 1e6:8.2f} us   median {each[len(each) // 2] * 1e6:7.2f}   "
        f"99 % {each[len(each) * 99 // 100] * 1e6:7.2f}   hits {found:.1f}"
    )


def ask_all(catalog: Catalog, payloads: Sequence[bytes]) -> None:
    for query in payloads:
        catalog.answer(query, LIMIT)


def cpu(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def queries(names: Names, catalog: Catalog, count: int = 2000) -> Iterator[tuple[str, list[bytes]]]:
    rng = names.rng
    absent = [f"{word}{rng.choice(('xq', 'zzj', 'qv'))}" for word in names.some(count)]
    plain = Ggep.of({"NP": b"", "PR": b"", "SO": b""}).encode()
    chosen = [
        file for index in rng.sample(range(1, catalog.file_count + 1), count) if (file := catalog.by_index(index))
    ]
    two = [rng.sample([word for word in file.name.rpartition(".")[0].split() if word != "-"] or ["x"] * 2, 2)
           for file in chosen if len(file.name.split()) > 3]  # fmt: skip
    yield (
        "miss: the first word is in no name",
        [payload(f"{word} {names.some(1)[0]}") for word in absent],
    )
    yield (
        "miss: the second word is in no name",
        [payload(f"{names.some(1)[0]} {word}") for word in absent],
    )
    yield "miss, with GGEP NP, PR, SO", [payload(word, plain) for word in absent]
    yield "two words of one name", [payload(" ".join(words)) for words in two]
    yield "a whole name", [payload(file.name) for file in chosen]
    yield "two words by frequency", [payload(" ".join(names.some(2))) for _ in range(count)]
    yield "two of the 30 commonest words", [payload(" ".join(rng.sample(names.words[:30], 2))) for _ in range(count)]
    yield "the beginning of a word", [payload(word[:4]) for word in names.some(count)]
    yield "URN hit", [payload("\\", sha1_urn(file.sha1 or b"").encode()) for file in chosen]
    yield "URN miss", [payload("\\", sha1_urn(rng.randbytes(20)).encode()) for _ in range(count)]
    yield "GGEP H miss", [payload("\\", Ggep.of({"H": b"\1" + rng.randbytes(20)}).encode()) for _ in range(count)]
    yield "miss, not ASCII", [payload("été " + word) for word in absent]


def rss_mib(peak: bool = False) -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM" if peak else "VmRSS"))


def in_a_worker(call: Callable[[], object]) -> tuple[float, float]:
    """Run `call` in a thread beside a loop that wants to run each millisecond: seconds it took, longest stall of the loop."""
    thread = threading.Thread(target=call)
    began = last = time.perf_counter()
    thread.start()
    longest = 0.0
    while thread.is_alive():
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return time.perf_counter() - began, longest


def report_queries(count: int) -> None:
    names = Names(count)
    catalog = Catalog().with_changes(names.files(count))
    print(f"{count} names, {len(set(catalog.words()))} words; a query, at most {LIMIT} hits:")
    for label, payloads in queries(names, catalog):
        measure(label, catalog, payloads)
    print("changes:")
    took, stall = in_a_worker(lambda: Catalog().with_changes(Names(count).files(count)))
    print(f"  all built anew in a worker thread{took:10.2f} s, longest stall of another thread {stall * 1e3:.0f} ms")
    more = list(names.files(200, count + 1))
    costs = []
    for file in more:
        began = time.process_time()
        catalog = catalog.with_changes([file])
        costs.append(time.process_time() - began)
    print(
        f"  one file added{statistics.median(costs) * 1e3:10.2f} ms median, {max(costs) * 1e3:.2f} ms worst of {len(costs)}"
    )
    gone = cpu(lambda: catalog.with_changes((), [count // 2]))
    print(f"  one file removed{gone * 1e3:10.2f} ms")


def report_memory(count: int) -> None:
    """In this process: build a catalog and say what it takes."""
    names = Names(count)
    before = rss_mib()
    began = time.process_time()
    made = sum(1 for _ in names.files(count))
    making_s = time.process_time() - began
    names = Names(count)
    began = time.process_time()
    catalog = Catalog().with_changes(names.files(count))
    spent = time.process_time() - began - making_s
    print(f"{made} names: built in {spent:.1f} s CPU ({spent / count * 1e6:.1f} us a file)")
    print(
        f"  memory {rss_mib():.0f} MiB, of which {rss_mib() - before:.0f} MiB for the catalog; highest {rss_mib(True):.0f} MiB"
    )
    for label, payloads in itertools.islice(queries(names, catalog, 500), 8):
        measure(label, catalog, payloads)


def report_hashing(mib: int) -> None:
    block = os.urandom(1 << 20)
    hasher = FileHasher(mib << 20)
    began = time.process_time()
    for _ in range(mib):
        hasher.update(block)
    hasher.finish()
    spent = time.process_time() - began
    print(f"hashing (SHA-1 and tiger tree in one read): {(mib << 20) / spent / 1e6:.0f} MB/s a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000, help="names for the memory figure; 0 leaves it out")
    parser.add_argument("--hash-mib", type=int, default=256)
    parser.add_argument("--only-memory", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_memory:
        report_memory(given.large)
        return
    report_queries(given.names)
    if given.large:
        subprocess.run([sys.executable, __file__, "--large", str(given.large), "--only-memory"], check=True)
    report_hashing(given.hash_mib)


if __name__ == "__main__":
    main()
