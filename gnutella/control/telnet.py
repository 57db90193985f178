"""The Twisted edge of the console: one protocol for the UNIX socket and for TCP (telnet, nc, scripts).

The UNIX socket's mode 600 is its credential; TCP sessions name a token first.  A reader that is slower than its replies pushes
back through the producer interface: commands wait, events are replayed from the journal, and who takes nothing for too
long is cut off.  Half-close is honoured: what was asked before it is answered, then the connection is closed.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gnutella.control import console as session
from gnutella.control.call import Call, Memory
from gnutella.control.events import Event
from gnutella.control.grammar import Invocation
from gnutella.control.table import FAULT, UNAVAILABLE, Role
from gnutella.control.token import Failures, read_tokens, role_of
from gnutella.control.view import NodeView
from gnutella.errors import Refused, RemoteViolation, UserError
from gnutella.reasons import DropReason

#: Seconds for the token; a person who must look it up has them, a port scanner has not.
AUTH_TIMEOUT_S = 60.0
#: Seconds that a session may take nothing while something waits for it.
SLOW_READER_S = 60.0
#: Bytes that are kept for a session that takes nothing, beyond what its socket holds.
MAX_UNSENT = 1 << 20
#: Seconds that a stopping node gives its consoles to take their last replies.
CLOSE_TIMEOUT_S = 1.0
#: Seconds between two looks whether a half-closed session is gone altogether.
PROBE_S = 2.0

_FAULT = UserError("a fault of this node", "its log tells more", FAULT)


class ConsoleFactory(Factory):
    """All consoles of one door.  `needs_token`: TCP.  `count` is shared between doors through `crowd`."""

    noisy = False

    def __init__(self, node: NodeView, reactor: Any, *, needs_token: bool, crowd: Crowd) -> None:
        self.node = node
        self.reactor = reactor
        self.needs_token = needs_token
        self.crowd = crowd

    def buildProtocol(self, addr: IAddress | None) -> ConsoleProtocol:
        """One session; `addr` is used for rate limits."""
        host = str(getattr(addr, "host", "unix"))  # UNIX addresses have none
        return ConsoleProtocol(self, host)


class Crowd:
    """What the doors of one node share: open sessions, their cap, and wrong tokens by address."""

    def __init__(self, reactor: Any, cap: int) -> None:
        self.cap = cap
        self.sessions: set[ConsoleProtocol] = set()
        self.failures = Failures()
        self._reactor = reactor
        self._all_gone: Deferred[None] | None = None

    def left(self, protocol: ConsoleProtocol) -> None:
        """A session is over."""
        self.sessions.discard(protocol)
        if not self.sessions and self._all_gone is not None:
            waiting, self._all_gone = self._all_gone, None
            waiting.callback(None)

    async def close_all(self) -> None:
        """Hang up on everybody; returns when what was said to them is written, or after CLOSE_TIMEOUT_S."""
        if not self.sessions:
            return
        waiting = self._all_gone = Deferred()
        for protocol in tuple(self.sessions):
            protocol.hang_up()
        timer = self._reactor.callLater(CLOSE_TIMEOUT_S, self._abort_all)
        await waiting
        if timer.active():
            timer.cancel()

    def _abort_all(self) -> None:
        for protocol in tuple(self.sessions):
            protocol.abort()


@implementer(IHalfCloseableProtocol, IPushProducer)
class ConsoleProtocol(Protocol):
    """One connection."""

    _log = Logger()

    def __init__(self, factory: ConsoleFactory, host: str) -> None:
        self._node = factory.node
        self._reactor = factory.reactor
        self._crowd = factory.crowd
        self._host = host
        role, newline = (None, "\r\n") if factory.needs_token else (Role.ADMIN, "\n")
        self._console = session.Console(role, self._check, newline)
        self._memory = Memory()
        self._call: Call | None = None
        self._work: Deferred[None] | None = None
        self._effects: deque[session.Effect] = deque()
        self._performing = False
        self._timers: dict[str, IDelayedCall] = {}
        self._unsubscribe: Callable[[], None] | None = None
        self._last_event = 0
        self._full = False
        self._unsent = 0
        self._waiters: list[Deferred[None]] = []
        self._gone = False
        self._is_cut_off = False
        #: Whether the transport reads; None once the other side has closed its half.
        self._reading: bool | None = True

    # -- connection ----------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Greet, unless there are too many, or this address guessed too often."""
        transport: Any = self.transport
        transport.registerProducer(self, True)
        if self._console.role is None and hasattr(transport, "setTcpKeepAlive"):
            transport.setTcpKeepAlive(True)  # a laptop that went to sleep must not hold one of the places for ever
        wait = self._crowd.failures.wait_s(self._host, self._reactor.seconds())
        if len(self._crowd.sessions) >= self._crowd.cap:
            self._turn_away(DropReason.SLOTS_FULL, "too many consoles are open")
        elif self._console.role is None and wait > 0:
            self._turn_away(DropReason.TOKEN_RATE, f"too many wrong tokens from here, wait {wait:.0f} s")
        else:
            self._crowd.sessions.add(self)
            if self._console.role is None:
                self._timer("auth", AUTH_TIMEOUT_S, self._too_late)
            self._perform(self._console.start())

    def dataReceived(self, data: bytes) -> None:
        """Lines, in any cut."""
        self._perform(self._console.receive(data))

    def readConnectionLost(self) -> None:
        """The other side has said all it wanted to say."""
        self._reading = None
        self._timer("probe", PROBE_S, self._probe)
        self._console.input_ended()
        self._perform([])

    def writeConnectionLost(self) -> None:
        """Nobody listens any more."""
        self.abort()

    def connectionLost(self, reason: Failure = Failure(CancelledError())) -> None:  # noqa: B008 - Twisted's signature
        """Whatever runs for this session is over."""
        self._gone = True
        self._crowd.left(self)
        self._follow(False)
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()
        self._release()
        if self._work is not None:
            self._work.cancel()

    def hang_up(self) -> None:
        """Close after what is written."""
        transport: Any = self.transport
        if self._gone:
            return
        if self._call is not None:
            self._call.interrupt()
        transport.unregisterProducer()
        transport.loseConnection()
        self._timer("linger", SLOW_READER_S, self.abort)

    # -- producer ------------------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The socket is full."""
        self._full = True
        self._timer("slow", SLOW_READER_S, self._too_slow)

    def resumeProducing(self) -> None:
        """The socket takes more."""
        self._full = False
        self._unsent = 0
        self._stop_timer("slow")
        self._release()
        if self._unsubscribe is not None:
            self._replay()
        self._perform([])

    def stopProducing(self) -> None:
        """The transport is closing."""
        self._release()

    # -- effects -------------------------------------------------------------------------------------------------------

    def _perform(self, effects: list[session.Effect]) -> None:
        """In order, then the lines that wait, as long as the socket takes the answers.

        What a command that ends at once adds is done in the same loop, not deeper in the stack.
        """
        self._effects.extend(effects)
        if self._performing:
            return
        self._performing = True
        while not self._gone:
            if self._effects:
                self._do(self._effects.popleft())
            elif self._full or not (more := self._console.advance()):
                break
            else:
                self._effects.extend(more)
        self._performing = False
        if not self._gone and self._reading is not None and self._reading != self._console.wants_input:
            self._reading = not self._reading
            transport: Any = self.transport
            (transport.resumeProducing if self._reading else transport.pauseProducing)()

    def _do(self, effect: session.Effect) -> None:
        match effect:
            case session.Write(data):
                self._write(data)
            case session.Run(invocation):
                self._run(invocation)
            case session.Interrupt():
                if self._call is not None:
                    self._call.interrupt()
            case session.Authenticated(role):
                self._stop_timer("auth")
                self._log.debug("console of {host} has role {role}", host=self._host, role=str(role))
            case session.Follow(wanted):
                self._follow(wanted)
            case session.Count(reason):
                self._count(reason)
            case session.Hangup():
                self.hang_up()

    def _write(self, data: bytes) -> None:
        if self._gone or self._is_cut_off or not data:
            return
        transport: Any = self.transport
        transport.write(data)
        if self._full:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                self._too_slow()

    def _run(self, invocation: Invocation) -> None:
        call = Call(
            self._node,
            self._reactor,
            invocation.command,
            invocation.values,
            lambda row: self._write(self._console.row(row)),
            memory=self._memory,
            role=self._console.role or Role.READ,
            room=self._room,
        )
        self._call = call
        run = invocation.command.run
        assert run is not None  # "node" commands have one; a test holds the table to it
        work: Deferred[None] = Deferred.fromCoroutine(_awaited(run, call))
        self._work = work
        work.addCallbacks(lambda _: self._done(call), lambda failure: self._failed(call, failure))

    def _done(self, call: Call) -> None:
        self._call = self._work = None
        self._perform(self._console.finish({"rows": call.rows, **call.end}))

    def _failed(self, call: Call, failure: Failure) -> None:
        self._call = self._work = None
        if self._gone:
            if not failure.check(CancelledError, UserError):
                self._log.failure("command {name} failed", failure, name=call.command.name)
            return
        error = failure.value
        if isinstance(error, (RemoteViolation, Refused)):
            error = UserError(str(error), "", UNAVAILABLE)
        if not isinstance(error, UserError):
            self._log.failure("command {name} failed", failure, name=call.command.name)
            error = _FAULT
        self._perform(self._console.fail(error))

    # -- events --------------------------------------------------------------------------------------------------------

    def _follow(self, wanted: bool) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if wanted and not self._gone:
            self._last_event = self._node.journal.last_id
            self._unsubscribe = self._node.journal.subscribe(lambda event: self._replay())

    def _replay(self) -> None:
        """Everything since the last event told; a session that could not take events for long is told of the gap."""
        for event in self._node.journal.since(self._last_event):
            if self._full:
                return
            self._tell(event)

    def _tell(self, event: Event) -> None:
        self._last_event = event.id
        self._write(self._console.event(event.row()))

    # -- limits --------------------------------------------------------------------------------------------------------

    def _check(self, token: str) -> Role | None:
        """Reads the file each time, so that a changed token counts at once."""
        now = self._reactor.seconds()
        if self._crowd.failures.wait_s(self._host, now) > 0:
            self._count(DropReason.TOKEN_RATE)
            return None
        try:
            role = role_of(read_tokens(self._node.directory), token)
        except (UserError, FileNotFoundError) as error:
            self._log.warn("no console token can be checked: {error}", error=str(error))
            return None
        if role is None:
            self._crowd.failures.add(self._host, now)
        return role

    def _count(self, reason: DropReason) -> None:
        self._node.count_drop(reason)
        if reason in (DropReason.BAD_TOKEN, DropReason.SLOW_READER):
            self._node.journal.add("control_refused", address=self._host, reason=reason.value)

    def _turn_away(self, reason: DropReason, text: str) -> None:
        self._node.count_drop(reason)
        self._write(f"error: {text}\r\n".encode())
        self.hang_up()

    def _too_late(self) -> None:
        self._write(b"\r\nerror: no token came, goodbye\r\n")
        self._node.count_drop(DropReason.SLOW)
        self.hang_up()

    def _too_slow(self) -> None:
        if not self._gone and not self._is_cut_off:
            self._count(DropReason.SLOW_READER)
            self.abort()

    def _probe(self) -> None:
        """A half-closed stream looks the same as a closed one until we write; the socket itself knows better."""
        transport: Any = self.transport
        poller = select.poll()
        poller.register(transport.fileno(), 0)
        if any(found & (select.POLLHUP | select.POLLERR) for _, found in poller.poll(0)):
            self.abort()
        else:
            self._timer("probe", PROBE_S, self._probe)

    def abort(self) -> None:
        """Close at once, whatever is unwritten."""
        transport: Any = self.transport
        self._is_cut_off = True
        if not self._gone:
            transport.abortConnection()

    def _room(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(canceller=self._forget)
        if self._full and not self._gone:
            self._waiters.append(waiter)
        else:
            waiter.callback(None)
        return waiter

    def _forget(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def _release(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _timer(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._stop_timer(name)
        self._timers[name] = self._reactor.callLater(seconds, action)

    def _stop_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()


async def _awaited(run: Callable[[Call], Any], call: Call) -> None:
    await run(call)
