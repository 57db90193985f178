"""Hypothesis strategies for cells and bodies, made from what the bodies say of their fields."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from anonymizer.cells import LARGE_BODY, SHAPES, SLOW, SMALL_BODY, Cell, Command
from anonymizer.fields import Body, Flag, Kind, Many, Number, Octets, OneOf, Text
from anonymizer.inner import TYPES, FetchKeys, InnerBlock, StoreBlock
from anonymizer.wire import (
    BLOCK_SIZES,
    BODIES,
    LARGE_SEALED_SIZE,
    SEALED_SIZE,
    AnyBody,
    Block,
    BlockType,
    Ciphertext,
    Open,
    Phase,
    Post,
    Store,
    budget_of,
)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """Any cell that may be sent, its body being any bytes."""
    command = draw(st.sampled_from(sorted(Command)))
    shape = SHAPES[command]
    large = draw(st.booleans()) if shape.large else False
    body = draw(st.binary(max_size=40)) * draw(st.sampled_from((1, (LARGE_BODY if large else SMALL_BODY) // 40)))
    channel = draw(st.integers(1, 2**32 - 1)) if shape.has_channel else 0
    last, slow = (bool(shape.flags & flag) and draw(st.booleans()) for flag in (2, SLOW))
    return Cell(command, body, channel, large, last, slow)


def sized(low: int, high: int) -> st.SearchStrategy[bytes]:
    """Bytes of any of these lengths, long ones made of few."""
    if high <= 64:
        return st.binary(min_size=low, max_size=high)
    lengths = st.integers(low, high) | st.sampled_from((low, high))
    return st.builds(
        lambda size, seed: (seed * (size // len(seed) + 1))[:size], lengths, st.binary(min_size=1, max_size=9)
    )


def values(kind: Kind) -> st.SearchStrategy[Any]:
    """What a field of this kind may hold."""
    if isinstance(kind, Number):
        return st.integers(kind.low, kind.high)
    if isinstance(kind, OneOf):
        return st.sampled_from(list(kind.choices))
    if isinstance(kind, Flag):
        return st.booleans()
    if isinstance(kind, Octets):
        return sized(kind.low, kind.low if kind.high is None else kind.high)
    if isinstance(kind, Text):
        most = kind.high
        return st.text(min_size=kind.low, max_size=30).filter(lambda text: len(text.encode()) <= most)
    assert isinstance(kind, Many)
    return st.lists(values(kind.kind), min_size=kind.low, max_size=min(kind.high, 16)).map(tuple)


def blocks(kind: BlockType) -> st.SearchStrategy[bytes]:
    return sized(BLOCK_SIZES[kind], BLOCK_SIZES[kind])


_UIDS = st.binary(min_size=16, max_size=16)
_NODE_IDS = st.binary(min_size=32, max_size=32)


@st.composite
def circuits_heads(draw: st.DrawFn, kind: type[Open] | type[Post]) -> Open | Post:
    phase = draw(st.sampled_from(Phase))
    budget = budget_of(phase)
    size = draw(st.sampled_from((SEALED_SIZE, LARGE_SEALED_SIZE))) if kind is Post else SEALED_SIZE
    return kind(phase, draw(_NODE_IDS), budget, draw(sized(size, size)))


def bodies() -> st.SearchStrategy[AnyBody]:
    """Any body of any command."""
    ways: list[st.SearchStrategy[AnyBody]] = []
    for kind in BODIES.values():
        if kind is Open or kind is Post:
            ways.append(circuits_heads(kind))
        elif kind is Ciphertext:
            ways.append(
                st.sampled_from((SMALL_BODY, LARGE_BODY)).flatmap(lambda size: st.builds(Ciphertext, sized(size, size)))
            )
        elif kind is Block:
            ways += [st.builds(Block, _UIDS, st.just(way), blocks(way)) for way in BlockType]
        elif kind is Store:
            flags = st.booleans()
            ways += [st.builds(Store, _UIDS, st.integers(1, 12), st.just(way), flags, blocks(way)) for way in BlockType]
        else:
            assert issubclass(kind, Body)
            ways.append(st.builds(kind, *map(values, kind.KINDS)))
    return st.one_of(ways)


def instructions() -> st.SearchStrategy[Body]:
    """Any instruction inside a circuit."""
    ways: list[st.SearchStrategy[Body]] = []
    for kind in TYPES.values():
        if kind is InnerBlock:
            ways += [st.builds(InnerBlock, st.just(way), blocks(way)) for way in BlockType]
        elif kind is StoreBlock:
            ways += [st.builds(StoreBlock, st.just(way), blocks(way), st.booleans()) for way in BlockType]
        elif kind is FetchKeys:
            key = st.builds(lambda way, routing: bytes((way,)) + routing, st.sampled_from(BlockType), _NODE_IDS)
            ways.append(st.builds(FetchKeys, st.lists(key, min_size=1, max_size=16).map(tuple)))
        else:
            ways.append(st.builds(kind, *map(values, kind.KINDS)))
    return st.one_of(ways)
