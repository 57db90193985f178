"""Asking a peer for all it shares (browse host): one GET, an answer of query hit messages, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gnutella.errors import Refused
from gnutella.network.exchange import MAX_BROWSE_BYTES
from gnutella.network.fetch import Fetch, Kind, Request
from gnutella.protocol.http import ResponseHead
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.transfers.upload import BROWSE_TYPE
from gnutella.units import Address


class Browse:
    """One look at one peer's files.  `result` fires with the messages' bytes, or fails with Refused."""

    def __init__(self, reactor: Any, settings: TransferSettings, user_agent: str) -> None:
        self.fetch = Fetch(reactor, self, user_agent, settings.request_timeout_s, settings.request_timeout_s)
        self.result: Deferred[bytes] = Deferred(lambda _: self.fetch.close())
        self._parts: list[bytes] = []

    def start(self, dial: Callable[[Address, Fetch, float], Deferred[Any]], address: Address, timeout_s: float) -> None:
        """Connect and ask."""
        self.fetch.host_header = str(address)
        dial(address, self.fetch, timeout_s).addErrback(self._fail)

    def _fail(self, failure: Failure) -> None:
        if not self.result.called:
            self.result.errback(failure)

    def opened(self, fetch: Fetch) -> None:
        """Fetch is connected."""
        fetch.ask(Request(Kind.DATA, "/"), [("Accept", BROWSE_TYPE), ("Connection", "close")])

    def answered(self, fetch: Fetch, request: Request, response: ResponseHead) -> int | None:
        """Fetch got a head."""
        return MAX_BROWSE_BYTES if response.status == 200 else None

    def received(self, fetch: Fetch, request: Request, data: bytes) -> None:
        """Fetch got some hits."""
        self._parts.append(data)

    def completed(self, fetch: Fetch, request: Request, response: ResponseHead) -> None:
        """Fetch got all of them."""
        fetch.close()
        if response.status == 200:
            self.result.callback(b"".join(self._parts))
        else:
            self.result.errback(Refused(DropReason.SOURCE_REFUSED, f"status {response.status}"))

    def lost(self, fetch: Fetch, reason: DropReason, detail: str) -> None:
        """Fetch is over before its time."""
        if not self.result.called:
            self.result.errback(Refused(reason, detail))
