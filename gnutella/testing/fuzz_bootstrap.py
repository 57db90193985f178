"""Fuzzing targets of what finds first peers: texts of web caches, answers about port mappings.

They are among those of gnutella.testing.fuzz_targets.
"""

from __future__ import annotations

from collections.abc import Callable

from gnutella.errors import RemoteViolation
from gnutella.protocol.gwebcache import MAX_HOSTS, MAX_URLS, check_url, parse_answer, parse_request
from gnutella.protocol.portmap import parse_mapping
from gnutella.routing.cache_service import CacheService, Lent
from gnutella.routing.port_mapping import MAX_LIFETIME_S, Mapper
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


_MAPPED_IP = bytes.fromhex("00000000000000000000ffff 18010203")
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


def _mapping(data: bytes) -> None:
    """As an answer of the router, by itself and behind the nonce of a question of ours."""
    nonce = b"0123456789ab"
    for version in (0, 2):
        mapper = Mapper("192.168.1.1", "192.168.1.5", 6346, nonce, 0.0)
        mapper.due(0.0)
        if version == 0:
            mapper.unreachable(0.0)
            mapper.due(0.0)
        for answer in (data, data[:24] + nonce + data[36:]):
            try:
                mapper.receive(answer, mapper.gateway, 1.0)
            except RemoteViolation:
                pass
            assert mapper.expires_at <= 1.0 + MAX_LIFETIME_S
            assert len(mapper.due(2.0)) <= 3
    parse_mapping(data)


#: Name: (weight, target), as in fuzz_targets.
RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "cache_answer": (3, _cache_answer),
    "cache_request": (3, _cache_request),
    "mapping": (2, _mapping),
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
    "mapping": (
        bytes.fromhex("0080 0000 00000007 18010203"),
        bytes.fromhex("0082 0000 00000007 18ca 18ca 00001c20"),
        bytes.fromhex("0081 0001 00000007"),
        bytes.fromhex("02810000 00001c20 00000007") + bytes(24) + bytes.fromhex("06000000 18ca 18ca") + _MAPPED_IP,
    ),
}
