"""What the layer keeps in the node's state.db: who this node is, its guards, whom it knows, what it has seen and offers.

Keys, guards, editions and shares are written at once and durably (a guard that was used must be the same after a crash, an
edition must not go back); the nodes it knows now and then.  A row that cannot be read is left out, but for the keys: a node
that lost those would be another one, and all that it stored lost, so that is an error with a name.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred

from anonymizer.store import SALT_BYTES
from gnutella.errors import UserError
from gnutella.network.store import Store

#: Bytes of the keyed secret.
SECRET_BYTES: Final = 32


class Keys(Struct, frozen=True):
    """What makes the node this node.  `salt` opens its blocks, `secret` keys the delays of its answers."""

    key: bytes
    salt: bytes
    secret: bytes


class Turning(Struct, frozen=True):
    """What changes by itself: pivot keys and when they were made, and the number of the last descriptor."""

    pivot_keys: list[tuple[bytes, float]] = []
    sequence: int = 0


class Seen(Struct, frozen=True):
    """Descriptors, first sightings and sources."""

    nodes: list[tuple[bytes, float, list[bytes]]] = []


class Kept(Struct, frozen=True):
    """Guards (node, until when, whether it ever was an edge), in their order."""

    guards: list[tuple[bytes, float, bool]] = []


class Documents(Struct, frozen=True):
    """The newest edition seen of each document, by routing key."""

    editions: dict[bytes, int] = {}


class Offers(Struct, frozen=True):
    """What anonymous searches are answered with, as rows of ShareIndex; of anchored files path and file key, by URI.

    `sha1` of each, by the routing key of its manifest, is for warnings: it is in no row, since rows are told to others.
    """

    shares: list[tuple[str, int, str, int, str, bool, bytes, bytes]] = []
    anchored: dict[str, tuple[bytes, bytes]] = {}
    sha1: dict[bytes, bytes] = {}


class State(Struct):
    """All of it, as it was read."""

    keys: Keys
    turning: Turning
    seen: Seen
    kept: Kept
    documents: Documents
    offers: Offers


S = TypeVar("S", bound=Struct)


class _Part(Generic[S]):
    """One row of the table."""

    def __init__(self, name: str, kind: type[S], *, durable: bool = True) -> None:
        self.name, self.durable = name, durable
        self._decoder = msgspec.msgpack.Decoder(kind)

    def read(self, rows: dict[str, bytes]) -> S | None:
        try:
            return self._decoder.decode(rows[self.name])
        except (KeyError, msgspec.MsgspecError):
            return None


KEYS: Final = _Part("keys", Keys)
TURNING: Final = _Part("turning", Turning)
SEEN: Final = _Part("seen", Seen, durable=False)
KEPT: Final = _Part("guards", Kept)
DOCUMENTS: Final = _Part("documents", Documents)
OFFERS: Final = _Part("offers", Offers)


def load(store: Store, new_key: bytes) -> Deferred[State]:
    """What was kept; the first time, new keys with `new_key`, which are on disk when this fires."""

    def read(db: sqlite3.Connection) -> State:
        rows = dict(db.execute("SELECT name, value FROM relay"))
        keys = KEYS.read(rows)
        if keys is None and KEYS.name in rows:
            what = "the keys of the relay layer in state.db cannot be read"
            raise UserError(what, "restore state.db, or remove the row `keys` of its table relay", os.EX_CONFIG)
        if keys is None:
            keys = Keys(new_key, secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SECRET_BYTES))
            _write(db, KEYS.name, keys)
        return State(
            keys,
            TURNING.read(rows) or Turning(),
            SEEN.read(rows) or Seen(),
            KEPT.read(rows) or Kept(),
            DOCUMENTS.read(rows) or Documents(),
            OFFERS.read(rows) or Offers(),
        )

    return store.run(read, durable=True)


def save(store: Store, part: _Part[S], value: S) -> Deferred[None]:
    """Replace one part."""
    return store.run(lambda db: _write(db, part.name, value), durable=part.durable)


def _write(db: sqlite3.Connection, name: str, value: Struct) -> None:
    db.execute("INSERT OR REPLACE INTO relay VALUES (?, ?)", (name, msgspec.msgpack.encode(value)))
