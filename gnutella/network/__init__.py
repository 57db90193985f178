"""The Twisted edge: ports, links, dialling, HTTP exchanges, storage, threads."""
