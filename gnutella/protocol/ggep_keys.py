"""The GGEP keys of the network, where they stand, and which of them this servent reads or writes.

A table for people and for the documentation page made from it; the codec keeps every key, known or not, in its place.
Layouts: digest 3.3.
"""

from __future__ import annotations

from typing import NamedTuple

#: Letters for the places in which a key may stand.
PLACES = {
    "Pi": "ping",
    "Po": "pong",
    "Q": "query",
    "R": "record of a query hit",
    "T": "trailer of a query hit",
    "P": "push",
    "V": "vendor message",
    "D": "DHT value",
}


class GgepKey(NamedTuple):
    """`use`: "reads and writes", "reads", "writes", or nothing: kept as it is."""

    key: str
    places: str
    layout: str
    meaning: str
    use: str = ""


READS, WRITES, BOTH = "reads", "writes", "reads and writes"

KEYS = (
    GgepKey("6", "Po T Q P", "16 bytes IPv6, or empty", "the sender's IPv6 address; empty: IPv6 is spoken", BOTH),
    GgepKey("<", "Q R T", "XML, deflate allowed", "metadata"),
    GgepKey("A", "V", "host vector", "HEAD pong: other sources", READS),
    GgepKey("A6", "V", "IPv6 host vector", "HEAD pong: other sources"),
    GgepKey("ALT", "R", "host vector, at most 10", "other sources of the file", READS),
    GgepKey("ALT6", "R", "IPv6 host vector", "other sources of the file", READS),
    GgepKey("ALT_TLS", "R", "bitmap for ALT", "which of them take TLS"),
    GgepKey("ALT6_TLS", "R", "bitmap for ALT6", "which of them take TLS"),
    GgepKey("BH", "T", "empty", "all files of the sender can be listed", READS),
    GgepKey("C", "V", "code byte", "HEAD pong: found or not", READS),
    GgepKey("CHAT", "T", "empty", "the sender chats"),
    GgepKey("CT", "R", "minimal number, seconds since 1970", "age of the file", BOTH),
    GgepKey("DHT", "Po", "major, minor, mode", "state in the DHT"),
    GgepKey("DHTIPP", "Pi Po", "empty in a ping, else host vector", "nodes of the DHT"),
    GgepKey("DHTIPP6", "Po", "IPv6 host vector", "nodes of the DHT"),
    GgepKey("DU", "Po", "minimal number, at most 86400", "seconds of uptime on an average day", BOTH),
    GgepKey("F", "V", "bits; 0 TLS", "HEAD pong: features"),
    GgepKey("FW", "T", "version byte", "firewall-to-firewall transfers"),
    GgepKey("GTKGV", "Po T", "version structure", "version of gtk-gnutella"),
    GgepKey("GUE", "Po Pi", "major and minor in one byte", "GUESS", BOTH),
    GgepKey(
        "H", "R Q", "01 and SHA-1, or 02 and SHA-1 and tree root", "hash; in hits only for askers with flag 0800", BOTH
    ),
    GgepKey("HNAME", "T", "text", "host name of the sender"),
    GgepKey("I6", "Q", "empty", "IPv6 addresses are wanted in hits"),
    GgepKey("IP", "Pi Po", "empty in a ping, else address and port", "how the answerer sees the asker", BOTH),
    GgepKey("IPP", "Po", "host vector, at most 30", "hosts that answer SCP", BOTH),
    GgepKey("IPP6", "Po", "IPv6 host vector, at most 30", "hosts that answer SCP", BOTH),
    GgepKey("IPP_TLS", "Po", "bitmap for IPP", "which of them take TLS", WRITES),
    GgepKey("IPP6_TLS", "Po", "bitmap for IPP6", "which of them take TLS", WRITES),
    GgepKey("LF", "R", "minimal number, 1 to 8 bytes, not 0", "size of a file of 2 GiB or more", BOTH),
    GgepKey("LOC", "Pi Po", "language, perhaps country and slots", "locale"),
    GgepKey("M", "Q", "mask", "kinds of media that are wanted"),
    GgepKey("MCAST", "T", "empty", "answers a multicast query"),
    GgepKey("NM", "Q", "20 bytes", "SHA-1 without metadata"),
    GgepKey("NMS1", "R", "20 bytes", "SHA-1 without metadata"),
    GgepKey("NP", "Q", "empty", "is not to be proxied out of band"),
    GgepKey("P", "V", "push locations", "HEAD pong: firewalled sources"),
    GgepKey("PATH", "R", "text", "path of the file in the share"),
    GgepKey("PHC", "Po", "lines of text, deflated", "UDP host caches", READS),
    GgepKey("PR", "Q", "empty", "partial files are welcome"),
    GgepKey("PR0", "R", "empty", "a partial file, ranges not told", READS),
    GgepKey("PR1", "R", "interval tree, also PR2 to PR4", "a partial file with its ranges", READS),
    GgepKey("PRU", "R", "empty, or time and bytes there", "a partial file, ranges not known", READS),
    GgepKey("PUSH", "T V", "host vector, at most 4 (8); 16 bytes in HEAD pings", "push proxies", BOTH),
    GgepKey("PUSH6", "T", "IPv6 host vector", "push proxies", BOTH),
    GgepKey("PUSH_TLS", "T", "bitmap for PUSH", "which of them take TLS"),
    GgepKey("PUSH6_TLS", "T", "bitmap for PUSH6", "which of them take TLS"),
    GgepKey("Q", "V", "signed byte", "HEAD pong: free slots (negative) or queue length", READS),
    GgepKey("QK", "Pi Po Q", "4 to 16 bytes", "GUESS query key", BOTH),
    GgepKey("R", "V", "pairs of 32-bit offsets, big endian", "HEAD pong: ranges; R5 with 40 bits"),
    GgepKey("SCP", "Pi", "1 byte: 01 ultrapeer, 02 TLS, 04 IPv6, 08 no IPv4", "packed hosts are welcome", BOTH),
    GgepKey("SO", "Q T V", "token of 1 to 16 bytes, empty in a query", "secure out-of-band hits", BOTH),
    GgepKey("T", "V", "bitmap for A, also T6", "HEAD pong: which sources take TLS"),
    GgepKey("TLS", "Po T P", "empty", "the listening port takes TLS", BOTH),
    GgepKey("TT", "R", "24 bytes", "tiger tree root, where H is not used", BOTH),
    GgepKey("u", "R Q", "URN without `urn:`", "hash", READS),
    GgepKey("UA", "Po T", "text", "user agent"),
    GgepKey("UDPHC", "Po", "empty or a name", "the sender is a UDP host cache", BOTH),
    GgepKey("UP", "Po", "version, free leaf slots, free ultrapeer slots", "the sender is an ultrapeer", BOTH),
    GgepKey("V", "V", "4 letters", "HEAD pong: vendor"),
    GgepKey("VC", "Po Pi", "4 letters, version byte", "vendor", BOTH),
    GgepKey("WH", "Q", "01", "what is new"),
    GgepKey("XQ", "Q", "text", "the whole of a long query", BOTH),
    GgepKey("Z", "Q", "empty", "GUESS: hits may be deflated"),
)
