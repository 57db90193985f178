"""Which router leads out, after /proc/net/route."""

from __future__ import annotations

import sys

import pytest

from gnutella.network.gateway import default_route, find_gateway

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

little = pytest.mark.skipif(sys.byteorder != "little", reason="the table is written as this machine writes numbers")


def line(gateway: str, metric: int, flags: str = "0003", destination: str = "00000000", mask: str = "00000000") -> str:
    return f"eth0\t{destination}\t{gateway}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"


@little
def test_the_default_route_with_the_lowest_metric_is_taken() -> None:
    table = HEAD + line("0101A8C0", 600) + line("FE01A8C0", 100) + line("0201A8C0", 700)
    assert default_route(table) == "192.168.1.254"


@pytest.mark.parametrize(
    "table",
    [
        "",
        HEAD,
        HEAD + line("0101A8C0", 0, destination="0001A8C0", mask="00FFFFFF"),
        HEAD + line("00000000", 0, flags="0001"),
        HEAD + line("0101A8C0", 0, flags="0002"),
        HEAD + "eth0\tnonsense\n",
        HEAD + line("FFFFFFFFFF", 0),
        HEAD + line("-0101A8C", 0),
    ],
)
def test_there_may_be_none(table: str) -> None:
    assert default_route(table) is None


def test_this_machine_has_one_or_none() -> None:
    gateway = find_gateway()
    assert gateway is None or gateway.host != gateway.own
