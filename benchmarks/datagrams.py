"""What a datagram costs, and what it draws: floods of forged and of sound ones against the UDP core and the router, no sockets.

    python benchmarks/datagrams.py [--count 20000]

Prints, for each kind of flood: CPU microseconds a datagram, bytes sent for each byte received, and what was refused.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import Query, encode
from gnutella.protocol.oob import oob_guid, replies_message
from gnutella.protocol.vendor import OobAck
from gnutella.protocol.vendor_out import message_of
from gnutella.testing.datagram_net import DatagramNet, VirtualHost
from gnutella.testing.datagrams import ping_datagram
from gnutella.testing.routers import guid_of
from gnutella.units import Address, Guid

#: Datagrams of a flood come so many a second.
RATE = 2000.0

Flood = Callable[[int, Guid], bytes]


def source(number: int) -> Address:
    """A forged source: many hosts of a few hundred networks."""
    return Address(f"9{number % 8}.{number // 7 % 60}.1.{number % 251 + 1}", 1024 + number % 60000)


FLOODS: dict[str, Flood] = {
    "pings": lambda n, _: ping_datagram(number=n),
    "pings that ask for a query key": lambda n, _: ping_datagram(Ggep.of({"QK": b""}), number=n),
    "announcements for a search that runs": lambda _, search: encode(
        search, 1, 0, replies_message(255, 3, takes_unsolicited=True)
    ),
    "announcements for no search": lambda n, _: encode(
        guid_of(n), 1, 0, replies_message(255, 3, takes_unsolicited=True)
    ),
    "acknowledgements for no hits": lambda n, _: encode(
        oob_guid(guid_of(n), source(n)), 1, 0, message_of(OobAck(64, b"12345678"))
    ),
    "queries without a key": lambda n, _: encode(guid_of(n), 1, 0, Query("purple")),
}


def run(flood: Flood, count: int) -> tuple[float, float, dict[str, int]]:
    """CPU microseconds a datagram, bytes out for each byte in, refusals."""
    net = DatagramNet()
    host: VirtualHost = net.host("81.0.0.1", [f"purple {number}.ogg" for number in range(60)])
    net.link(host, net.host("82.0.0.1"))
    search = oob_guid(guid_of(1), host.address)
    host.router.search(Query("elephant"), 0.0, guid=search)
    datagrams = [(flood(number, search), source(number)) for number in range(count)]
    began = time.process_time()
    for number, (data, sender) in enumerate(datagrams):
        host.do(host.udp.receive(data, sender, number / RATE))
        if number % int(RATE) == 0:
            host.router.tick(number / RATE)
    spent = time.process_time() - began
    sent = sum(len(sent.data) for sent in net.sent)
    return spent / count * 1e6, sent / sum(len(data) for data, _ in datagrams), host.router.counters.dropped()


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of floods of datagrams.")
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    print(f"{'flood':40}{'us each':>9}{'out/in':>9}  refused")
    for name, flood in FLOODS.items():
        cost, ratio, refused = run(flood, count)
        told = ", ".join(f"{reason} {number}" for reason, number in refused.items())
        print(f"{name:40}{cost:9.1f}{ratio:9.3f}  {told}")


if __name__ == "__main__":
    main()
