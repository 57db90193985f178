"""How many messages and bytes came, went and were dropped, by kind and by reason.

The tables have a fixed number of rows: one for each known kind, one for all others, one for each reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnutella.reasons import DropReason

#: Row of every kind that is not in KIND_ROWS.
OTHER_KIND = -1
#: Kinds with a row of their own (digest 2.1).
KIND_ROWS = (0x00, 0x01, 0x02, 0x30, 0x31, 0x32, 0x40, 0x41, 0x44, 0x80, 0x81, 0xCD)


@dataclass(slots=True)
class Traffic:
    """Messages of one kind: received, and sent (each copy counts)."""

    rx: int = 0
    tx: int = 0


class Counters:
    """All counts of one router since it started."""

    def __init__(self) -> None:
        self.messages: dict[int, Traffic] = {kind: Traffic() for kind in (*KIND_ROWS, OTHER_KIND)}
        self.rx_bytes = 0
        self.tx_bytes = 0
        #: Queries that were forwarded at least once, queries that we answered, results that we sent, hits for own queries.
        self.queries_relayed = 0
        self.queries_answered = 0
        self.results_sent = 0
        self.hits_received = 0
        self.drops: dict[DropReason, int] = dict.fromkeys(DropReason, 0)

    def kind(self, kind: int) -> Traffic:
        """The row of one kind; the common row for kinds that have none."""
        row = self.messages.get(kind)
        return self.messages[OTHER_KIND] if row is None else row

    @property
    def rx_messages(self) -> int:
        return sum(row.rx for row in self.messages.values())

    @property
    def tx_messages(self) -> int:
        return sum(row.tx for row in self.messages.values())

    def dropped(self) -> dict[str, int]:
        """Label -> count of the reasons that occurred, for tables and metrics."""
        return {reason.value: count for reason, count in self.drops.items() if count}
