"""What a user is told when a request of the relay layer cannot be kept: named, loud, and never a silent fallback.

Each is one line for the person (UserError); the name of the class is the word that scripts see.  No text holds a key or an
address, for texts end up in logs; what a caller may show to the person who owns the key is an attribute.
"""

from __future__ import annotations

import os

from gnutella.errors import UserError

#: Fewer other nodes than this hide nobody; a user may accept a smaller number by saying it.
MIN_SET = 20


class AnonymityError(UserError):
    """Base of them all."""

    def __init__(self, message: str, hint: str = "", exit_code: int = os.EX_UNAVAILABLE) -> None:
        # The name first: it is what scripts look for, and what the pages explain.
        super().__init__(f"{type(self).__name__}: {message}", hint, exit_code)

    @property
    def name(self) -> str:
        return type(self).__name__


class AnonymitySetTooSmall(AnonymityError):
    """Too few others to hide among, or too few relay links."""

    def __init__(self, nodes: int, links: int) -> None:
        super().__init__(
            f"only {nodes} other nodes are known and {links} relay links are open; nothing was sent",
            f"wait for {MIN_SET} nodes, or accept this set: --accept-small-set {nodes}",
        )
        self.nodes = nodes
        self.links = links


class NoAnonymousRoute(AnonymityError):
    """No relay takes a request of ours onward."""


class PivotTimeout(AnonymityError):
    """The far end of a circuit did not answer in time."""


class DataNotFound(AnonymityError):
    """Nobody who was asked holds it."""

    def __init__(self, message: str = "nobody who was asked holds it", hint: str = "") -> None:
        super().__init__(message, hint, 1)


class GatewayUnavailable(AnonymityError):
    """Only servents outside the layer have it, and no pivot asks them for us."""


class ProviderGone(AnonymityError):
    """Who offered it is no longer there."""


class IntegrityFailure(AnonymityError):
    """What came is not what its key stands for; `stage` says where it showed, `key` which (for the key's owner only)."""

    def __init__(self, stage: str, key: bytes = b"") -> None:
        super().__init__(f"the data does not match its key: {stage}", "its publisher made it so; do not retry", 1)
        self.stage = stage
        self.key = key


class CoverPoor(AnonymityError):
    """A warning: most of what this node sends is its own, which shows in its volume."""


class ClockSkew(AnonymityError):
    """Our clock differs from that of the others by more than descriptors and replays allow."""


class StateNotKept(AnonymityError):
    """The disk does not take what has to outlast a crash before anything may follow from it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} cannot be kept on disk: {why}", "free some space, and ask again", os.EX_CANTCREAT)


class QuotaExceeded(AnonymityError):
    """More than this node, or a relay, takes at a time."""


class LevelRefused(AnonymityError):
    """The level asked for does not exist here; a lower one is never taken instead."""


class BadKey(AnonymityError):
    """A text that is no key of the relay layer."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"no key of the relay layer: {why}", "keys begin with arl:chk:, arl:usk:, arl:ssk: or arl:ksk:", os.EX_USAGE
        )


class BadSearch(AnonymityError):
    """A text that asks for nothing, or for more than a search may."""

    def __init__(self) -> None:
        super().__init__(
            "the search asks for nothing, or for more than 256 bytes", "give a few words of the name", os.EX_USAGE
        )
