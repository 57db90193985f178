"""The fuzzing targets on the corpus and on a few thousand damaged inputs; benchmarks/fuzz.py does the same by the million."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gnutella.protocol.kinds import KIND_NAMES
from gnutella.testing.fuzz_seeds import corpus
from gnutella.testing.fuzz_targets import Target, targets

TESTS = Path(__file__).parent
TARGETS = {target.name: target for target in targets(TESTS)}
#: Other rooms keep inputs there that only their own tests understand.
CORPUS = [(name, n, data) for name, inputs in corpus(TESTS).items() if name in TARGETS for n, data in enumerate(inputs)]
#: Inputs for each target here; the nightly run has millions.
COUNT = 150


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """benchmarks/fuzz.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("fuzz_program", TESTS.parent / "benchmarks/fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "number", "data"), CORPUS, ids=[f"{name}-{number}" for name, number, _ in CORPUS])
def test_the_corpus_is_read_or_refused(fuzz: ModuleType, name: str, number: int, data: bytes) -> None:
    tally = fuzz.Tally()
    fuzz.try_input(TARGETS[name], data, tally)
    assert tally.crashes == []
    assert tally.accepted + tally.refused.total() == 1


def test_each_kind_of_message_has_a_target_and_the_corpus_is_found() -> None:
    assert set(KIND_NAMES.values()) <= set(TARGETS)
    assert {"query_hit", "ggep", "query", "router", "qrp"} <= {name for name, _, _ in CORPUS}
    assert len(CORPUS) >= 30


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_read_or_refused(fuzz: ModuleType, name: str) -> None:
    tally = fuzz.fuzz([TARGETS[name]], COUNT, seed=20261122)[name]
    assert tally.crashes == []
    assert tally.inputs == COUNT == tally.accepted + tally.refused.total()


def test_a_crash_is_counted_and_kept_with_its_bytes(fuzz: ModuleType) -> None:
    def fails(data: bytes) -> None:
        raise KeyError(len(data))

    tally = fuzz.fuzz([Target("broken", 1, fails, (b"seed",))], 50, seed=1)["broken"]
    assert (tally.crashed, tally.accepted) == (50, 0)
    assert len(tally.crashes) == fuzz.MAX_CRASHES
    data, trace = tally.crashes[0]
    assert f"KeyError: {len(data)}" in trace


def test_the_same_seed_makes_the_same_inputs(fuzz: ModuleType) -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        fuzz.fuzz([Target("seen", 1, seen.append, (b"some seed", b"another"))], 100, seed)
        return seen

    assert inputs(7) == inputs(7)
    assert inputs(7) != inputs(8)
