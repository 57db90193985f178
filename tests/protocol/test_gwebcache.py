"""GWebCache texts: what is asked, what is read of an answer, and which URLs can be a cache's."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol import gwebcache
from gnutella.protocol.gwebcache import (
    MAX_ANSWER,
    MAX_FIELDS,
    MAX_HOSTS,
    MAX_LINE,
    MAX_LINES,
    MAX_QUERY,
    MAX_REMARK,
    MAX_URL,
    MAX_URLS,
    Spec,
    ask_params,
    ask_url,
    check_url,
    parse_answer,
    parse_request,
    update_params,
)
from gnutella.reasons import DropReason
from gnutella.units import Address

A, B = Address("80.1.2.3", 6346), Address("81.4.5.6", 7000)


def test_an_answer_of_version_1_is_read() -> None:
    answer = parse_answer(b"80.1.2.3:6346\r\n81.4.5.6:7000\nhttp://cache.example/gwc.php\n")
    assert (answer.spec, answer.hosts, answer.urls) == (1, (A, B), ("http://cache.example/gwc.php",))


def test_an_answer_of_version_2_is_read() -> None:
    body = (
        b"I|access|period|3600\nH|80.1.2.3:6346|600|cluster\nh|81.4.5.6:7000\nU|https://c.example/|7200\nX|future|1\n"
    )
    answer = parse_answer(body)
    assert (answer.spec, answer.hosts, answer.urls) == (2, (A, B), ("https://c.example/",))


def test_limewire_reads_the_first_word_of_a_comma_separated_line_and_so_do_we() -> None:
    assert parse_answer(b"80.1.2.3:6346,86400,en\n").hosts == (A,)


@pytest.mark.parametrize(
    ("line", "name", "took", "remark"),
    [
        (b"PONG Skulls 0.3", "Skulls 0.3", False, ""),
        (b"I|pong|Beacon 1.0|gnutella-gnutella2", "Beacon 1.0", False, ""),
        (b"OK", "", True, ""),
        (b"I|update|OK", "", True, ""),
        (b"WARNING: Rejected IP", "", False, "WARNING: Rejected IP"),
        (b"I|update|WARNING|Returned too soon", "", False, "update WARNING Returned too soon"),
        (b"I|WARNING|You came back too early", "", False, "WARNING You came back too early"),
        (b"ERROR: Required client", "", False, "ERROR: Required client"),
    ],
)
def test_words_of_caches_are_understood(line: bytes, name: str, took: bool, remark: str) -> None:
    answer = parse_answer(line + b"\r\n")
    assert (answer.name, answer.took_update, answer.remark) == (name, took, remark)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"<html>Not found</html>",
        b"80.1.2.3\n",
        b"name.example:6346",
        b"H|nonsense|3",
        b"80.1.2.3:0",
        b"\0" * 99,
    ],
)
def test_an_answer_without_a_line_of_a_cache_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteViolation) as caught:
        parse_answer(body)
    assert caught.value.reason is DropReason.BAD_CACHE_ANSWER


def test_answers_are_read_within_bounds() -> None:
    with pytest.raises(RemoteViolation):
        parse_answer(b"80.1.2.3:6346\n" + b"x" * MAX_ANSWER)
    many = b"".join(b"H|80.1.%d.%d:6346|1\n" % (n >> 8, n & 255) for n in range(2500))
    assert len(parse_answer(many).hosts) == MAX_HOSTS
    urls = b"".join(b"U|http://c%d.example/|1\n" % n for n in range(50))
    assert len(parse_answer(urls).urls) == MAX_URLS
    late = b"\n" * MAX_LINES + b"80.1.2.3:6346\n"
    with pytest.raises(RemoteViolation):
        parse_answer(late)
    assert parse_answer(b"http://" + b"x" * MAX_LINE + b"\nOK").urls == ()
    assert len(parse_answer(b"ERROR " + b"x" * 400).remark) == MAX_REMARK


def asked(params: dict[str, str]) -> dict[str, str]:
    url = ask_url("http://cache.example/gwc.php", params)
    parts = urlsplit(url)
    assert parts.path == "/gwc.php"
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def test_every_request_says_who_asks() -> None:
    who = {"client": "PYGN", "version": "9"}
    assert asked(ask_params(2, wants_urls=False, version="9")) == {"get": "1", "net": "gnutella", **who}
    assert asked(ask_params(1, wants_urls=False, version="9")) == {"hostfile": "1", **who}
    assert asked(ask_params(1, wants_urls=True, version="9")) == {"urlfile": "1", **who}
    both = asked(ask_params(0, wants_urls=False, version="9"))
    assert both == {"get": "1", "hostfile": "1", "net": "gnutella", **who}
    assert asked(update_params(1, A, "", "9")) == {"ip": "80.1.2.3:6346", **who}
    told = asked(update_params(2, A, "http://c.example/?", "9"))
    assert told == {"update": "1", "net": "gnutella", "ip": "80.1.2.3:6346", "url": "http://c.example/?", **who}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://Cache.Example:80/gwc.php", "http://cache.example/gwc.php"),
        ("https://cache.example", "https://cache.example/"),
        ("http://80.1.2.3:6346/gwc", "http://80.1.2.3:6346/gwc"),
    ],
)
def test_urls_have_one_spelling(text: str, url: str) -> None:
    assert check_url(text, allow_private=False) == url == check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://c.example/",
        "http:///gwc",
        "http://user:word@c.example/",
        "http://c.example/?a=b",
        "http://c.example/?",
        "http://c.example/#x",
        "http://c.example/a b",
        "http://c.exämple/",
        "http://c.example:99999/",
        "http://127.0.0.1/",
        "http://192.168.1.1/setup.cgi",
        "http://[::1]/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://router/",
        "http://printer.local/",
        "http://localhost/",
        "http://" + "c" * MAX_URL + ".example/",
        "http://[80.1.2.3/",
    ],
)
def test_what_cannot_be_a_public_cache_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        check_url(text, allow_private=False)


def test_private_caches_are_taken_where_private_addresses_are() -> None:
    assert check_url("http://192.168.1.5:6346/gwc", allow_private=True) == "http://192.168.1.5:6346/gwc"
    assert check_url("http://cache:8080/gwc", allow_private=True) == "http://cache:8080/gwc"
    with pytest.raises(ValueError, match="no cache can be"):
        check_url("http://224.0.0.1/", allow_private=True)


@pytest.mark.parametrize(
    ("query", "spec", "hosts", "urls"),
    [
        ("hostfile=1&client=TEST", 1, True, False),
        ("urlfile=1", 1, False, True),
        ("hostfile=1&urlfile=1", 1, True, True),
        ("get=1&net=gnutella&client=TEST", 2, True, True),
        ("get=1&hostfile=1", 2, True, True),
        ("get=0&hostfile=0", 1, False, False),
        ("", 1, False, False),
    ],
)
def test_requests_are_understood(query: str, spec: Spec, hosts: bool, urls: bool) -> None:
    request = parse_request(query)
    assert (request.spec, request.wants_hosts, request.wants_urls) == (spec, hosts, urls)
    assert not (request.is_update or request.is_ping or request.wants_statistics)


def test_updates_pings_and_statistics_are_understood() -> None:
    request = parse_request("ip=80.1.2.3:6346&url=http%3A%2F%2Fc.example%2F")
    assert (request.spec, request.is_update, request.ip, request.url) == (1, True, A, "http://c.example/")
    assert parse_request("update=1&net=gnutella&ip=80.1.2.3:6346").spec == 2
    assert parse_request("update=1&ip=name.example:1").ip is None
    assert parse_request("ping=1&statfile=1").is_ping
    assert parse_request("ping=1&statfile=1").wants_statistics
    assert parse_request("get=1&net=gnutella2").network == "gnutella2"


@pytest.mark.parametrize("query", ["x" * (MAX_QUERY + 1), "&".join(["a=1"] * (MAX_FIELDS + 1))])
def test_requests_beyond_their_bounds_are_refused(query: str) -> None:
    with pytest.raises(RemoteViolation) as caught:
        parse_request(query)
    assert caught.value.reason is DropReason.REQUEST_BROKEN


@given(st.sampled_from((1, 2)), st.lists(st.integers(1, 250), max_size=40), st.lists(st.integers(0, 99), max_size=9))
def test_what_our_cache_writes_our_client_reads(spec: Spec, hosts: list[int], urls: list[int]) -> None:
    told = [Address(f"80.1.2.{n}", 6346) for n in dict.fromkeys(hosts)]
    caches = [f"http://c{n}.example/gwc" for n in dict.fromkeys(urls)]
    lines = gwebcache.hosts_and_urls(spec, [(host, 5) for host in told], [(url, 6) for url in caches])
    answer = parse_answer(gwebcache.body_of([gwebcache.pong(spec, "Test 1"), *lines]))
    assert (answer.spec, answer.hosts, answer.urls, answer.name) == (spec, tuple(told), tuple(caches), answer.name)
    assert answer.name.startswith("Test 1")
    assert parse_answer(gwebcache.body_of([gwebcache.accepted(spec)])).took_update
    assert parse_answer(gwebcache.body_of([gwebcache.warning(spec, "no", of_update=True)])).remark


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        answer = parse_answer(body)
    except RemoteViolation as violation:
        assert violation.reason is DropReason.BAD_CACHE_ANSWER
    else:
        assert len(answer.hosts) <= MAX_HOSTS and len(answer.urls) <= MAX_URLS


@given(st.text(max_size=120), st.booleans())
def test_any_text_is_a_url_or_a_value_error(text: str, private: bool) -> None:
    try:
        url = check_url(text, allow_private=private)
    except ValueError:
        return
    assert check_url(url, allow_private=private) == url
