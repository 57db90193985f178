"""Every reason for which something is dropped, refused or closed: one enum.

A member's value is the metric label and the trace text; the documentation table is made from `describe()`.  `bye` is the Bye
code (protocol digest 2.7) told to a link that is closed for it, `http` the status told to an HTTP peer; 0 means that the
peer is told nothing (the message alone is dropped, or the connection is closed silently).
"""

from __future__ import annotations

from enum import Enum


class DropReason(Enum):
    """Why; see the module text.  Members are grouped by where they arise."""

    # -- messages: dropped, the link lives on --------------------------------------------------------------------------
    DUPLICATE = "duplicate", 0, 0, "a message with this GUID was handled before"
    TTL_SPENT = "ttl_spent", 0, 0, "arrived with its last hop used: handled here, not forwarded"
    NO_TABLE_MATCH = "no_table_match", 0, 0, "on its last hop, and the table of no neighbour has its words"
    TTL_ZERO = "ttl_zero", 0, 0, "arrived with TTL 0, which no servent may send"
    TTL_TOO_HIGH = "ttl_too_high", 0, 0, "TTL plus hops is beyond the hard limit"
    NO_ROUTE = (
        "no_route",
        0,
        0,
        "no link is known that leads back: the query or servent id was never seen or is forgotten",
    )
    ROUTE_GONE = "route_gone", 0, 0, "the link that leads back is closed"
    UNREQUESTED_HIT = "unrequested_hit", 0, 0, "a hit for a query that nobody here asked"
    HIT_QUOTA = "hit_quota", 0, 0, "more hits came back for one query than are relayed"
    SERVENT_BORROWED = (
        "servent_borrowed",
        0,
        0,
        "a hit of a leaf under the servent id of a link to another host, or under another one than it had before",
    )
    OWN_MESSAGE = "own_message", 0, 0, "a message of our own came back"
    LINK_BUSY = "link_busy", 0, 0, "the link pushes back and its queue was full; the lowest priority goes first"
    SENDER_BUSY = "sender_busy", 0, 0, "a query from a link that cannot take its hits"
    RATE = "rate", 0, 0, "more messages of this kind than the link may send in this time"
    TOO_MANY_QUERIES = (
        "too_many_queries",
        0,
        0,
        "a leaf's query beyond those that are driven for it, or for all, at a time",
    )
    QUERY_EMPTY = "query_empty", 0, 0, "a query without words and without a URN"
    QUERY_TOO_LONG = "query_too_long", 0, 0, "a query beyond the size that is forwarded"
    QUERY_UNMARKED = "query_unmarked", 0, 0, "a query whose flags word lacks the mark of modern servents"
    BAD_PING = "bad_ping", 0, 0, "a ping whose payload cannot be read"
    BAD_PONG = "bad_pong", 0, 0, "a pong whose payload cannot be read"
    BOGUS_PONG = "bogus_pong", 0, 0, "a pong with port 0 or an address that cannot be a host's"
    UNREQUESTED_PONG = "unrequested_pong", 0, 0, "a pong for a ping that nobody here sent"
    BAD_QUERY = "bad_query", 0, 0, "a query whose payload cannot be read"
    BAD_HIT = "bad_hit", 0, 0, "a query hit whose payload cannot be read"
    BOGUS_HIT = "bogus_hit", 0, 0, "a query hit with an impossible address, servent id or file name"
    HIT_TOO_LARGE = "hit_too_large", 0, 0, "a query hit beyond the size that is forwarded"
    BAD_PUSH = "bad_push", 0, 0, "a push whose payload cannot be read or whose address is impossible"
    BAD_GGEP = "bad_ggep", 0, 0, "a GGEP block that cannot be read"
    BAD_URN = "bad_urn", 0, 0, "a URN that cannot be read"
    BAD_VENDOR = "bad_vendor", 0, 0, "a vendor message that cannot be read"
    SIGNAL_RELAYED = "signal_relayed", 0, 0, "a vendor message for one link alone that somebody passed on"
    CONNECT_BACK_FORGED = "connect_back_forged", 0, 0, "asks us to connect to somebody else than the asker"
    PROXY_REFUSED = "proxy_refused", 0, 0, "asks to be pushed through us in the name of another servent, or of nobody"
    PROXY_UNREQUESTED = "proxy_unrequested", 0, 0, "offers to pass pushes on to us, which we did not ask for"
    STATUS_ASTRAY = "status_astray", 0, 0, "a query status, or a request for one, of no query of that link"
    STATUS_ABSURD = "status_absurd", 0, 0, "a query status with more results than anybody keeps"
    HEAD_UNREQUESTED = "head_unrequested", 0, 0, "a HEAD pong that nobody here asked for, or too long for who did"
    BAD_BYE = "bad_bye", 0, 0, "a Bye whose payload cannot be read"
    BAD_HSEP = "bad_hsep", 0, 0, "horizon sizes that cannot be read"
    BAD_ROUTE_TABLE = (
        "bad_route_table",
        413,
        0,
        "a query routing update that cannot be read, or breaks the rules of tables",
    )
    UNKNOWN_KIND = "unknown_kind", 0, 0, "a message kind that we do not know; ignored"
    LEAF_RELAYED = "leaf_relayed", 414, 0, "a leaf passed on somebody else's message"
    # -- datagrams -----------------------------------------------------------------------------------------------------
    BAD_DATAGRAM = "bad_datagram", 0, 0, "a datagram that is not one whole message"
    BOGUS_SOURCE = "bogus_source", 0, 0, "a datagram from an address that cannot be the sender's"
    NOT_OVER_UDP = "not_over_udp", 0, 0, "a message kind that is not taken over UDP"
    UDP_RATE = "udp_rate", 0, 0, "more datagrams from one address than are answered or taken in this time"
    UDP_BUSY = "udp_busy", 0, 0, "more datagrams in all than are answered in this time"
    UDP_UNSENT = "udp_unsent", 0, 0, "a datagram of ours that the system did not take, or whose host has no address"
    UNREQUESTED_ANNOUNCE = (
        "unrequested_announce",
        0,
        0,
        "hits announced by UDP for a query that nobody here asks (any more)",
    )
    UNREQUESTED_ACK = "unrequested_ack", 0, 0, "an acknowledgement for hits that were not announced to that host"
    OOB_INSECURE = (
        "oob_insecure",
        0,
        0,
        "hits announced or wanted by UDP in a version without tokens, which anyone can forge",
    )
    OOB_TOKEN = "oob_token", 0, 0, "a hit by UDP without the token that its sender was given"
    ANSWERED_ALREADY = (
        "answered_already",
        0,
        0,
        "a query answered before, when it came under the address of another ultrapeer",
    )
    OOB_UNCLAIMED = "oob_unclaimed", 0, 0, "hits of ours that were announced by UDP, and that nobody asked for in time"
    FORGED_RETURN = "forged_return", 0, 0, "a query that wants its hits sent to another host than the one it came from"
    QUERY_KEY = "query_key", 0, 0, "a query by UDP without the key that its sender was given; it is told its key"
    # -- links: closed -------------------------------------------------------------------------------------------------
    MESSAGE_TOO_LARGE = "message_too_large", 400, 0, "a header announced more payload than any message may have"
    TOO_MANY_BAD = "too_many_bad", 501, 0, "more unreadable messages than a working peer sends"
    TOO_MANY_TTL = "too_many_ttl", 403, 0, "more wrong TTLs than a working peer sends"
    TOO_MANY_DUPLICATES = "too_many_duplicates", 401, 0, "too large a share of duplicates"
    DEFLATE_BROKEN = "deflate_broken", 501, 0, "the compressed stream of the link cannot be read"
    DEFLATE_BOMB = "deflate_bomb", 400, 0, "compressed data that grows beyond the bound"
    SEND_QUEUE_FULL = "send_queue_full", 502, 0, "the peer did not take hits and pushes while its queue was full"
    BLOCKED_TOO_LONG = "blocked_too_long", 405, 0, "the peer took nothing for too long"
    NO_ALIVE_REPLY = "no_alive_reply", 406, 0, "alive pings stayed unanswered"
    PEER_BYE = "peer_bye", 0, 0, "the peer said Bye"
    PEER_CHANGED = "peer_changed", 0, 0, "the peer became a leaf, or an ultrapeer, and opens its links anew"
    PEER_CLOSED = "peer_closed", 0, 0, "the peer closed the connection"
    USER_CLOSED = "user_closed", 201, 0, "closed by a command"
    SHUTDOWN = "shutdown", 200, 0, "this node is stopping"
    INTERNAL_ERROR = "internal_error", 500, 500, "a fault of our own, logged"
    # -- ports and handshakes ------------------------------------------------------------------------------------------
    GARBAGE = "garbage", 0, 0, "the first bytes are no protocol of this port"
    CONNECT_BACK = "connect_back", 0, 0, "a probe whether our port can be reached; closed, as it expects"
    SLOW = "slow", 0, 408, "the first line, the handshake or the request was not complete in time"
    HEAD_TOO_LARGE = "head_too_large", 0, 413, "more header bytes or lines than allowed"
    HEAD_BROKEN = "head_broken", 0, 400, "header lines that cannot be read"
    HANDSHAKE_VERSION = "handshake_version", 0, 503, "an old protocol version that is not spoken here"
    HANDSHAKE_REFUSED = "handshake_refused", 0, 0, "the other side refused the link"
    HANDSHAKE_BROKEN = "handshake_broken", 0, 400, "the handshake went against its three steps"
    NOT_GNUTELLA = "not_gnutella", 0, 406, "the peer asks for another network (G2)"
    SLOTS_FULL = "slots_full", 0, 503, "no slot is free for another link"
    ALREADY_LINKED = "already_linked", 0, 409, "a link to this servent or address is open"
    LEAF_TO_LEAF = "leaf_to_leaf", 0, 503, "a leaf takes no links but of ultrapeers"
    ROLE_CHANGED = "role_changed", 203, 503, "this node became a leaf, or an ultrapeer, and opens its links anew"
    SELF_LINK = "self_link", 0, 409, "we dialled ourselves"
    TOO_MANY_HANDSHAKES = "too_many_handshakes", 0, 429, "one address opens connections too fast"
    NETWORK_FULL = "network_full", 0, 503, "one network (/24, /16; IPv6 /48, /32) has its share of what it asks for"
    HAMMERING = "hammering", 0, 0, "an address that came too often, or with garbage, and has to wait"
    BLOCKED = "blocked", 0, 0, "the address is on a blocklist"
    PORT_FULL = "port_full", 0, 0, "more half-open connections than are kept"
    CRAWLER = "crawler", 0, 593, "a crawler asked for our neighbours, was told and closed"
    TLS_FAILED = "tls_failed", 0, 0, "the TLS handshake failed"
    DIAL_FAILED = "dial_failed", 0, 0, "no connection to that address"
    GIV_UNREQUESTED = "giv_unrequested", 0, 0, "a GIV that answers no push of ours"
    BOGUS_NEIGHBOUR = (
        "bogus_neighbour",
        0,
        0,
        "a service of the LAN that is at no address of its networks, or one more than are taken",
    )
    # -- port mappings -------------------------------------------------------------------------------------------------
    BAD_MAPPING = "bad_mapping", 0, 0, "an answer about port mappings that cannot be read"
    BOGUS_MAPPING = "bogus_mapping", 0, 0, "an answer about port mappings to nothing asked, or not from the router"
    # -- web caches ----------------------------------------------------------------------------------------------------
    BAD_CACHE_ANSWER = "bad_cache_answer", 0, 0, "a web cache answered nothing that can be read, or too much"
    CACHE_FAILED = "cache_failed", 0, 0, "no answer of a web cache: not connected, too slow, or an HTTP error"
    CACHE_REFUSED = "cache_refused", 0, 0, "a web cache answered with a warning or an error, and nothing else"
    BOGUS_CACHED = "bogus_cached", 0, 0, "an address or URL that a web cache told cannot be a servent's or a cache's"
    CACHE_RATE = "cache_rate", 0, 429, "more requests of our web cache from one address than are answered in this time"
    BOGUS_UPDATE = "bogus_update", 0, 403, "an update of our web cache that does not tell of its sender"
    # -- HTTP: told to the peer ----------------------------------------------------------------------------------------
    REQUEST_BROKEN = "request_broken", 0, 400, "a request that cannot be read"
    METHOD = "method", 0, 501, "a method other than GET and HEAD"
    NOT_SHARED = "not_shared", 0, 404, "no shared file has that URN, or that index and name"
    NOT_PROXIED = "not_proxied", 0, 410, "a push for a servent that did not ask us to be its push proxy, or is gone"
    PUSH_FORGED = (
        "push_forged",
        0,
        400,
        "a push that is to make us, or a leaf of ours, call somebody else than the asker",
    )
    PUSH_RATE = "push_rate", 0, 503, "one address, or all for one servent, ask for more pushes than we pass on"
    NOT_HERE = "not_here", 0, 404, "no such resource on this port"
    TREE_UNKNOWN = "tree_unknown", 0, 404, "no tiger tree of that file is known yet"
    RANGE = "range", 0, 416, "nothing of the requested range can be served"
    UPLOAD_SLOTS = "upload_slots", 0, 503, "all upload slots are taken"
    UPLOAD_PER_HOST = "upload_per_host", 0, 503, "this address has its share of upload slots"
    FILE_CHANGED = "file_changed", 0, 503, "the file changed on disk since it was hashed"
    UPLOAD_STALLED = "upload_stalled", 0, 0, "a peer does not take what it asked for"
    HTTP_IDLE = "http_idle", 0, 408, "a kept-alive connection was idle for too long"
    # -- downloads: a source is dropped or rested ----------------------------------------------------------------------
    PUSH_UNANSWERED = "push_unanswered", 0, 0, "the source did not call after a push, or no push can reach it"
    PUSH_LIMIT = "push_limit", 0, 0, "pushes ask us to call more often than we do"
    SOURCE_REFUSED = "source_refused", 0, 0, "the source answered with a permanent error"
    SOURCE_BUSY = "source_busy", 0, 0, "the source is busy or queued us"
    SOURCE_BROKE = "source_broke", 0, 0, "the connection to the source broke"
    SOURCE_CORRUPT = "source_corrupt", 0, 0, "bytes from the source did not match the hash"
    SOURCE_MISMATCH = "source_mismatch", 0, 0, "the source offers another file: its size or URN differ"
    SOURCE_SLOW = "source_slow", 0, 0, "the source sent nothing for too long"
    BAD_TREE = "bad_tree", 0, 0, "a tiger tree that does not lead to its root"
    # -- the relay layer -----------------------------------------------------------------------------------------------
    BAD_CBOR = "bad_cbor", 0, 0, "structured bytes that are not canonical CBOR, or too large or deep"
    BAD_BLOCK = "bad_block", 0, 0, "a block that does not belong to its key, or cannot be opened with it"
    BAD_MANIFEST = "bad_manifest", 0, 0, "a manifest that cannot describe a file"
    # -- console -------------------------------------------------------------------------------------------------------
    BAD_TOKEN = "bad_token", 0, 401, "a wrong token"
    TOKEN_RATE = "token_rate", 0, 429, "too many wrong tokens from this address"
    LINE_TOO_LONG = "line_too_long", 0, 413, "a console line beyond its limit"
    SLOW_READER = "slow_reader", 0, 0, "a console that does not read what it asked for"
    FORBIDDEN = "forbidden", 0, 403, "the token's role may not do this"

    bye: int
    http: int
    meaning: str

    def __new__(cls, label: str, bye: int, http: int, meaning: str) -> DropReason:
        member = object.__new__(cls)
        member._value_ = label
        member.bye = bye
        member.http = http
        member.meaning = meaning
        return member

    #: Members are equal to nothing but themselves; the hash of Enum would be a call of Python code for each drop counted.
    __hash__ = object.__hash__


def describe() -> list[tuple[str, int, int, str]]:
    """Rows (label, Bye code, HTTP status, meaning) for the documentation table, in order of definition."""
    return [(reason.value, reason.bye, reason.http, reason.meaning) for reason in DropReason]
