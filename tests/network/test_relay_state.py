"""What the layer keeps in state.db comes back as it was; what is broken does not take the rest with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from anonymizer import state
from gnutella.errors import UserError
from gnutella.network.store import open_store
from gnutella.testing.aio import async_test


async def reopened(path: Path, reactor: Any) -> Any:
    store = open_store(path, reactor)
    await store.open()
    return store


@async_test()
async def test_everything_comes_back_after_a_restart(tmp_path: Path, reactor: Any) -> None:
    store = await reopened(tmp_path, reactor)
    first = await state.load(store, b"k" * 32)
    assert first.keys.key == b"k" * 32 and len(first.keys.salt) == len(first.keys.secret) == 32
    assert (first.turning, first.kept) == (state.Turning(), state.Kept())
    turning = state.Turning([(b"p" * 32, 1.5)], 7)
    seen = state.Seen([(b"descriptor", 2.5, [b"a" * 32])])
    kept = state.Kept([(b"g" * 32, 3.5, True)])
    documents = state.Documents({b"r" * 32: 12})
    offers = state.Offers(
        [("name", 1, "text/plain", 2, "arl:chk:x", True, b"", b"t" * 24)], {"arl:chk:x": (b"/a", b"k" * 32)}
    )
    await state.save(store, state.TURNING, turning)
    await state.save(store, state.SEEN, seen)
    await state.save(store, state.KEPT, kept)
    await state.save(store, state.DOCUMENTS, documents)
    await state.save(store, state.OFFERS, offers)
    await store.close()
    store = await reopened(tmp_path, reactor)
    again = await state.load(store, b"x" * 32)
    await store.close()
    assert again == state.State(first.keys, turning, seen, kept, documents, offers)


@async_test()
async def test_a_broken_row_is_left_out_but_lost_keys_are_an_error(tmp_path: Path, reactor: Any) -> None:
    store = await reopened(tmp_path, reactor)
    first = await state.load(store, b"k" * 32)
    await store.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("INSERT INTO relay VALUES ('guards', x'c1')")
    store = await reopened(tmp_path, reactor)
    assert (await state.load(store, b"x" * 32)) == first
    await store.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("UPDATE relay SET value = x'c1' WHERE name = 'keys'")
    store = await reopened(tmp_path, reactor)
    with pytest.raises(UserError, match="keys of the relay layer"):
        await state.load(store, b"x" * 32)
    await store.close()
