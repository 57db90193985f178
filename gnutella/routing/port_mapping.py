"""Keeping ports mapped at one router, by PCP or else NAT-PMP: what to send when, and what to make of answers.

PCP is tried first; a router that says it knows only the older protocol, or nothing, is asked in that one.  A mapping is renewed
at half its life; a router that has forgotten all of them (its epoch went back) is asked anew at once.  Only an answer of the
router itself to a question that is open counts: whoever else writes to that port changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gnutella.errors import RemoteViolation
from gnutella.protocol import portmap
from gnutella.protocol.portmap import NATPMP_VERSION, PCP_VERSION, PORT, UNSUPPORTED_VERSION, MappingAnswer
from gnutella.reasons import DropReason
from gnutella.units import Address

#: Seconds for which a mapping is asked (RFC 6886 3.3 proposes 2 hours); a node that was killed leaves it for no longer.
LIFETIME_S = 7200
#: Seconds that a mapping is believed to live, whatever was granted, and the least time to its renewal (RFC 6887 15.1.1: 24 h).
MAX_LIFETIME_S = 86400
LEAST_RENEWAL_S = 30.0
#: Seconds until a question is repeated, doubling, and questions in all: PCP waits 3 s at first (RFC 6887 8.1.1), NAT-PMP a
#: quarter second (RFC 6886 3.1).  Both give up earlier than their RFCs do: the other protocol may have an answer.
FIRST_WAIT_S = {PCP_VERSION: 3.0, NATPMP_VERSION: 0.25}
MAX_QUESTIONS = {PCP_VERSION: 3, NATPMP_VERSION: 6}
#: Seconds after which a router that said nothing, or no, is asked again (our own numbers).
RETRY_S = 600.0
#: An epoch that does not fit makes us ask anew, but not more often than this.
FORGOTTEN_GAP_S = 30.0
#: Seconds that two clocks may differ, and the share by which one may run faster (RFC 6887 8.5).
EPOCH_SLACK_S, EPOCH_SHARE = 2.0, 1 / 16

_NAMES = {PCP_VERSION: "pcp", NATPMP_VERSION: "nat-pmp"}


class MappingState(Enum):
    """How things stand."""

    ASKING = "asking"
    MAPPED = "mapped"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(slots=True)
class _Lease:
    """One port, or (`port` 0) the external address; `questions` are those since the last answer."""

    port: int
    is_tcp: bool
    next_at: float
    external_port: int = 0
    expires_at: float = 0.0
    questions: int = 0


class Mapper:
    """The mappings of one TCP and one UDP port of the same number at the router `gateway`.

    `own` is our IP on the way to it, `nonce` NONCE_BYTES of chance: who guesses them can end a mapping.
    """

    def __init__(self, gateway: str, own: str, port: int, nonce: bytes, now: float, gateway_port: int = PORT) -> None:
        self.gateway = Address(gateway, gateway_port)
        self.own = own
        self.state = MappingState.ASKING
        self.external: str | None = None
        #: Why it was refused, in a few words.
        self.refusal = ""
        self._port = port
        self._nonce = nonce
        self._version = PCP_VERSION
        self._leases: list[_Lease] = []
        self._epoch: tuple[float, int] | None = None
        self._forgotten_at = float("-inf")
        self._begin(PCP_VERSION, now)

    @property
    def method(self) -> str:
        """The protocol in use: `pcp` or `nat-pmp`."""
        return _NAMES[self._version]

    @property
    def external_port(self) -> int | None:
        """The TCP port that is ours outside; None while none is mapped."""
        return next((lease.external_port for lease in self._leases if lease.is_tcp and lease.expires_at), None)

    @property
    def has_udp(self) -> bool:
        """Whether the UDP port is mapped, and has the number of the TCP port outside too."""
        return any(
            not lease.is_tcp and lease.port and lease.expires_at and lease.external_port == self.external_port
            for lease in self._leases
        )

    @property
    def expires_at(self) -> float:
        """When the mapping of the TCP port ends unless it is renewed; 0 without one."""
        return next((lease.expires_at for lease in self._leases if lease.is_tcp), 0.0)

    @property
    def wakes_at(self) -> float:
        """When `due` has something to do."""
        return min(lease.next_at for lease in self._leases)

    # -- asking --------------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[bytes]:
        """Datagrams to send to `gateway` now."""
        for lease in self._leases:
            if lease.expires_at and lease.expires_at <= now:
                lease.expires_at = 0.0
                lease.questions = 0
                self.state = MappingState.ASKING if lease.port else self.state
        ready = [lease for lease in self._leases if lease.next_at <= now]
        if ready and self.state in (MappingState.SILENT, MappingState.REFUSED):
            self._begin(PCP_VERSION, now)
            ready = list(self._leases)
        unanswered = [lease for lease in ready if lease.questions >= MAX_QUESTIONS[self._version]]
        if unanswered and not any(lease.expires_at for lease in self._leases):
            self.unreachable(now)
            return self.due(now) if self.state is MappingState.ASKING else []
        return [self._question(lease, now) for lease in ready]

    def unreachable(self, now: float) -> None:
        """Nobody speaks the present protocol there: go on with the other one, or rest."""
        if any(lease.expires_at for lease in self._leases):
            return  # a mapping stands; the router may be starting anew
        if self._version == PCP_VERSION:
            self._begin(NATPMP_VERSION, now)
        else:
            self._rest(MappingState.SILENT, now + RETRY_S)

    def release(self) -> list[bytes]:
        """Datagrams that end what is mapped; nothing more is asked after them."""
        ends = [self._asking(lease, 0, 0) for lease in self._leases if lease.port and lease.expires_at]
        self._rest(MappingState.SILENT, float("inf"))
        return ends

    def _begin(self, version: int, now: float) -> None:
        self._version = version
        self._epoch = None
        self.state = MappingState.ASKING
        self._leases = [_Lease(self._port, True, now), _Lease(self._port, False, now)]
        if version == NATPMP_VERSION:
            self._leases.insert(0, _Lease(0, False, now))

    def _rest(self, state: MappingState, until: float) -> None:
        self.state = state
        self.external = None
        for lease in self._leases:
            lease.next_at, lease.expires_at, lease.questions = until, 0.0, 0

    def _question(self, lease: _Lease, now: float) -> bytes:
        # The doubling ends where a mapping stands: its renewal goes on until it has ended.
        doublings = min(lease.questions, MAX_QUESTIONS[self._version])
        lease.next_at = now + FIRST_WAIT_S[self._version] * 2.0**doublings
        lease.questions += 1
        if lease.is_tcp or not lease.port:
            wished = lease.external_port or lease.port
        else:
            wished = self.external_port or lease.port
        return self._asking(lease, wished, LIFETIME_S)

    def _asking(self, lease: _Lease, external_port: int, lifetime_s: int) -> bytes:
        if not lease.port:
            return portmap.natpmp_ask_address()
        if self._version == NATPMP_VERSION:
            return portmap.natpmp_map(lease.port, external_port, lifetime_s, is_tcp=lease.is_tcp)
        return portmap.pcp_map(self._nonce, self.own, lease.port, external_port, lifetime_s, is_tcp=lease.is_tcp)

    # -- answers -------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """One datagram; RemoteViolation for what is no answer of the router to an open question of ours."""
        if source != self.gateway:
            raise RemoteViolation(DropReason.BOGUS_MAPPING, "not from the router")
        answer = portmap.parse_mapping(data)
        if answer.version != self._version:
            # Asked in PCP, a router of the older protocol says that it does not know version 2 (RFC 6887 appendix A).
            if self._version == PCP_VERSION and answer.result == UNSUPPORTED_VERSION and self._is_waiting():
                self.unreachable(now)
                return
            raise RemoteViolation(DropReason.BOGUS_MAPPING, "in another protocol than asked")
        if self._is_late(answer):
            return
        lease = self._asked(answer)
        if lease is None:
            raise RemoteViolation(DropReason.BOGUS_MAPPING, "an answer to nothing that was asked")
        if answer.result:
            self._refused(lease, answer, now)
            return
        has_forgotten = not self._fits(answer.epoch_s, now)
        self._take(lease, answer, now)
        if has_forgotten and now - self._forgotten_at >= FORGOTTEN_GAP_S:
            self._forgotten_at = now
            for other in self._leases:
                if not other.questions and other is not lease:
                    other.next_at = now

    def _is_late(self, answer: MappingAnswer) -> bool:
        """Whether it says once more, of the other port, what made us turn to another protocol or rest."""
        if answer.version == NATPMP_VERSION and answer.result == UNSUPPORTED_VERSION:
            return True  # said of PCP
        return bool(answer.result) and self.state is MappingState.REFUSED

    def _is_waiting(self) -> bool:
        return any(lease.questions for lease in self._leases)

    def _asked(self, answer: MappingAnswer) -> _Lease | None:
        """The open question that this answers."""
        if answer.result and not answer.port:
            return next((lease for lease in self._leases if lease.questions), None)
        if answer.version == PCP_VERSION and answer.nonce != self._nonce:
            return None
        for lease in self._leases:
            if lease.questions and (lease.port, lease.is_tcp) == (answer.port, answer.is_tcp):
                return lease
        return None

    def _refused(self, lease: _Lease, answer: MappingAnswer, now: float) -> None:
        self.refusal = answer.meaning
        if self.external_port is not None:  # what stands, stands; the rest is tried again later
            lease.next_at, lease.questions = now + RETRY_S, 0
        elif answer.result == UNSUPPORTED_VERSION:  # of PCP, by a router that has another version of it
            self.unreachable(now)
        else:
            self._rest(MappingState.REFUSED, now + RETRY_S)

    def _take(self, lease: _Lease, answer: MappingAnswer, now: float) -> None:
        lifetime_s = min(answer.lifetime_s, MAX_LIFETIME_S) if lease.port else LIFETIME_S
        if lease.port and not (answer.external_port and lifetime_s):
            raise RemoteViolation(DropReason.BOGUS_MAPPING, "a mapping to port 0, or for no time")
        lease.questions = 0
        lease.external_port = answer.external_port
        lease.expires_at = now + lifetime_s
        lease.next_at = now + max(LEAST_RENEWAL_S, lifetime_s / 2)
        self.external = answer.host or self.external
        if self.external_port is not None:
            self.state = MappingState.MAPPED

    def _fits(self, epoch_s: int, now: float) -> bool:
        """Whether the router's clock went on as ours did since its last answer (RFC 6887 8.5, for both protocols)."""
        before, self._epoch = self._epoch, (now, epoch_s)
        if before is None:
            return True
        ours, its = now - before[0], epoch_s - before[1]
        if its < -1:
            return False
        return ours + EPOCH_SLACK_S >= its * (1 - EPOCH_SHARE) and its + EPOCH_SLACK_S >= ours * (1 - EPOCH_SHARE)
