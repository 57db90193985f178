"""How many pushes by UDP are answered or passed on: each makes somebody dial, and the source of a datagram is soon forged.

The allowance of all is shared out, so that a flood leaves honest ones theirs: a near network gets what one downloader needs, a
wide one (networks.py) a quarter of all, and all pushes for one servent together half.  Who forges sources of the whole Internet
takes the rest; pushes over links and by HTTP, whose senders cannot be forged, have limits of their own.
"""

from __future__ import annotations

from gnutella.networks import Shares, wide
from gnutella.reasons import DropReason
from gnutella.routing.udp_limits import Buckets, network_key, source_key
from gnutella.units import Address, Guid

#: A second, and at once: of one near network (udp_limits.network_key), of one wide one, for one servent, and in all.  Our own
#: numbers: a file is asked for once, and each makes us or a leaf of ours dial.
NETWORK_PER_S, NETWORK_BURST = 0.2, 8.0
WIDE_PER_S, WIDE_BURST = 1.25, 12.0
SERVENT_PER_S, SERVENT_BURST = 2.5, 20.0
ALL_PER_S, ALL_BURST = 5.0, 40.0
#: Networks that are noted in a generation, of each size.  Servents are us and those that chose us: as many as links, noted.
MAX_NETWORKS = 1024
MAX_SERVENTS = 4096


class PushAllowance:
    """Says whether a push by UDP may be answered now."""

    def __init__(self, now: float) -> None:
        self._near = Buckets(MAX_NETWORKS, NETWORK_PER_S, NETWORK_BURST, now)
        self._wide = Buckets(MAX_NETWORKS, WIDE_PER_S, WIDE_BURST, now)
        self._servents = Buckets(MAX_SERVENTS, SERVENT_PER_S, SERVENT_BURST, now)
        #: Whose wide networks count; the node sets it.
        self.shares = Shares()
        self._all = Buckets(1, ALL_PER_S, ALL_BURST, now)

    def refusal(self, servent_id: Guid, source: Address, now: float) -> DropReason | None:
        """Take one push from the allowances of its source, of that servent and of all; why not, if one of them is used up.

        The narrowest is asked first: what it refuses costs the others nothing.
        """
        if not self._near.take(network_key(source), now):
            return DropReason.UDP_RATE
        around = wide(source.host) if self.shares.applies_to(source.host) else source_key(source)
        if not self._wide.take(around, now):
            return DropReason.NETWORK_FULL
        if not self._servents.take(servent_id.hex(), now):
            return DropReason.PUSH_RATE
        return None if self._all.take("", now) else DropReason.UDP_BUSY

    def tick(self, now: float) -> None:
        """Forget rates that are over."""
        for buckets in (self._near, self._wide, self._servents):
            buckets.tick(now)
