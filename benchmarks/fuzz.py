"""Throw random and damaged bytes at everything that reads a stranger's bytes.

    python benchmarks/fuzz.py --count 10000000 [--seed N] [--seconds S] [--jobs 2] [--target NAME ...]
    python benchmarks/fuzz.py --replay TARGET:HEX

Prints for each target how many inputs it took, accepted and refused and for which reasons, its slowest input, and each crash
(any exception but a violation) with the bytes that reproduce it; then rate and peak memory.  Exit code 1 on any crash.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anonymizer.reasons import Violation
from gnutella.errors import RemoteViolation
from gnutella.testing.fuzz_targets import Target, targets

TESTS = Path(__file__).resolve().parent.parent / "tests"
#: Longest input made; seeds may be longer.
MAX_INPUT = 70_000
#: Crashes kept of each target and job; one is enough to mend it, a few show whether they are the same.
MAX_CRASHES = 3
#: Bytes that parsers care about.
TOKENS = (
    b"\0", b"\xc3", b"\x1c", b"\xff", b"/", b"\\", b"..", b"\r\n", b"\r\n\r\n", b"\n", b":", b",", b"-", b"=", b"%", b"\x80",
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff", b"urn:sha1:", b"urn:", b"HTTP/1.1 ", b"GET ",
    b"Content-Length: ", b"bytes=", b"0x", b"1e9", b"99999999999999999999", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf4\x8f\xbf\xbf",
    b"\xd9\xa3", b"LF", b"ALT", b"H", b"x\x9c", b"GNUTELLA CONNECT/0.6\r\n", b"GNUTELLA/0.6 200 OK\r\n",
)  # fmt: skip


@dataclass
class Tally:
    """What one target did with its inputs."""

    inputs: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    slowest_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    crashed: int = 0
    crashes: list[tuple[bytes, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.refused += other.refused
        self.crashed += other.crashed
        self.crashes += other.crashes
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest_bytes = other.slowest_s, other.slowest_bytes


def _set_byte(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    if at < len(raw):
        raw[at] = rng.randrange(256)


def _flip_bit(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    if at < len(raw):
        raw[at] ^= 1 << rng.randrange(8)


def _put_token(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    token = rng.choice(TOKENS)
    raw[at : at + rng.choice((0, len(token)))] = token


def _cut_out(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    del raw[at : at + 1 + rng.randrange(16)]


def _cut_short(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    del raw[at:]


def _repeat(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    raw[at:at] = raw[at : at + 1 + rng.randrange(40)] * (1 + rng.randrange(1 << rng.randrange(9)))


def _splice(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    raw[at:] = other[rng.randrange(len(other) + 1) :]


def _put_random(raw: bytearray, at: int, rng: random.Random, seeds: Sequence[bytes]) -> None:
    raw[at:at] = rng.randbytes(1 + rng.randrange(12))


_CHANGES: tuple[Callable[[bytearray, int, random.Random, Sequence[bytes]], None], ...] = (
    _set_byte, _set_byte, _flip_bit, _flip_bit, _put_token, _put_token, _cut_out, _cut_short, _repeat, _splice, _put_random,
)  # fmt: skip


def make_input(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One in twelve is nothing but random, the others are seeds with one to eight changes."""
    if rng.random() < 0.08:
        return rng.randbytes(rng.randrange(1 << rng.randrange(1, 11)))
    raw = bytearray(rng.choice(seeds))
    for _ in range(1 + rng.randrange(1 << rng.randrange(4))):
        rng.choice(_CHANGES)(raw, rng.randrange(len(raw) + 1), rng, seeds)
    return bytes(raw[:MAX_INPUT])


