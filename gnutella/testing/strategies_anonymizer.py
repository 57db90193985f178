"""Hypothesis strategies for the relay layer; they import nothing of it, so that the servent's own tests run without it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_KEYS = st.integers(0, 2**64 - 1)


def cbor_values(depth: int = 4) -> st.SearchStrategy[Any]:
    """Whatever has a canonical form, containers at most `depth` deep."""
    leaves: st.SearchStrategy[Any] = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**64), 2**64 - 1), st.binary(max_size=40), st.text(max_size=20)
    )
    if depth == 0:
        return leaves
    inner = cbor_values(depth - 1)
    return leaves | st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3)


def cbor_maps() -> st.SearchStrategy[dict[int, Any]]:
    return st.dictionaries(_KEYS, cbor_values(3), max_size=4)
