"""Hypothesis strategies for vendor messages: every body that a servent of ours sends, with any values it can have."""

from __future__ import annotations

from hypothesis import strategies as st

from gnutella.protocol import vendor
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.urn import sha1_urn
from gnutella.protocol.vendor import Body
from gnutella.units import Address, Guid

_BYTE = st.integers(0, 255)
_U16 = st.integers(0, 0xFFFF)
_CODE = st.binary(min_size=4, max_size=4)


def guids() -> st.SearchStrategy[Guid]:
    """Any 16 bytes."""
    return st.binary(min_size=16, max_size=16).map(Guid)


def addresses() -> st.SearchStrategy[Address]:
    """Any IPv4 address and port, sensible or not."""
    return st.builds(Address, st.ip_addresses(v=4).map(str), _U16)


def bodies() -> st.SearchStrategy[Body]:
    """One body of each kind that message_of writes."""
    return st.one_of(
        st.builds(vendor.MessagesSupported, st.lists(st.tuples(_CODE, _U16, _U16), max_size=9).map(tuple)),
        st.builds(vendor.FeaturesSupported, st.lists(st.tuples(_CODE, _U16), max_size=9).map(tuple)),
        st.builds(vendor.HopsFlow, _BYTE),
        st.builds(vendor.TcpConnectBack, _U16),
        st.builds(vendor.UdpConnectBack, _U16, guids()),
        st.just(vendor.QueryStatusRequest()),
        st.builds(vendor.QueryStatus, _U16),
        st.builds(vendor.OobReplies, _BYTE, st.booleans()),
        st.builds(vendor.OobAck, _BYTE, st.binary(min_size=1, max_size=16)),
        st.builds(vendor.OobProxyVeto, _BYTE),
        st.just(vendor.PushProxyRequest()),
        st.just(vendor.PushProxyCancel()),
        st.builds(vendor.PushProxyAck, addresses()),
        st.builds(vendor.HeadPing, st.integers(0, 15), _SHA1_URNS, st.none()),
        st.builds(vendor.HeadPing, st.integers(16, 31), _SHA1_URNS, guids().map(lambda g: Ggep.of({"PUSH": g}))),
        st.builds(vendor.HeadPong, _BYTE.map(lambda code: Ggep.of({"C": bytes((code,))}))),
    )


_SHA1_URNS = st.binary(min_size=20, max_size=20).map(sha1_urn)
