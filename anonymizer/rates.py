"""How often something may be done: a bucket of tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second, at most `burst` of them at a time; full at the beginning.  Time that goes back stands still."""

    rate: float
    burst: float
    _left: float = field(init=False)
    _at: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        self._left = self.burst

    def take(self, now: float) -> bool:
        """A token, if there is one."""
        self._left = min(self.burst, self._left + self.rate * max(0.0, now - self._at))
        self._at = max(now, self._at)
        if self._left < 1:
            return False
        self._left -= 1
        return True
