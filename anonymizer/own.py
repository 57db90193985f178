"""This node's own descriptor: signed anew when it changes, when pivot keys turn, and at random times in between.

The time between two editions is exponential, so an edition says nothing about when the node was started.  Its number grows
with the hour, so that a node whose state was lost does not fall behind its former self.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anonymizer.descr import HOUR_S, MAX_LIFETIME_H, PIVOT, VERSION, Descriptor, node_id_of, sign
from anonymizer.pacing import Chance, exponential
from anonymizer.seal import PivotKeys
from gnutella.units import Address

#: Mean time between two editions.
REFRESH_S: Final = 6 * HOUR_S
#: Editions of one hour.
_EDITIONS_AN_HOUR: Final = 256


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """What the descriptor says beside keys and times.  Without an address nobody dials us."""

    address: Address | None = None
    capabilities: int = PIVOT
    bandwidth: int = 1


class OwnDescriptor:
    """See the module text.  `sequence` is that of the last edition of an earlier run."""

    def __init__(
        self,
        key: Ed25519PrivateKey,
        keys: PivotKeys,
        chance: Chance,
        now: float,
        facts: OwnFacts | None = None,
        sequence: int = 0,
    ) -> None:
        self._key, self._keys, self._chance = key, keys, chance
        self._public = key.public_key().public_bytes_raw()
        self.node_id = node_id_of(self._public)
        self.facts = facts or OwnFacts()
        self._sequence = sequence
        self.current = self._make(now)

    def tick(self, now: float) -> bool:
        """Whether there is a new edition: a pivot key turned, or it was time."""
        if not self._keys.turn(now) and now < self._due_at:
            return False
        self.current = self._make(now)
        return True

    def change(self, facts: OwnFacts, now: float) -> bool:
        """Say this from now on; whether it is anything new."""
        if facts == self.facts:
            return False
        self.facts = facts
        self.current = self._make(now)
        return True

    def _make(self, now: float) -> Descriptor:
        hour = int(now // HOUR_S)
        self._due_at = now + exponential(self._chance, REFRESH_S)
        self._sequence = max(self._sequence + 1, hour * _EDITIONS_AN_HOUR)
        address = self.facts.address
        plain = Descriptor(
            VERSION,
            self._public,
            self._keys.public,
            address.host if address else "",
            address.port if address else 0,
            self.facts.capabilities,
            self.facts.bandwidth,
            hour,
            hour + MAX_LIFETIME_H,
            self._sequence,
        )
        return sign(plain, self._key)
