"""`twistd` whose relay links deliver what comes so many milliseconds late, in order: for machines without netem.

    python -m benchmarks.slow_links 50 -n --pidfile= gnutella ...

Only for benchmarks: it replaces Link.dataReceived of this process.  With the same delay at both ends a link's round trip is
twice that.
"""

from __future__ import annotations

import sys
from typing import Any

from anonymizer.link import Link


def delay(seconds: float) -> None:
    """From now on everything that a link receives is this late, its end included."""
    receive, lose = Link.dataReceived, Link.connectionLost

    def received(link: Any, data: bytes) -> None:
        link._reactor.callLater(seconds, receive, link, data)

    def lost(link: Any, reason: Any) -> None:
        link._reactor.callLater(seconds, lose, link, reason)

    Link.dataReceived, Link.connectionLost = received, lost  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    delay(float(sys.argv.pop(1)) / 1000.0)
    from twisted.scripts.twistd import run

    sys.argv[0] = "twistd"
    run()
