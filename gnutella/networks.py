"""Which hosts belong together: the networks by which slots, answers and the host cache are shared out.

Whoever has one address mostly has its neighbours too, so limits for single addresses limit nobody who means it.  Three sizes:

    host   IPv4 address    IPv6 /64: what one machine gets, to choose its addresses from as it likes (RFC 6177, RFC 8981);
                           a private one by itself, since there a /64 is the whole office
    near   IPv4 /24        IPv6 /48: the most that one site gets (RFC 6177), and what tunnel brokers hand out for nothing
    wide   IPv4 /16        IPv6 /32: the least that a registry gives to a provider (RIPE-738), so one provider's customers
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: Which addresses are counted by network: those of the Internet, all but loopback, or none.
Counted = Literal["public", "all", "off"]

#: Prefix lengths in IPv6; see above.
HOST6, NEAR6, WIDE6 = 64, 48, 32
#: Where a scope or a prefix length begins.
_END = re.compile("[%/]")
#: How link-local (fe80::/10) and unique local (fc00::/7) addresses begin, and the loopback one.
_PRIVATE6 = ("fe8", "fe9", "fea", "feb", "fc", "fd", "::1")


def host_key(host: str) -> str:
    """What counts as one host: an IPv4 or private IPv6 address, else a /64.  Text that is no IP stays as it is."""
    return host if ":" not in host or host.lower().startswith(_PRIVATE6) else _network6(host, HOST6)


def near(host: str) -> str:
    """The network of a site: `192.0.2.0/24`, `2001:db8:1::/48`."""
    return _network6(host, NEAR6) if ":" in host else f"{host.rpartition('.')[0]}.0/24"


def wide(host: str) -> str:
    """The network of a provider, as near as one can guess: `192.0.0.0/16`, `2001:db8::/32`."""
    return _network6(host, WIDE6) if ":" in host else f"{'.'.join(host.split('.')[:2])}.0.0/16"


def is_loopback(host: str) -> bool:
    """Whether `host` is a literal loopback IP."""
    return host.startswith("127.") or host == "::1"


def is_ip(host: str) -> bool:
    """Whether `host` is a literal IP."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(host: str) -> bool:
    """Whether `host` is a literal IP that the whole Internet can route."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _network6(host: str, prefix: int) -> str:
    try:
        address = int(ipaddress.IPv6Address(_END.split(host, 1)[0]))
    except ValueError:
        return host
    mask = (1 << 128) - (1 << 128 - prefix)
    return f"{ipaddress.IPv6Address(address & mask)}/{prefix}"


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of anything that is scarce the hosts of one network may have, in percent of it.

    `counted` says whose networks matter: an office is one /24, and its nodes shall link with each other as they like, so
    private addresses count only when it is "all".
    """

    near_percent: int = 10
    wide_percent: int = 25
    counted: Counted = "public"

    def applies_to(self, host: str) -> bool:
        """Whether this host is counted by its networks."""
        if self.counted == "off" or is_loopback(host):
            return False
        return self.counted == "all" or is_public(host)

    def limits(self, slots: int, at_least: int = 1) -> tuple[int, int]:
        """How many of `slots` a near and a wide network may take.

        Never less than one and a half times `at_least`, which one host may have: it shall not shut its neighbours out.
        """
        near_limit = max(at_least * 3 // 2, slots * self.near_percent // 100)
        return near_limit, max(near_limit, slots * self.wide_percent // 100)

    def crowded(self, host: str, others: Iterable[str], slots: int, at_least: int = 1) -> str | None:
        """The network of `host` that has had its share, `others` being the hosts that have slots; None: there is room."""
        if not self.applies_to(host):
            return None
        near_limit, wide_limit = self.limits(slots, at_least)
        if slots <= near_limit:
            return None
        here, around = near(host), wide(host)
        near_count = wide_count = 0
        is_v6 = ":" in host
        for other in others:
            if (":" in other) is is_v6 and wide(other) == around:
                wide_count += 1
                near_count += near(other) == here
        if near_count >= near_limit:
            return here
        return around if wide_count >= wide_limit else None
