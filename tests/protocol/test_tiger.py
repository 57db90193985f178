"""Tiger and the back ends that compute trees with it."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol import tiger_backends
from gnutella.protocol.tiger import DIGEST_SIZE, s_boxes, tiger
from gnutella.protocol.tiger_backends import (
    BACKENDS,
    BLOCK_SIZE,
    Buffer,
    PythonBackend,
    TreeBackend,
    choose,
    load,
    passes_self_test,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "tth.json").read_text())
KIB = 1024
#: Not a multiple of 256, so that no two leaves are equal.
PATTERN = bytes(range(251)) * 4200


def installed() -> list[TreeBackend]:
    return [found for name in BACKENDS if (found := load(name)) is not None]


@pytest.mark.parametrize("row", VECTORS["tiger"], ids=lambda row: f"{len(row['input_hex']) // 2}-bytes")
def test_digests_are_those_of_real_servents(row: dict[str, str]) -> None:
    data = bytes.fromhex(row["input_hex"])
    assert tiger(data).hex() == row["tiger192"]
    for backend in installed():
        assert backend.tiger(data).hex() == row["tiger192"], backend.name


def test_generated_tables_are_the_published_ones() -> None:
    row = VECTORS["sbox"][0] if isinstance(VECTORS["sbox"], list) else VECTORS["sbox"]
    tables = s_boxes()
    joined = b"".join(struct.pack("<256Q", *table) for table in tables)
    assert hashlib.sha1(joined).hexdigest() == row["sha1_of_1024_words_little_endian"]
    assert [f"{word:#018x}" for word in tables[0][:3]] == row["first"]
    assert f"{tables[3][255]:#018x}" == row["last_of_t4"]


def test_importing_costs_no_table() -> None:
    code = "import gnutella.protocol.tth, gnutella.protocol.tiger as t; print(t.s_boxes.cache_info().currsize)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert said.stdout.strip() == "0"


def test_plain_python_is_always_there_and_passes_the_self_test_of_the_others() -> None:
    assert passes_self_test(PythonBackend())
    assert load("python") is not None


@pytest.mark.parametrize("node_size", [KIB, 4 * KIB, BLOCK_SIZE, 4 * BLOCK_SIZE])
@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 3 * KIB, 5000, 70_000])
def test_back_ends_agree_on_small_ranges(size: int, node_size: int) -> None:
    wanted = PythonBackend().roots(PATTERN[:size], node_size)
    assert len(wanted) == DIGEST_SIZE * (-(-size // node_size) or 1)
    for backend in installed():
        assert backend.roots(PATTERN[:size], node_size) == wanted, backend.name


@given(size=st.integers(0, len(PATTERN)), shift=st.integers(0, 12), start=st.integers(0, 250))
def test_libraries_agree_on_any_range(size: int, shift: int, start: int) -> None:
    data = PATTERN[start : start + size]
    found = {backend.roots(data, KIB << shift) for backend in installed() if backend.name != "python"}
    assert len(found) <= 1


@pytest.mark.parametrize("name", BACKENDS)
def test_every_kind_of_buffer_gives_the_same_nodes(name: str) -> None:
    backend = load(name)
    if backend is None:
        pytest.skip(f"{name} is not installed")
    data = PATTERN[:9000]
    kinds: list[Buffer] = [bytearray(data), memoryview(data), memoryview(bytearray(data)), memoryview(b"-" + data)[1:]]
    for kind in kinds:
        assert backend.roots(kind, 4 * KIB) == backend.roots(data, 4 * KIB)


def test_hashing_does_not_change_the_data() -> None:
    for backend in installed():
        data = bytearray(PATTERN[:5000])
        backend.roots(data, KIB)
        assert data == PATTERN[:5000]


class Wrong(PythonBackend):
    """Right for short inputs only, as a library built for another byte order might be."""

    name = "librhash"

    def roots(self, data: Buffer, node_size: int) -> bytes:
        return super().roots(data, node_size)[::-1] if len(data) > KIB else super().roots(data, node_size)


class Raising(PythonBackend):
    name = "libgcrypt"

    def tiger(self, data: bytes) -> bytes:
        raise OSError("no Tiger in this mode")


def missing() -> TreeBackend:
    raise OSError("librhash.so.0: cannot open shared object file")


@pytest.mark.parametrize("broken", [Wrong, Raising, missing])
def test_a_broken_back_end_is_passed_over(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiger_backends, "BACKENDS", {"librhash": broken, "python": PythonBackend})
    assert load("librhash") is None
    assert choose("librhash").name == "python"


@pytest.mark.parametrize(("asked", "got"), [("python", "python"), ("nonsense", choose().name), ("", choose().name)])
def test_the_environment_names_the_first_to_try(asked: str, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tiger_backends.ENVIRONMENT, asked)
    tiger_backends.backend.cache_clear()
    try:
        assert tiger_backends.backend_name() == got
    finally:
        tiger_backends.backend.cache_clear()


def test_a_library_that_no_system_has_is_no_back_end() -> None:
    with pytest.raises(OSError, match="cannot open"):
        tiger_backends._load("libnosuchthing.so.1", "libnosuchthing.so.0")
