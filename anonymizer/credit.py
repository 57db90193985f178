"""Windows: how much of a circuit may be under way between two neighbours, in each direction.

Whoever sends has a window of 256 units, a small cell being one and a large one four; who receives gives units back by CREDIT as
what it took has left it, so what is stuck further on fills this node's window and then its neighbour's, and no more.
"""

from __future__ import annotations

from typing import Final

from anonymizer.cells import Cell
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import MAX_CREDIT

#: 256 small cells or 64 large ones, about 2.1 MB.
WINDOW: Final = MAX_CREDIT
LARGE_COST: Final = 4
#: Units that are given back at once: an eighth, so never fewer than 56 large cells can be under way, for .6 % of the bytes.
GRANT: Final = WINDOW // 8


def cost_of(cell: Cell) -> int:
    """Units of a circuit's cell."""
    return LARGE_COST if cell.is_large else 1


class Sending:
    """What may still be sent to a neighbour."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WINDOW

    def take(self, cost: int) -> bool:
        """Use so much of it; False: that is more than is left."""
        if cost > self.left:
            return False
        self.left -= cost
        return True

    def granted(self, units: int) -> None:
        """The neighbour gives them back.  Violation if it never had them."""
        if self.left + units > WINDOW:
            raise Violation(Refusal.CREDIT_EXCESS)
        self.left += units


class Receiving:
    """What a neighbour may still send, and what it is owed of that which has left."""

    __slots__ = ("left", "owed")

    def __init__(self) -> None:
        self.left = WINDOW
        self.owed = 0

    def take(self, cost: int) -> None:
        """A cell came.  Violation if the window was used up."""
        if cost > self.left:
            raise Violation(Refusal.WINDOW_OVERRUN)
        self.left -= cost

    def gone(self, cost: int) -> bool:
        """What came has left; whether it is time to give units back."""
        self.owed += cost
        return self.owed >= GRANT

    def grant(self) -> int:
        """Units to give back now."""
        units, self.owed = self.owed, 0
        self.left += units
        return units