def try_input(target: Target, data: bytes, tally: Tally) -> None:
    """Run one input and count what became of it."""
    tally.inputs += 1
    begun = time.perf_counter()
    try:
        target.run(data)
    except (RemoteViolation, Violation) as violation:
        tally.refused[violation.reason.value] += 1
    except Exception:  # noqa: BLE001 - finding these is what this program is for
        tally.crashed += 1
        if len(tally.crashes) < MAX_CRASHES:
            tally.crashes.append((data, traceback.format_exc(limit=-4)))
    else:
        tally.accepted += 1
    spent = time.perf_counter() - begun
    if spent > tally.slowest_s:
        tally.slowest_s, tally.slowest_bytes = spent, len(data)


def fuzz(chosen: Sequence[Target], count: int, seed: int, seconds: float | None = None) -> dict[str, Tally]:
    """`count` inputs, or as many as fit into `seconds`; the same seed makes the same inputs."""
    rng = random.Random(seed)
    tallies = {target.name: Tally() for target in chosen}
    weights = [target.weight for target in chosen]
    deadline = None if seconds is None else time.monotonic() + seconds
    done = 0
    while done < count and (deadline is None or time.monotonic() < deadline):
        batch = min(1000, count - done)
        for target in rng.choices(chosen, weights, k=batch):
            try_input(target, make_input(rng, target.seeds), tallies[target.name])
        done += batch
    return tallies


def _job(arguments: tuple[list[str], int, int, float | None]) -> tuple[dict[str, Tally], int]:
    names, count, seed, seconds = arguments
    chosen = [target for target in targets(TESTS) if target.name in names]
    tallies = fuzz(chosen, count, seed, seconds)
    return tallies, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _print_report(tallies: dict[str, Tally]) -> None:
    print(f"{'target':16} {'inputs':>10} {'accepted':>10} {'refused':>10} {'slowest':>10}  reasons")
    for name, tally in tallies.items():
        reasons = ", ".join(f"{reason} {number}" for reason, number in tally.refused.most_common())
        slowest = f"{tally.slowest_s * 1000:.1f} ms"
        print(f"{name:16} {tally.inputs:10} {tally.accepted:10} {tally.refused.total():10} {slowest:>10}  {reasons}")
    for name, tally in tallies.items():
        for data, trace in tally.crashes:
            print(f"\nCRASH in {name} ({tally.crashed} in all); reproduce: --replay {name}:{data.hex()}\n{trace}")


def _replay(text: str) -> int:
    name, _, digits = text.partition(":")
    for target in targets(TESTS):
        if target.name == name:
            try:
                target.run(bytes.fromhex(digits))
            except (RemoteViolation, Violation) as violation:
                print(f"refused: {violation}")
            else:
                print("accepted")
            return 0
    print(f"no target {name!r}", file=sys.stderr)
    return 64


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Throw random and damaged bytes at every parser.")
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument(
        "--seed", type=int, default=None, help="makes the same inputs again; default: a new one, printed"
    )
    parser.add_argument("--seconds", type=float, default=None, help="stop after this time even if inputs are left")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--replay", metavar="TARGET:HEX", help="run one input and show its traceback")
    options = parser.parse_args(arguments)
    if options.replay:
        return _replay(options.replay)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    known = [target.name for target in targets(TESTS)]
    names = options.target or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(known)}")
    print(f"seed {seed}, {options.jobs} job(s)", flush=True)
    begun = time.monotonic()
    work = [(names, options.count // options.jobs, seed + job, options.seconds) for job in range(options.jobs)]
    with multiprocessing.Pool(options.jobs) as pool:
        results = pool.map(_job, work, chunksize=1)
    spent = time.monotonic() - begun
    tallies: dict[str, Tally] = {name: Tally() for name in known if name in names}
    for found, _ in results:
        for name, tally in found.items():
            tallies[name].add(tally)
    _print_report(tallies)
    inputs = sum(tally.inputs for tally in tallies.values())
    crashes = sum(tally.crashed for tally in tallies.values())
    peak = max(kilobytes for _, kilobytes in results)
    print(
        f"\n{inputs} inputs in {spent:.1f} s ({inputs / spent:.0f}/s), {crashes} crashes, peak memory {peak // 1024} MiB a job"
    )
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
