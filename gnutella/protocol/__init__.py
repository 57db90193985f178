"""bytes <-> values: messages, GGEP, handshake, HTTP heads, query routing tables, hashes.  Pure."""
