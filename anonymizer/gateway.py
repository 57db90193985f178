"""The gateway: a pivot that has consented asks the plain overlay for others, in its own name and with its own address.

The node that asks is then the author of the query in truth: nothing marks it as another's.  It asks so many an hour, whoever
they are for.  What comes back is told with the address that it came from; nothing is fetched from there, here or silently
anywhere else.  It is off unless the node's owner turns it on, which its descriptor says (capability GATEWAY).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anonymizer.fields import Body
from anonymizer.inner import GateHit
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seams import Gateway

#: Queries for others, an hour (design section 3.10); as many at once after an hour without.
QUERIES_AN_HOUR: Final = 120
HOUR_S: Final = 3_600.0
_URN: Final = "urn:sha1:"
_URN_SIZE: Final = len(_URN) + 32


class GatewayDesk:
    """Takes queries for the plain overlay, within the quota; without a gateway, none."""

    def __init__(self, gateway: Gateway | None, refusals: Refusals) -> None:
        self._gateway, self._refusals = gateway, refusals
        self._left = float(QUERIES_AN_HOUR)
        self._at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether this node has consented at all."""
        return self._gateway is not None

    def ask(self, text: str, wanted: int, tell: Callable[[Body, float], bool], now: float) -> bool:
        """Ask for `text`, which may be a urn:sha1; `tell` gets at most `wanted` hits and says whether it wants more.

        False: this node does not, or not now.
        """
        if self._gateway is None:
            return False
        at, self._at = self._at, now
        if at is not None:
            self._left = min(QUERIES_AN_HOUR, self._left + (now - at) * QUERIES_AN_HOUR / HOUR_S)
        if self._left < 1:
            self._refusals.count(Refusal.GATEWAY_QUOTA)
            return False
        is_urn = len(text) == _URN_SIZE and text.lower().startswith(_URN)
        if not self._gateway.query(
            "" if is_urn else text, text if is_urn else None, _Hits(self, wanted, tell).hit, now
        ):
            return False
        self._left -= 1
        return True

    def read(self, name: str, size: int, urn: str, host: str, port: int) -> GateHit | None:
        """The hit as it is told; None, and counted, if it breaks a bound."""
        hit = GateHit(name, size, urn, host, port)
        try:
            return GateHit.from_map(hit.to_map(), Refusal.GATEWAY_HIT)
        except (Violation, UnicodeEncodeError):
            self._refusals.count(Refusal.GATEWAY_HIT)
            return None


class _Hits:
    """Of one query: each place of each file is told once."""

    def __init__(self, desk: GatewayDesk, wanted: int, tell: Callable[[Body, float], bool]) -> None:
        self._desk, self._left, self._tell = desk, wanted, tell
        self._told: set[tuple[str, str, int]] = set()

    def hit(self, name: str, size: int, urn: str, host: str, port: int, now: float) -> bool:
        place = urn or name, host, port
        if self._left and place not in self._told and (said := self._desk.read(name, size, urn, host, port)):
            self._told.add(place)
            self._left = self._left - 1 if self._tell(said, now) else 0
        return self._left > 0
