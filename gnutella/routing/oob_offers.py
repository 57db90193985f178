"""Out-of-band hits for the queries of others: announced, kept until they are asked for, sent in small datagrams (digest 8.5).

The address in a query is whatever its sender wrote there, and so is the source of an acknowledgement.  So hits go only to a
host that has proven to be there: one that answered a ping of ours (whose GUID nobody else knows) within the last hour or two.
A host that is new gets that ping together with the announcement.  Before that proof it gets few announcements; if it does not
come, the hits go back over the link of their query, and so do those for the next queries of that host.

    offers.offer(link, frame, files, address, now)       # False: answer over the link
    offers.acknowledged(guid, ack, source, now)          # LIME/11 came
    offers.ponged(guid, source, now)                     # a pong came: whether it was the proof that somebody owed us
    offers.tick(now)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import PING, encode_header
from gnutella.protocol.message import Query, encode
from gnutella.protocol.offer import MAX_DATAGRAM_HIT
from gnutella.protocol.oob import PLAIN, SECURE, replies_message
from gnutella.protocol.query import oob_address
from gnutella.protocol.vendor import Body, OobAck
from gnutella.reasons import DropReason
from gnutella.routing.actions import SendDatagram
from gnutella.routing.answers import Answers
from gnutella.routing.guids import fresh_guid
from gnutella.routing.seams import Shared
from gnutella.routing.seen import Generations
from gnutella.routing.switchboard import Switchboard
from gnutella.routing.udp_limits import Buckets, network_key, source_key
from gnutella.units import Address, Guid, LinkId, is_plausible_peer

#: Seconds for which an acknowledgement is waited for, and answers waiting for one host (gtk-gnutella; digest 8.5).
ACK_WAIT_S = 80.0
MAX_OF_HOST = 50
#: Announcements that a host may leave unclaimed in a minute until it is answered over links for a while (gtk-gnutella).
UNCLAIMED_PER_MIN = 25.0
SHUN_S = 600.0
#: Times that an announcement is tried if the system does not take it (gtk-gnutella), and seconds between them (our own number:
#: a full buffer of the system is empty by then).
MAX_TRIES = 3
RETRY_S = 0.5
#: Seconds that a new host has for its proof; answers waiting for it meanwhile; how long the proof counts.  Our own numbers.
PROOF_WAIT_S = 10.0
MAX_UNPROVEN = 5
PROOF_LIFE_S = 3600.0
#: Answers waiting in all.
MAX_WAITING = 1024
#: Announcements to one network (udp_limits.network_key) and to all, a second and at once.
NETWORK_PER_S, NETWORK_BURST = 2.0, 40.0
ALL_PER_S, ALL_BURST = 50.0, 200.0
#: Bytes of hits to one host, to its network, and to all, a second and at once: one answer of 64 files has about 12,000.
HOST_BYTES_PER_S, HOST_BYTES_BURST = 4096.0, 32_768.0
NETWORK_BYTES_PER_S, NETWORK_BYTES_BURST = 16_384.0, 131_072.0
ALL_BYTES_PER_S, ALL_BYTES_BURST = 131_072.0, 524_288.0
#: Seconds between two datagrams of one answer, the half to one and a half of this.  gtk-gnutella takes ten times as long, but
#: its users look at a list that fills; ours may wait for a command to end.
SPACING_S = 0.25
#: Hosts and networks that are noted in a generation.
MAX_HOSTS = 4096
_TTL = 1


@dataclass(slots=True)
class _Offer:
    """Hits that wait.  `ack` is what was wanted while the host's proof was still missing; `address` where it reaches us."""

    to: Address
    files: Sequence[Shared]
    flags: int
    version: int
    link: LinkId
    hops: int
    address: Address
    made_at: float
    was_proven: bool
    tries: int = 1
    ack: OobAck | None = None


