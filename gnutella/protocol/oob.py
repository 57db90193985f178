"""Out-of-band hits on the wire: the address in a query's GUID, and the vendor message that announces hits.

Digest 4.2, 8.5 and 2.9: LIME/12 says how many hits wait, LIME/11 how many of them are wanted.  In version 3 whoever wants them
gives a token, in version 2 there is none.
"""

from __future__ import annotations

from dataclasses import replace

from gnutella.protocol.addresses import ipv4_bytes
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.query import FLAG_OOB, MAX_FORWARDED_QUERY, Query
from gnutella.protocol.vendor import OobReplies, VendorMessage
from gnutella.protocol.vendor_out import message_of
from gnutella.units import Address, Guid

#: Where hits are counted in one byte.
MAX_COUNT = 255
#: The versions: with tokens, and without.
SECURE, PLAIN = 3, 2


def oob_guid(guid: Guid, address: Address) -> Guid:
    """`guid` with the IPv4 address and the UDP port that the hits shall go to."""
    port = address.port.to_bytes(2, "little")
    return Guid(ipv4_bytes(address.host) + guid[4:13] + port + guid[15:])


def asking_oob(query: Query) -> Query | None:
    """`query` with flag and key (SO) that ask for hits out of band; None where that makes it too long to be forwarded."""
    ggep = (query.ggep or Ggep(())).adding({"SO": b""})
    asking = replace(query, flags=query.flags | FLAG_OOB, ggep=ggep)
    return asking if len(asking.encode()) <= MAX_FORWARDED_QUERY else None


def replies_message(hits: int, version: int, *, takes_unsolicited: bool) -> VendorMessage:
    """LIME/12: so many hits wait; `takes_unsolicited`: we can be sent datagrams by whom we sent none."""
    return replace(message_of(OobReplies(min(hits, MAX_COUNT), takes_unsolicited)), version=version)
