"""The node that `benchmarks/relay.py` measures when it is told no other: links and a router, an empty library.

Prints `PORT <number>` once it listens, and ends on SIGTERM.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from gnutella.testing.nodes import LinkNode


async def main(node: LinkNode) -> None:
    await node.start()
    print(f"PORT {node.address.port}", flush=True)


if __name__ == "__main__":
    measured = LinkNode(reactor, max_links=64)
    measured.links._emit = lambda event: None  # nobody listens here; a list of events would look like a leak
    Deferred.fromCoroutine(main(measured)).addErrback(lambda failure: sys.exit(str(failure.value)))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(measured.stop()))
    reactor.run()
