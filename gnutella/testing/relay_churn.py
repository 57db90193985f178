"""Nodes of the relay layer that come and go, and users that fetch while they do.

Sessions are exponential with a median of 90 minutes, three nodes of ten stay, and of the others so many are away at any time
that it is 30 % of all (design section 4.3).  Who comes back is a program that was started again: what is on its disk is there.

    sessions = Sessions(net); sessions.start()
    reader = Reader(node, uri, len(data)); reader.start()
    net.run_until(lambda: reader.is_over, 600)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container

from anonymizer.errors import AnonymityError
from anonymizer.transfer import Get
from anonymizer.uri import ChkUri
from gnutella.testing.relay_cores import CoreNet, CoreNode

MEDIAN_S = 5_400.0
STABLE = 0.3
AWAY = 0.3
#: A user whose request was refused at once tries it again after so long.
RETRY_S = 60.0


class Sessions:
    """See the module text.  `stay` are nodes that never leave; `away` is the share of all nodes that is away."""

    def __init__(
        self, net: CoreNet, *, median_s: float = MEDIAN_S, away: float = AWAY, stay: Container[CoreNode] = ()
    ) -> None:
        self.net = net
        self.on_s = median_s / math.log(2)
        movable = [node for node in net.nodes if node not in stay]
        count = min(len(movable), round((1 - STABLE) * len(net.nodes)))
        self.moving = net.rng.sample(movable, count)
        share = min(0.9, away * len(net.nodes) / count)
        self.off_s = self.on_s * share / (1 - share)
        self._share = share
        self.left = self.came = 0

    def start(self, *, in_balance: bool = True) -> None:
        """From now on they come and go; `in_balance`: as many as there ever are are away at once."""
        for node in self.moving:
            if in_balance and node.is_up and self.net.rng.random() < self._share:
                self._leave(node)
            else:
                self._plan(node)

    def leave_at_once(self, nodes: list[CoreNode]) -> None:
        """These leave now, all together."""
        for node in nodes:
            if node.is_up:
                self._leave(node)

    def _plan(self, node: CoreNode) -> None:
        mean, then = (self.on_s, self._leave) if node.is_up else (self.off_s, self._come)
        self.net.clock.after(self.net.rng.expovariate(1 / mean), then, node)

    def _leave(self, node: CoreNode) -> None:
        if node.is_up:
            self.left += 1
            self.net.down(node)
            self._plan(node)

    def _come(self, node: CoreNode) -> None:
        if not node.is_up:
            self.came += 1
            self.net.restart(node)
            self._plan(node)


class Reader:
    """A user who fetches one file of `size` bytes: `first` and `done` are seconds after the first try, `errors` the names.

    With `tries` above 1, a request that ended with an error is made again after a minute.
    """

    def __init__(self, node: CoreNode, uri: ChkUri, size: int, *, tries: int = 1) -> None:
        self.node, self.uri, self.size, self._tries = node, uri, size, tries
        self._core = node.core
        self.got = 0
        self.begun = 0.0
        self.first: float | None = None
        self.done: float | None = None
        self.errors: list[str] = []
        #: Of these, those that were told before anything was sent.
        self.refused_at_once = 0
        self.transfer: Get | None = None
        self._is_over = False

    @property
    def has_left(self) -> bool:
        """The reader's own node went away, and the user with it."""
        return not self.node.is_up or self.node.core is not self._core

    @property
    def is_over(self) -> bool:
        return self._is_over or self.has_left

    def start(self) -> None:
        """Ask for it."""
        self.begun = self.node.net.clock.now
        self._try()

    def _try(self) -> None:
        if self.has_left:
            return
        self._tries -= 1
        self.got, now = 0, self.node.net.now
        before = len(self.errors)
        try:
            self.transfer = self._core.client.get(self.uri, self._take, self._ended, now)
        except AnonymityError as error:
            self._ended(error, now)
        self.refused_at_once += len(self.errors) - before
        self.node.wake()

    def _take(self, offset: int, data: bytes) -> None:
        assert offset == self.got
        self.got += len(data)
        if self.first is None:
            self.first = self.node.net.clock.now - self.begun

    def _ended(self, error: AnonymityError | None, now: float) -> None:
        if error is None:
            assert self.got == self.size
            self.done = self.node.net.clock.now - self.begun
            self._is_over = True
            return
        self.errors.append(error.name)
        if self._tries:
            self.node.net.clock.after(RETRY_S, self._try)
        else:
            self._is_over = True


def publish(node: CoreNode, data: bytes, within_s: float = 240.0) -> ChkUri:
    """Put a file by that node and wait for it; its key."""
    left, ends = [data], list[AnonymityError | None]()

    def read(count: int, back: Callable[[bytes, float], None]) -> None:
        taken, left[0] = left[0][:count], left[0][count:]
        back(taken, node.net.now)

    transfer = node.core.client.put(read, lambda error, now: ends.append(error), node.net.now, size=len(data))
    node.wake()
    assert node.net.run_until(lambda: ends, within_s)
    assert ends == [None], ends
    assert transfer.uri is not None
    return transfer.uri
