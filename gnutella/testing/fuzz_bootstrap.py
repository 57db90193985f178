"""Fuzzing targets of what finds first peers: texts of web caches.  They are among those of gnutella.testing.fuzz_targets."""

from __future__ import annotations

from collections.abc import Callable

from gnutella.protocol.gwebcache import MAX_HOSTS, MAX_URLS, check_url, parse_answer, parse_request
from gnutella.routing.cache_service import CacheService, Lent
from gnutella.units import Address, is_plausible_peer


def _cache_answer(data: bytes) -> None:
    answer = parse_answer(data)
    assert len(answer.hosts) <= MAX_HOSTS
    assert len(answer.urls) <= MAX_URLS
    for host in answer.hosts:
        is_plausible_peer(host, allow_private=True)
    for text in answer.urls:
        try:
            url = check_url(text, allow_private=False)
        except ValueError:
            continue
        assert check_url(url, allow_private=False) == url


_LENT = Lent(Address("80.0.0.1", 6346), [Address("10.0.0.1", 6346)], ["http://c.example/gwc"])


def _cache_request(data: bytes) -> None:
    query = data.decode("latin-1")
    service = CacheService("Fuzz 1", 0.0, allow_private=False)
    reply = service.reply(query, "81.2.3.4", 1.0, _LENT)
    assert len(reply.body) < 2000
    assert reply.status in (200, 400)
    assert all(host.host == "81.2.3.4" for host in service._hosts)
    assert b"10.0.0.1" not in reply.body
    parse_request(query)


#: Name: (weight, target), as in fuzz_targets.
RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "cache_answer": (3, _cache_answer),
    "cache_request": (3, _cache_request),
}

#: Sound inputs by name of the target.
SEEDS: dict[str, tuple[bytes, ...]] = {
    "cache_answer": (
        b"H|80.1.2.3:6346|600|x\r\nH|[2001:db8::1]:6346|5\r\nU|http://c.example/gwc.php|7200\r\nI|pong|Beacon 1|gnutella\r\n",
        b"80.1.2.3:6346\n81.2.3.4:7000,1,2\nhttps://d.example:8443/cache\nPONG Skulls 0.3\nOK\nWARNING: early\n",
        b"I|update|WARNING|Returned too soon\nERROR: no client\n",
    ),
    "cache_request": (
        b"get=1&net=gnutella&client=PYGN&version=0.1&hostfile=1&ping=1",
        b"update=1&ip=81.2.3.4:6346&url=http%3A%2F%2F81.2.3.4%3A6346%2Fgwc&statfile=1",
        b"ip=81.2.3.4:6346&urlfile=1&client=TEST&version=1",
    ),
}
