"""The wires of a live run: a front for each servent, which everybody who connects to it comes through.  A program of its own.

    python -m gnutella.lab.relay < orders

A servent advertises its front's port, so links and transfers all pass here, and meet what links of the virtual network are
like: the same `Stream` (stream.py) gives them latency, bandwidth, losses that come late, faults at a byte; partitions hold
their bytes.  Who calls is read from /proc (callers.py), which knows only the processes that were named here.

An order is a line of JSON, a list; each is answered by one line.  Its end ends the program.

    ["front", NAME, PORT]              a port for that node (0: a free one); answers it
    ["behind", NAME, PORT, PROCESS]    where its servent listens, and who that is
    ["shut", NAME, GATEWAY or null]    nobody gets in but callers behind that gateway; ["open", NAME] takes it back
    ["line", NAME, NAME, {LINE}]       what connections between the two are like; names null: all others
    ["part", {NAME: GROUP}]            a partition; ["heal"] ends it
    ["fault", FROM, TO, KIND, AT_BYTE, SECONDS, ON]    strikes what FROM sends to TO; answers how many connections there are
    ["vanish", NAME]                   from now on nobody hears of its connections again: its power failed
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from gnutella.lab.relaying import Relays

#: A partition of a thousand nodes is the longest order.
MAX_ORDER = 1 << 20


class Orders(LineOnlyReceiver):
    """Standard input and output."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_ORDER
    transport: Any

    def __init__(self, relays: Relays, over: Callable[[object], None]) -> None:
        self._relays = relays
        self._over = over

    def lineReceived(self, line: bytes) -> None:
        verb, *arguments = json.loads(line)
        answer = getattr(self._relays, f"order_{verb}")(*arguments)
        self.transport.write(json.dumps(answer).encode() + b"\n")

    def connectionLost(self, reason: Any = None) -> None:
        self._over(None)


def main(reactor: Any) -> Deferred[None]:
    """Obey until the input ends."""
    over: Deferred[None] = Deferred()
    orders: Protocol = Orders(Relays(reactor), lambda _: over.callback(None))
    StandardIO(orders, reactor=reactor)
    return over


if __name__ == "__main__":
    react(main)
    sys.exit(0)
