"""How long a neighbour is left alone that refused, went silent or did not deliver: doubling times, a law for each cause."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Cause(Enum):
    """What went wrong; least and most seconds (design section 3.18)."""

    #: It said that it is overloaded.
    ROUTE = (1.0, 480.0)
    #: It accepted, and nothing came.
    TRANSFER = (30.0, 480.0)
    #: It did not even accept: it is not asked at all, where others are asked last.
    MANDATORY = (1.0, 300.0)

    __hash__ = object.__hash__


#: A neighbour that names a longer time itself is believed up to this.
MAX_NAMED_S: Final = 300.0


class Backoff:
    """Of one neighbour."""

    __slots__ = ("_lengths", "_until", "until")

    def __init__(self) -> None:
        self._lengths: dict[Cause, float] = {}
        self._until: dict[Cause, float] = {}
        #: Asked only when no other is left, until then.
        self.until = 0.0

    @property
    def barred_until(self) -> float:
        """Not asked at all until then."""
        return self._until.get(Cause.MANDATORY, 0.0)

    def blame(self, cause: Cause, now: float, named_s: float = 0.0) -> None:
        """Twice as long as the last time; what goes wrong during that time was begun before and does not prolong it."""
        if now < self._until.get(cause, 0.0):
            return
        least, most = cause.value
        length = min(2 * self._lengths[cause], most) if cause in self._lengths else least
        self._lengths[cause] = length
        self._until[cause] = now + max(length, min(named_s, MAX_NAMED_S))
        self.until = max(self.until, self._until[cause])

    def accepted(self) -> None:
        """It takes requests: the next time that it does not begins at the least again."""
        self._lengths.pop(Cause.ROUTE, None)
        self._lengths.pop(Cause.MANDATORY, None)

    def delivered(self) -> None:
        """It answered as it should."""
        self._lengths.clear()
        self._until.clear()
        self.until = 0.0
