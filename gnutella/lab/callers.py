"""Which process is at the other end of a loopback connection, from /proc: real servents all come from 127.0.0.1."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable

#: Where Linux lists its TCP connections, IPv4 and not.
_TABLE = "/proc/net/tcp"


def owner_of(host: str, port: int, local_port: int, processes: Iterable[int]) -> int | None:
    """Which of `processes` has the socket bound to host:port that is connected to our `local_port`; None for none of them.

    The processes must be the caller's own user's; one that has just gone owns nothing any more.
    """
    inode = _inode(host, port, local_port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    return next((process for process in processes if wanted in _descriptors(process)), None)


def _inode(host: str, port: int, local_port: int) -> str | None:
    """The inode of that socket: the tenth column of its row; the second and third are its two addresses."""
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    local, remote = f"{number:08X}:{port:04X}", f":{local_port:04X}"
    with open(_TABLE, encoding="ascii") as table:
        for line in table:
            columns = line.split(None, 10)
            if columns[1] == local and columns[2].endswith(remote):
                return columns[9]
    return None


def _descriptors(process: int) -> Iterable[str]:
    place = f"/proc/{process}/fd"
    try:
        for name in os.listdir(place):
            try:
                yield os.readlink(f"{place}/{name}")
            except OSError:
                continue  # closed meanwhile
    except OSError:
        return
