"""What a user is told when a request of the relay layer cannot be kept: named, loud, and never a silent fallback.

Each is one line for the person (UserError); the name of the class is the word that scripts see.  No text holds a key or an
address, for texts end up in logs; what a caller may show to the person who owns the key is an attribute.
"""

from __future__ import annotations

import os
from typing import ClassVar

from gnutella.errors import UserError

#: Fewer other nodes than this hide nobody; a user may accept a smaller number by saying it.
MIN_SET = 20


class AnonymityError(UserError):
    """Base of them all.  `BECAUSE` and `DO` are its row in the documentation."""

    BECAUSE: ClassVar[str] = ""
    DO: ClassVar[str] = ""

    def __init__(self, message: str, hint: str = "", exit_code: int = os.EX_UNAVAILABLE) -> None:
        # The name first: it is what scripts look for, and what the pages explain.
        super().__init__(f"{type(self).__name__}: {message}", hint, exit_code)

    @property
    def name(self) -> str:
        return type(self).__name__


class AnonymitySetTooSmall(AnonymityError):
    """Too few others to hide among, or too few relay links."""

    BECAUSE = "fewer than 20 other nodes, or 3 links"
    DO = "wait, or `--accept-small-set N`"

    def __init__(self, nodes: int, links: int) -> None:
        super().__init__(
            f"only {nodes} other nodes are known and {links} relay links are open; nothing was sent",
            f"wait for {MIN_SET} nodes, or accept this set: --accept-small-set {nodes}",
        )
        self.nodes = nodes
        self.links = links


class NoAnonymousRoute(AnonymityError):
    """No relay takes a request of ours onward."""

    BECAUSE = "there is no first hop, no pivot to pick, or nobody who stores it"
    DO = "wait for links"


class PivotTimeout(AnonymityError):
    """The far end of a circuit did not answer in time."""

    BECAUSE = "several pivots did not answer"
    DO = "again later"


class DataNotFound(AnonymityError):
    """Nobody who was asked holds it."""

    BECAUSE = "nobody who was asked holds it"
    DO = "again later, or have it published anew"

    def __init__(self, message: str = "nobody who was asked holds it", hint: str = "") -> None:
        super().__init__(message, hint, 1)


class GatewayUnavailable(AnonymityError):
    """Only servents outside the layer have it, and no pivot asks them for us."""

    BECAUSE = "only servents outside have it"
    DO = "leave it, or fetch it in the clear"


class ProviderGone(AnonymityError):
    """Who offered it is no longer there."""

    BECAUSE = "who offered it is away"
    DO = "again later"


class IntegrityFailure(AnonymityError):
    """What came is not what its key stands for; `stage` says where it showed, `key` which (for the key's owner only)."""

    BECAUSE = "it is not what its key stands for, or older than what was seen"
    DO = "do not retry"

    def __init__(self, stage: str, key: bytes = b"") -> None:
        super().__init__(f"the data does not match its key: {stage}", "its publisher made it so; do not retry", 1)
        self.stage = stage
        self.key = key


class CoverPoor(AnonymityError):
    """A warning: most of what this node sends is its own, which shows in its volume."""

    BECAUSE = "a warning: most of what this node sends is its own"
    DO = "let it relay for a while"


class ClockSkew(AnonymityError):
    """Our clock differs from that of the others by more than descriptors and replays allow."""

    BECAUSE = "the clock of this node is wrong by minutes"
    DO = "set it"


class StateNotKept(AnonymityError):
    """The disk does not take what has to outlast a crash before anything may follow from it."""

    BECAUSE = "the disk did not keep a number, or an offer, that must outlast a crash"
    DO = "free some space"

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} cannot be kept on disk: {why}", "free some space, and ask again", os.EX_CANTCREAT)


class QuotaExceeded(AnonymityError):
    """More than this node, or a relay, takes at a time."""

    BECAUSE = "more than is taken at a time"
    DO = "wait"


class LevelRefused(AnonymityError):
    """The level asked for does not exist here; a lower one is never taken instead."""

    BECAUSE = "there is no level but `relay`"
    DO = "ask for that"


class BadKey(AnonymityError):
    """A text that is no key of the relay layer."""

    BECAUSE = "the text is no key"
    DO = "mend it"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"no key of the relay layer: {why}", "keys begin with arl:chk:, arl:usk:, arl:ssk: or arl:ksk:", os.EX_USAGE
        )


class BadSearch(AnonymityError):
    """A text that asks for nothing, or for more than a search may."""

    BECAUSE = "the text asks for nothing, or for too much"
    DO = "mend it"

    def __init__(self) -> None:
        super().__init__(
            "the search asks for nothing, or for more than 256 bytes", "give a few words of the name", os.EX_USAGE
        )


def describe() -> list[tuple[str, str, str]]:
    """Rows (name, because, what to do) for the documentation table, in order of definition."""
    return [(error.__name__, error.BECAUSE, error.DO) for error in AnonymityError.__subclasses__()]
