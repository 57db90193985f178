"""Who computes tiger trees: librhash, libgcrypt, or plain Python; the fastest that is there and passes its self-test.

Neither library is required.  Each is reached by ctypes, each must reproduce known digests before it is used, and a missing or
wrong one is passed over in silence; `backend().name` says which one is at work.  The environment variable GNUTELLA_TIGER names
one to be tried first (for tests and for `gnutella doctor`).

The unit of work is the subtree: `roots(data, node_size)` gives the tree node over each `node_size` bytes, so that one call
into the library covers many leaves.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gnutella.protocol.tiger import DIGEST_SIZE, tiger

Buffer = bytes | bytearray | memoryview

LEAF_SIZE = 1024
#: Bytes hashed in one piece: small enough for a core's own cache, large enough to hide the cost of a call (measured).
BLOCK_SIZE = 256 * 1024
ENVIRONMENT = "GNUTELLA_TIGER"


class TreeBackend(Protocol):
    """What a back end can do.  Safe to call from several threads."""

    @property
    def name(self) -> str:
        """librhash, libgcrypt or python."""
        ...

    def tiger(self, data: bytes) -> bytes:
        """One plain digest."""
        ...

    def roots(self, data: Buffer, node_size: int) -> bytes:
        """The digests of the subtrees over each `node_size` bytes of `data`, joined.

        `node_size` is a power of two times 1024.  A last piece that is shorter gets the root of what is there, which is the
        right node if the file ends with it.  Empty data has one node, that of the empty file.
        """
        ...


def combine(digests: bytes, hash_one: Callable[[bytes], bytes]) -> bytes:
    """The root over the joined `digests`: pairs are hashed upwards, an odd last one is promoted unchanged."""
    while len(digests) > DIGEST_SIZE:
        digests = parents(digests, hash_one)
    return digests


def parents(digests: bytes, hash_one: Callable[[bytes], bytes]) -> bytes:
    """The level above the joined `digests`."""
    pair = 2 * DIGEST_SIZE
    whole = len(digests) - len(digests) % pair
    nodes = [hash_one(b"\x01" + digests[at : at + pair]) for at in range(0, whole, pair)]
    return b"".join(nodes) + digests[whole:]


def _address(data: Buffer) -> tuple[object, int]:
    """(what keeps the memory alive, its address); a read-only view is copied, everything else is not."""
    if isinstance(data, memoryview) and (data.readonly or not data.c_contiguous):
        data = bytes(data)
    if isinstance(data, bytes):
        return data, ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    first = ctypes.c_char.from_buffer(data)
    return first, ctypes.addressof(first)


class PythonBackend:
    """Without any library."""

    name = "python"

    def tiger(self, data: bytes) -> bytes:
        return tiger(data)

    def roots(self, data: Buffer, node_size: int) -> bytes:
        view = memoryview(data)
        nodes = []
        for start in range(0, max(len(view), 1), node_size):
            piece = bytes(view[start : start + node_size])
            leaves = [tiger(b"\x00" + piece[at : at + LEAF_SIZE]) for at in range(0, max(len(piece), 1), LEAF_SIZE)]
            nodes.append(combine(b"".join(leaves), tiger))
        return b"".join(nodes)


class RhashBackend:
    """librhash, which has the whole tree in C: a subtree's root is its tree hash of those bytes."""

    name = "librhash"
    _TIGER, _TREE = 1 << 4, 1 << 5  # hash ids of rhash.h

    def __init__(self) -> None:
        library = _load("librhash.so.1", "librhash.so.0")
        library.rhash_library_init()
        self._digest = library.rhash_msg
        self._digest.argtypes = [ctypes.c_uint, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
        self._digest.restype = ctypes.c_int

    def tiger(self, data: bytes) -> bytes:
        out = ctypes.create_string_buffer(DIGEST_SIZE)
        self._check(self._digest(self._TIGER, data, len(data), out))
        return out.raw

    def roots(self, data: Buffer, node_size: int) -> bytes:
        size = len(data)
        keep, start = _address(data) if size else (None, None)
        count = -(-size // node_size) or 1
        out = ctypes.create_string_buffer(DIGEST_SIZE * count)
        target = ctypes.addressof(out)
        for i in range(count):
            length = min(node_size, size - i * node_size)
            at = start + i * node_size if start else None
            self._check(self._digest(self._TREE, at, length, target + i * DIGEST_SIZE))
        del keep
        return out.raw

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise MemoryError("librhash could not make a hash context")


class _IoVector(ctypes.Structure):
    """gcry_buffer_t: `len` bytes at `data` + `off`."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("off", ctypes.c_size_t),
        ("len", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
    ]


_GCRYPT_TIGER1 = 306  # GCRY_MD_TIGER1: Tiger with the byte order of its paper
_GCRYPT_TEST_ALGO = 8  # GCRYCTL_TEST_ALGO
_LEAVES = BLOCK_SIZE // LEAF_SIZE
_TOP_LEVEL = _LEAVES.bit_length() - 1


class _Scratch:
    """One block's memory and, prepared once, the arguments of every call over it.

    libgcrypt knows no trees, so each leaf and node is a call.  With all arguments ready beforehand, a block's calls run in one
    C-level loop and cost little more than the hashing.
    """

    def __init__(self) -> None:
        self.block = ctypes.create_string_buffer(BLOCK_SIZE)
        self.base = ctypes.addressof(self.block)
        self._prefixes = ctypes.create_string_buffer(b"\x00\x01", 2)
        prefix = ctypes.addressof(self._prefixes)
        self.leaf_vectors = (_IoVector * (2 * _LEAVES))()
        self.rows: list[ctypes.Array[Any]] = [ctypes.create_string_buffer(DIGEST_SIZE * _LEAVES)]
        self.calls = [self._calls(self.leaf_vectors, prefix, self.base, LEAF_SIZE, self.rows[0])]
        self._keep: list[object] = []
        while len(self.rows[-1]) > DIGEST_SIZE:
            row = ctypes.create_string_buffer(len(self.rows[-1]) // 2)
            vectors = (_IoVector * (2 * len(row) // DIGEST_SIZE))()
            below = ctypes.addressof(self.rows[-1])
            self.calls.append(self._calls(vectors, prefix + 1, below, 2 * DIGEST_SIZE, row))
            self.rows.append(row)
            self._keep.append(vectors)

    @staticmethod
    def _calls(
        vectors: ctypes.Array[_IoVector], prefix: int, source: int, step: int, row: ctypes.Array[Any]
    ) -> tuple[Sequence[ctypes.c_void_p], Sequence[ctypes.c_void_p]]:
        """(where digests go, vectors that describe prefix and input), for each digest of `row`."""
        count = len(row) // DIGEST_SIZE
        for i in range(count):
            vectors[2 * i] = _IoVector(0, 0, 1, prefix)
            vectors[2 * i + 1] = _IoVector(0, 0, step, source + i * step)
        target, vector = ctypes.addressof(row), ctypes.addressof(vectors)
        width = 2 * ctypes.sizeof(_IoVector)
        return (
            [ctypes.c_void_p(target + i * DIGEST_SIZE) for i in range(count)],
            [ctypes.c_void_p(vector + i * width) for i in range(count)],
        )


class GcryptBackend:
    """libgcrypt, which most Debian systems have: Tiger in assembler, the tree by us."""

    name = "libgcrypt"

    def __init__(self) -> None:
        # The calls are of microseconds: letting go of the interpreter lock for each would cost more than it gives.
        library = _load("libgcrypt.so.20", loader=ctypes.PyDLL)
        library.gcry_check_version.restype = ctypes.c_char_p
        library.gcry_check_version(None)  # initialises the library
        # Where policy forbids Tiger (FIPS mode) the call itself would end the process: ask first.
        if library.gcry_md_algo_info(_GCRYPT_TIGER1, _GCRYPT_TEST_ALGO, None, None) != 0:
            raise OSError("this libgcrypt has no Tiger")
        self._digest = library.gcry_md_hash_buffers
        self._free: list[_Scratch] = []
        self._constants = ctypes.c_int(_GCRYPT_TIGER1), ctypes.c_uint(0), ctypes.c_int(2)

    def tiger(self, data: bytes) -> bytes:
        out = ctypes.create_string_buffer(DIGEST_SIZE)
        _, address = _address(data)
        vector = _IoVector(0, 0, len(data), address)
        if self._digest(_GCRYPT_TIGER1, 0, out, ctypes.byref(vector), 1) != 0:
            raise OSError("libgcrypt could not hash")
        return out.raw

    def roots(self, data: Buffer, node_size: int) -> bytes:
        size = len(data)
        if not size:
            return self.tiger(b"\x00")
        keep, start = _address(data)
        height = min((node_size // LEAF_SIZE).bit_length() - 1, _TOP_LEVEL)
        # pop and append are atomic: two threads never share a scratch.
        scratch = self._free.pop() if self._free else _Scratch()
        try:
            nodes = b"".join(
                self._block(scratch, start + at, min(BLOCK_SIZE, size - at), height)
                for at in range(0, size, BLOCK_SIZE)
            )
        finally:
            self._free.append(scratch)
        del keep
        if node_size <= BLOCK_SIZE:
            return nodes
        step = node_size // BLOCK_SIZE * DIGEST_SIZE
        return b"".join(combine(nodes[at : at + step], self.tiger) for at in range(0, len(nodes), step))

    def _block(self, scratch: _Scratch, source: int, length: int, height: int) -> bytes:
        ctypes.memmove(scratch.base, source, length)
        count = -(-length // LEAF_SIZE)
        short = length % LEAF_SIZE
        last = scratch.leaf_vectors[2 * count - 1]
        if short:
            last.len = short
        try:
            self._row(scratch, 0, count)
        finally:
            last.len = LEAF_SIZE
        for level in range(1, height + 1):
            self._row(scratch, level, count // 2)
            if count % 2:  # promoted
                below, above = ctypes.addressof(scratch.rows[level - 1]), ctypes.addressof(scratch.rows[level])
                ctypes.memmove(above + count // 2 * DIGEST_SIZE, below + (count - 1) * DIGEST_SIZE, DIGEST_SIZE)
            count = -(-count // 2)
        return bytes(memoryview(scratch.rows[height])[: count * DIGEST_SIZE])

    def _row(self, scratch: _Scratch, level: int, count: int) -> None:
        targets, vectors = scratch.calls[level]
        algorithm, flags, parts = self._constants
        again = itertools.repeat
        done = map(self._digest, again(algorithm), again(flags), targets[:count], vectors, again(parts))
        if any(done):
            raise OSError("libgcrypt could not hash")


def _load(*names: str, loader: type[ctypes.CDLL] = ctypes.CDLL) -> ctypes.CDLL:
    """The first of these shared objects that the system has; OSError without any."""
    for name in names[:-1]:
        try:
            return loader(name)
        except OSError:
            continue
    return loader(names[-1])


#: Fastest first (docs/measurements.md).
BACKENDS: dict[str, Callable[[], TreeBackend]] = {
    "librhash": RhashBackend,
    "libgcrypt": GcryptBackend,
    "python": PythonBackend,
}

_KNOWN_DIGEST = bytes.fromhex("2aab1484e8c158f2bfb8c5ff41b57a525129131c957b5f93")  # of b"abc"
#: Trees over bytes i mod 251: (size, node size, the joined nodes).  They reach whole blocks, short leaves and promotion.
_KNOWN_NODES = (
    (0, 1024, "5d9ed00a030e638bdb753a6a24fb900e5a63b8e73e6c25b6"),
    (
        5000,
        4096,
        "88b90538652d7f948fa15945c5a5c149a95677d0bee3503329bbe698a06fbff145e3862d9d4597f9982a4142f1f4628c",
    ),
    (
        614400,
        262144,
        "bf7e9ed498982b0c93b623df38aa3717ba3d07fe86549fb1"
        "adeb2d4e5f8443a2b01d8021028568bca4b876116971046b"
        "fe60685a76296ab2b0374bcc003aab12a64a897a59903bdf",
    ),
)


def passes_self_test(candidate: TreeBackend) -> bool:
    """Whether a back end reproduces known digests; anything it raises counts as no."""
    try:
        if candidate.tiger(b"abc") != _KNOWN_DIGEST:
            return False
        pattern = bytes(range(251)) * (614400 // 251 + 1)
        return all(candidate.roots(pattern[:size], node_size).hex() == nodes for size, node_size, nodes in _KNOWN_NODES)
    except (OSError, MemoryError, AttributeError, ValueError, TypeError, ctypes.ArgumentError):
        return False


def load(name: str) -> TreeBackend | None:
    """The back end of that name if it is here and right, else None."""
    try:
        made = BACKENDS[name]()
    except (KeyError, OSError, AttributeError):
        return None
    return made if name == "python" or passes_self_test(made) else None


def choose(first: str = "") -> TreeBackend:
    """The fastest back end that works; `first` is tried before all others."""
    for name in (first, *BACKENDS):
        found = load(name)
        if found is not None:
            return found
    raise AssertionError("plain Python always works")


@functools.cache
def backend() -> TreeBackend:
    """The back end of this process, chosen when it is first needed."""
    return choose(os.environ.get(ENVIRONMENT, ""))


def backend_name() -> str:
    """What `gnutella doctor` and `status` show."""
    return backend().name
