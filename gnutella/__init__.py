"""A headless Gnutella 0.6 servent for Python and Twisted.

The rooms, left to right (a room knows nothing of those on its right): protocol, routing, sharing, transfers, network,
control.  See docs/explanation/architecture.md for the map.
"""

__version__ = "0.1.0"

#: What we call ourselves in User-Agent and Server.  Words such as "Download" or "Mozilla" are refused by LimeWire.
USER_AGENT = f"PyGnutella/{__version__}"

#: Our four letters in query hits, pongs (VC) and vendor lists; unused by any client known (protocol digest 2.10).
VENDOR_CODE = b"PYGN"
