"""The service, as the user's side of it sees it: what jobs and commands are given, and nothing that acts for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.internet.defer import Deferred

from anonymizer.client import Client
from anonymizer.client_cache import ClientCache
from anonymizer.explain import Facts
from anonymizer.served import ServedFile
from anonymizer.shares import AnonymousShare, ShareIndex
from anonymizer.uri import ChkUri
from gnutella.network.workers import Workers


class Layer(Protocol):
    """A running relay layer, for its own user."""

    is_up: bool
    directory: Path
    disk: Workers

    @property
    def client(self) -> Client: ...

    @property
    def cache(self) -> ClientCache: ...

    @property
    def shares(self) -> ShareIndex: ...

    def now(self) -> float:
        """Seconds since 1970."""

    def wake(self) -> None:
        """Something was asked for."""

    def new_key(self) -> X25519PrivateKey:
        """A key for one search."""

    def status(self) -> dict[str, Any]:
        """How it is; keys of `anonymous status`."""

    def facts(self) -> Facts:
        """What this node stores, relays and reveals."""

    def target(self, name: str) -> str:
        """Where a finished file of that name goes."""

    def is_partial_in_use(self, path: Path) -> bool:
        """Whether a job that goes on writes there."""

    def documents_changed(self) -> None:
        """Editions were seen, or written: keep that."""

    def list_inserted(self, name: str, size: int, uri: ChkUri) -> None:
        """Answer anonymous searches with a file that was inserted."""

    def serve(self, path: Path, is_wanted: Callable[[], bool]) -> Deferred[ServedFile]:
        """Read a file and offer it by anchors."""

    def unshare(self, share: AnonymousShare) -> None:
        """Offer it no more."""

    def warning(self, share: AnonymousShare) -> str:
        """What gives an offered file away all the same."""
