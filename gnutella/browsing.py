"""Browse host: all that a node shares, as a stream of query hit messages (protocol digest 9.9); made here and read here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import frames
from gnutella.protocol.hit import MAX_RECORDS
from gnutella.protocol.kinds import encode_header
from gnutella.protocol.message import QUERY_HIT, QueryHit, hit_payloads, parse_payload
from gnutella.routing.answers import SPEED_KBIT_S
from gnutella.routing.guids import fresh_guid
from gnutella.routing.results import SearchResults
from gnutella.routing.router import Router
from gnutella.routing.seams import Chance
from gnutella.sharing.catalog import Catalog
from gnutella.units import Address


def browse_answer(catalog: Catalog, router: Router, address: Address, rng: Chance) -> Iterator[bytes]:
    """Whole messages for somebody who browses us, made one by one while they are sent."""
    guid = fresh_guid(rng)
    own = router.self
    files = iter(catalog.files)
    while batch := list(islice(files, MAX_RECORDS)):
        for payload in hit_payloads(
            batch,
            address,
            router.servent_id,
            needs_push=own.is_firewalled,
            is_busy=own.is_busy,
            has_uploaded=own.has_uploaded,
            speed_kbit=SPEED_KBIT_S,
            reads_tls=own.reads_tls,
        ):
            yield encode_header(guid, QUERY_HIT, 1, 0, len(payload)) + payload


def browsed(answer: bytes, rng: Chance) -> SearchResults:
    """What a peer answered, as a list of hits.  Messages that cannot be read are left out."""
    results = SearchResults(fresh_guid(rng))
    try:
        for frame in frames(answer):
            if frame.kind == QUERY_HIT:
                _take(results, frame.payload)
    except RemoteViolation:
        pass  # a header that announces too much: what came before it is kept
    return results


def _take(results: SearchResults, payload: bytes) -> None:
    try:
        hit = parse_payload(QUERY_HIT, payload)
    except RemoteViolation:
        return
    if isinstance(hit, QueryHit):
        results.add_hit(hit, 0)