class Offers:
    """All of one node.  Implements answers.Offers.  `is_reached`: datagrams that we did not provoke come through."""

    def __init__(
        self,
        board: Switchboard,
        answers: Answers,
        is_reached: Callable[[], bool],
        *,
        allow_private: bool,
        now: float,
    ) -> None:
        self._board = board
        self._is_reached = is_reached
        self._answers = answers
        self._allow_private = allow_private
        self._waiting: dict[Guid, _Offer] = {}
        self._of_host: Counter[str] = Counter()
        #: Pings whose pongs are proofs, and hosts that have been sent one.
        self._pings: Generations[Guid, Address] = Generations(MAX_HOSTS, PROOF_WAIT_S, now)
        self._pinged: Generations[str, bool] = Generations(MAX_HOSTS, PROOF_WAIT_S, now)
        self._proven: Generations[str, bool] = Generations(MAX_HOSTS, PROOF_LIFE_S, now)
        self._shunned: Generations[str, bool] = Generations(MAX_HOSTS, SHUN_S, now)
        self._unclaimed = Buckets(MAX_HOSTS, UNCLAIMED_PER_MIN / 60.0, UNCLAIMED_PER_MIN, now)
        self._announced = Buckets(MAX_HOSTS, NETWORK_PER_S, NETWORK_BURST, now)
        self._all_announced = Buckets(1, ALL_PER_S, ALL_BURST, now)
        self._host_bytes = Buckets(MAX_HOSTS, HOST_BYTES_PER_S, HOST_BYTES_BURST, now)
        self._network_bytes = Buckets(MAX_HOSTS, NETWORK_BYTES_PER_S, NETWORK_BYTES_BURST, now)
        self._all_bytes = Buckets(1, ALL_BYTES_PER_S, ALL_BYTES_BURST, now)

    def __len__(self) -> int:
        return len(self._waiting)

    # -- what happens on links -----------------------------------------------------------------------------------------

    def offer(self, link: LinkId, frame: Frame, files: Sequence[Shared], address: Address, now: float) -> bool:
        """Announce hits for a query of a link to the address in its GUID; False if they are to be sent over the link."""
        to = oob_address(frame.guid)
        if not self._may_offer(frame.guid, to, address, now):
            return False
        try:
            query = Query.decode(frame.payload)
        except RemoteViolation:
            return False
        version = SECURE if query.ggep is not None and "SO" in query.ggep else PLAIN
        host = source_key(to)
        offer = _Offer(to, files, query.flags, version, link, frame.hops, address, now, host in self._proven)
        self._waiting[frame.guid] = offer
        self._of_host[host] += 1
        self._announce(frame.guid, offer)
        if not offer.was_proven and host not in self._pinged:
            self._ping(to, host, now)
        return True

    def _may_offer(self, guid: Guid, to: Address, own: Address, now: float) -> bool:
        if self._board.settings.oob == "off" or self._answers.self.is_firewalled:
            return False
        if to == own or guid in self._waiting or len(self._waiting) >= MAX_WAITING:
            return False
        if not is_plausible_peer(to, allow_private=self._allow_private):
            return False
        host = source_key(to)
        if host in self._shunned or self._of_host[host] >= (MAX_OF_HOST if host in self._proven else MAX_UNPROVEN):
            return False
        return self._announced.take(network_key(to), now) and self._all_announced.take("", now)

    # -- what comes by UDP ---------------------------------------------------------------------------------------------

    def acknowledged(self, guid: Guid, ack: Body, source: Address, now: float) -> DropReason | None:
        """Somebody asks for hits."""
        offer = self._waiting.get(guid)
        # Another port may be that of a router between us.
        if not isinstance(ack, OobAck) or offer is None or offer.ack is not None or source.host != offer.to.host:
            return DropReason.UNREQUESTED_ACK
        if offer.version == SECURE and ack.token is None:
            return DropReason.OOB_INSECURE
        offer.ack = ack
        if not ack.wanted:
            self._forget(guid, offer)
        elif source_key(offer.to) in self._proven:
            self._deliver(guid, offer, ack, now)
        return None

    def ponged(self, guid: Guid, source: Address, now: float) -> bool:
        """A pong came for a ping that is not of the host caches; whether it is the proof of some host."""
        asked = self._pings.get(guid)
        if asked is None or asked.host != source.host:
            return False
        self._pings.discard(guid)
        host = source_key(asked)
        self._proven.put(host, True, now)
        for waiting, offer in [row for row in self._waiting.items() if source_key(row[1].to) == host]:
            offer.was_proven = True
            if offer.ack is not None:
                self._deliver(waiting, offer, offer.ack, now)
        return True

    def unsent(self, guid: Guid, now: float) -> None:
        """The system did not take a datagram of ours: an announcement is tried again, and then its hits go over the link."""
        offer = self._waiting.get(guid)
        if offer is None or offer.ack is not None:
            return
        if offer.tries < MAX_TRIES:
            offer.tries += 1
            self._announce(guid, offer, RETRY_S)
        else:
            self._over_link(guid, offer)

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Give up waiting where the time is over."""
        tables: tuple[Generations[str, bool] | Generations[Guid, Address] | Buckets, ...] = (
            self._pings,
            self._pinged,
            self._proven,
            self._shunned,
            self._unclaimed,
            self._announced,
            self._host_bytes,
            self._network_bytes,
        )
        for table in tables:
            table.tick(now)
        for guid, offer in list(self._waiting.items()):
            if not offer.was_proven and now - offer.made_at >= PROOF_WAIT_S:
                self._shunned.put(source_key(offer.to), True, now)
                self._over_link(guid, offer)
            elif now - offer.made_at >= ACK_WAIT_S:
                self._unclaim(guid, offer, now)

    def _unclaim(self, guid: Guid, offer: _Offer, now: float) -> None:
        self._forget(guid, offer)
        self._board.counters.drops[DropReason.OOB_UNCLAIMED] += 1
        host = source_key(offer.to)
        if not self._unclaimed.take(host, now):
            self._shunned.put(host, True, now)

    def _over_link(self, guid: Guid, offer: _Offer) -> None:
        self._forget(guid, offer)
        link = self._board.links.get(offer.link)
        if link is None:
            self._board.counters.drops[DropReason.ROUTE_GONE] += 1
            return
        hits = self._answers.hits(guid, offer.hops, offer.files, offer.flags, offer.address)
        self._answers.send_hits(link, hits)

    def _forget(self, guid: Guid, offer: _Offer) -> None:
        del self._waiting[guid]
        host = source_key(offer.to)
        self._of_host[host] -= 1
        if not self._of_host[host]:
            del self._of_host[host]

    # -- what goes -----------------------------------------------------------------------------------------------------

    def _announce(self, guid: Guid, offer: _Offer, delay_s: float = 0.0) -> None:
        message = replies_message(len(offer.files), offer.version, takes_unsolicited=self._is_reached())
        self._board.emit(SendDatagram(offer.to, encode(guid, _TTL, 0, message), delay_s))

    def _ping(self, to: Address, host: str, now: float) -> None:
        guid = fresh_guid(self._board.rng)
        self._pings.put(guid, to, now)
        self._pinged.put(host, True, now)
        self._board.emit(SendDatagram(to, encode_header(guid, PING, _TTL, 0, 0)))

    def _deliver(self, guid: Guid, offer: _Offer, ack: OobAck, now: float) -> None:
        self._forget(guid, offer)
        files = offer.files[: ack.wanted]
        told = guid, offer.hops, files, offer.flags, offer.address
        hits = self._answers.hits(*told, max_bytes=MAX_DATAGRAM_HIT, token=ack.token or b"")
        delay_s = 0.0
        for number, data in enumerate(hits):
            if not self._may_send(offer.to, len(data), now):
                self._board.counters.drops[DropReason.UDP_RATE] += len(hits) - number
                return
            self._board.emit(SendDatagram(offer.to, data, delay_s))
            delay_s += SPACING_S * (0.5 + self._board.rng.random())

    def _may_send(self, to: Address, size: int, now: float) -> bool:
        return (
            self._host_bytes.take(source_key(to), now, size)
            and self._network_bytes.take(network_key(to), now, size)
            and self._all_bytes.take("", now, size)
        )
