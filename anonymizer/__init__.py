"""The relay layer: requests that do not say who asks, and storage that cannot read what it holds.

Pure modules but for the edge, as the inner rooms of `gnutella`: no reactor, no clock and no chance of their own.  `gnutella`
never imports this package; it may use the errors, reasons, units and codecs of `gnutella`.  Needs the extra `anonymizer`.

    cbor                  the one form of structured bytes: canonical, bounded
    cells                 what goes over a link: two sizes, a header that is never copied
    fields                bodies as frozen values with bounds
    wire                  what cells say
    inner                 what is said inside a circuit, between its origin and its pivot
    descr                 signed descriptors
    known                 which nodes are known, and which may be picked
    seal                  what only a pivot can open, and the ciphers of circuits
    pacing                delays that keep order, fair queues, the stem that an origin imitates
    membership own        which nodes are known and linked; this node's own descriptor
    gossip edge_talk targets bans   parts of membership: descriptors, stem edges, whom to dial, whom not
    tls link links        the edge: sessions between nodes, one connection, all of them (needs Twisted)
    channel               the origin's end of circuits: pivots picked, lost circuits replaced
    lanes transfer        several of them that do one transfer; files out and in
    guards edges          where own circuits begin; where others' go on, and where their stems end
    credit circuits       windows between neighbours; the circuits of a node and their bounds
    outbox seen greedy    what waits to be sent; what came before; the way beyond a stem
    stem                  circuits from origin to pivot, and all that goes onto an edge
    asking documents      signed documents over one of them; newest editions
    decoys meter client   circuits that nobody needs; what the layer is worth now; the origin's side, joined
    route                 FETCH and STORE: a key's way over the links, and what may be kept of it
    fetching storing walks offers   parts of it: one room for each request, what all share, blocks that come late
    neighbours backoff failures     whom to ask next, whom not for a while, for which keys not
    chk ssk usk uri       keys: contents, signed documents and keywords, editions; as text
    fec manifest files    redundancy; which blocks make a file; a file as blocks, both ways
    blocks store          what any node may know of a block; blocks on disk
    client_cache          what this node's own user fetched, apart from all that answers others
    reasons               why something is refused, counted
    errors                what a user is told when a request cannot be kept
"""
