"""The four kinds of error.

`RemoteViolation`: the peer's fault; decoders raise nothing else.  `Refused`: our policy says no.  `UserError`: shown as one
line to the person, never as a traceback.  `LocalMisuse`: a bug of ours, never caught broadly.
"""

from __future__ import annotations

import os

from gnutella.reasons import DropReason


class GnutellaError(Exception):
    """Base of every error this project raises on purpose."""


class RemoteViolation(GnutellaError):
    """A peer broke the protocol.

    `reason` is the counter that it lands in; its row says which Bye code or HTTP status the peer is told.  `detail` is for
    our log and must hold no raw bytes of the peer (callers format with !r and cut).
    """

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class Refused(GnutellaError):
    """Policy refused something that was well formed."""

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class LocalMisuse(GnutellaError):
    """Our own code used an interface wrongly."""


class UserError(GnutellaError):
    """A mistake of the user's, or a state of the world that the user must know: what, which value, one fix.

    `exit_code` is one of the sysexits values of the product contract: 1 nothing found, 64 usage, 69 daemon not reachable,
    75 gave up waiting, 77 not permitted, 78 configuration.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = os.EX_USAGE) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
