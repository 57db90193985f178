"""What a person wants to have, as a download: a hit, a magnet link or a URN, with the sources that are known of it.

And what we say of what we have to others who want it.
"""

from __future__ import annotations

import os

from gnutella.errors import RemoteViolation, UserError
from gnutella.network.transfers import KnownSource, Transfers
from gnutella.protocol.magnet import parse_magnet
from gnutella.protocol.urn import parse_urn
from gnutella.routing.heads import MAX_ALTERNATES, Holding
from gnutella.routing.results import Hit
from gnutella.sharing.catalog import Catalog

Row = dict[str, object]


def sources_of(hit: Hit) -> list[KnownSource]:
    """Everybody who has the file of a hit: those who answered, and the alternates they named."""
    known = [
        KnownSource(
            source.address, source.servent_id, source.index, source.name, source.needs_push, source.push_proxies
        )
        for source in hit.sources
    ]
    seen = {source.address for source in hit.sources}
    for source in hit.sources:
        known += [KnownSource(address) for address in source.alternates if address not in seen]
    return known


def holding_of(catalog: Catalog, transfers: Transfers, sha1: bytes) -> Holding | None:
    """What a HEAD pong says of that content: room for uploads, and who else proved to have it; None if it is not shared."""
    if catalog.by_sha1(sha1) is None:
        return None
    slots = transfers.exchange.slots
    return Holding(max(0, slots.max_total - slots.taken), transfers.givers(sha1, MAX_ALTERNATES))


async def add_hit(transfers: Transfers, hit: Hit, to: str = "") -> Row:
    """Download a hit.  UserError (64) if it came without a SHA-1, by which downloads are known."""
    if hit.sha1 is None:
        raise UserError(
            f"hit {hit.number} came without a SHA-1", "choose another one; nothing else proves what arrives"
        )
    return await transfers.add(hit.sha1, name=to or hit.name, size=hit.size, tth=hit.tth, sources=sources_of(hit))


async def add_text(transfers: Transfers, text: str, to: str = "") -> Row:
    """Download what a `magnet:` link or a `urn:` names.  UserError (64) for one that cannot be read or has no SHA-1."""
    is_magnet = text.lower().startswith("magnet:")
    try:
        if is_magnet:
            magnet = parse_magnet(text)
            sha1, tth, size, name = magnet.sha1, magnet.tth, magnet.size, magnet.name
            sources = [KnownSource(address) for address in magnet.sources]
        else:
            urn = parse_urn(text)
            sha1, tth, size, name, sources = urn.sha1, urn.tth, None, "", []
    except RemoteViolation as violation:
        what = "magnet link" if is_magnet else "URN"
        raise UserError(
            f"{text[:80]!r} cannot be read: {violation.detail}", f"give a whole {what}", os.EX_USAGE
        ) from None
    if sha1 is None:
        raise UserError(f"{text[:80]!r} names no SHA-1", "downloads are known by urn:sha1 or urn:bitprint")
    return await transfers.add(sha1, name=to or name, size=size, tth=tth, sources=sources)
