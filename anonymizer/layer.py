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

    def partials_in_use(self) -> set[Path]:
        """Where jobs that go on write."""

    def list_inserted(self, name: str, size: int, uri: ChkUri, sha1: bytes) -> Deferred[None]:
        """Answer anonymous searches with a file that was inserted; fires when that outlasts a crash.

        Its SHA-1 is for warnings, and told to nobody.
        """

    def serve(self, path: Path, is_wanted: Callable[[], bool]) -> Deferred[ServedFile]:
        """Read a file and offer it by anchors; fires when that outlasts a crash."""

    def unshare(self, share: AnonymousShare) -> Deferred[None]:
        """Offer it no more; fires when that outlasts a crash."""

    def warning(self, share: AnonymousShare) -> str:
        """What gives an offered file away all the same."""
