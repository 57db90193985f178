"""Downloads of real servents: search, `get` the first hit, watch it until it is whole, compare every byte."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from gnutella.errors import UserError
from gnutella.lab.content import Content, content_of
from gnutella.lab.live_nodes import LiveNode
from gnutella.lab.live_search import LiveSearch
from gnutella.protocol.urn import parse_urn

#: How often a download is looked at.
LOOK_S = 0.2


class LiveDownload(LiveSearch):
    """Words that one node searches for, and the file that comes of it.  `look` every LOOK_S until `is_ended`."""

    def __init__(self, node: LiveNode, words: str, within_s: float, search_s: float) -> None:
        super().__init__(node, words, search_s)
        self.words = words
        self.within_s = within_s
        self.row: dict[str, Any] = {}
        self.ended_at: float | None = None
        #: What is wrong with a file that is done; "" when it has the bytes that were shared.
        self.fault = ""
        self._looked_at = 0.0

    @property
    def is_ended(self) -> bool:
        """Nothing more will come of it, or its time is over."""
        is_due = bool(self.within_s) and time.monotonic() > self.asked_at + self.within_s
        return self.ended_at is not None or is_due or (self.is_over and not self.row)

    def _end(self, error: str) -> None:
        """The search is over, or the `get` that followed it."""
        if self.is_over or error or not self.rows or self.row:
            super()._end(error)
            return
        self.row = {"state": "asked"}
        self._socket.sendall(b"get 1\n")

    def _line(self, line: str) -> None:
        if not self.row or self.is_over:
            super()._line(line)
        elif line.startswith("250-"):
            self.row = json.loads(line[4:])
        elif line.startswith("250 "):
            super()._end("")
        elif line.startswith("5"):
            self.row = {}
            super()._end(line)

    def look(self) -> None:
        """Ask the servent how far it is, if that is due; one that does not run is asked when it runs again."""
        now = time.monotonic()
        if "id" not in self.row or self.ended_at is not None or not self.node.is_up or now < self._looked_at + LOOK_S:
            return
        self._looked_at = now
        try:
            rows = self.node.ask("downloads")
        except UserError:
            return
        found = next((row for row in rows if row["id"] == self.row["id"]), None)
        if found is None:
            return
        self.row = found
        if found["state"] in ("done", "failed", "cancelled"):
            self.ended_at = now
            if found["state"] == "done":
                self._done()

    def _done(self) -> None:
        """It is whole: right, or wrong; and the servent shares it from now on."""
        self.fault, hit = self._fault(), self.rows[0]
        file = Content.of(hit["name"], int(hit["size"]))
        if file not in self.node.files:
            self.node.files.append(file)

    def _fault(self) -> str:
        hit = self.rows[0]
        sha1 = parse_urn(str(hit["urn"])).sha1
        try:
            content = Path(self.row["path"]).read_bytes()
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if hashlib.sha1(content).digest() != sha1 or content != content_of(hit["name"], int(hit["size"])):
            return "is not as shared"
        return ""

    def shown(self) -> dict[str, Any]:
        """Keys of report.DOWNLOAD_COLUMNS."""
        hit: dict[str, Any] = self.rows[0] if self.rows else {"name": self.words, "size": 0}
        return {
            "download": hit["name"],
            "by": self.node.name,
            "state": self.row.get("state", "failed"),
            "size": int(hit["size"]),
            "sources": int(self.row.get("sources", 0)),
            "seconds": None if self.ended_at is None else round(self.ended_at - self.asked_at, 3),
            "error": self.row.get("error") or self.error or ("" if self.rows else "nothing was found"),
        }

    def failures(self) -> list[str]:
        """A line when it is not whole, byte by byte, in its time."""
        label = f"download of {self.words!r} by {self.node.name}"
        if self.fault:
            return [f"invariant byte-exact: node {self.node.name}: {self.rows[0]['name']} {self.fault}"]
        if not self.within_s:
            return []
        if not self.rows:
            return [f"{label}: nothing was found"]
        shown = self.shown()
        if shown["state"] != "done":
            return [f"{label}: {shown['state']} {shown['error']}".rstrip()]
        if shown["seconds"] > self.within_s:
            return [f"{label}: took {shown['seconds']:g} s, expected {self.within_s:g} s"]
        return []
