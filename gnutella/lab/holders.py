"""Who has files that match a query, whether or not anything leads there: what recall is measured against.

Asking a thousand catalogs for each query costs as much as flooding it.  Nodes share copies of the same files, so the names are
asked once, in one catalog of all of them, and then only those who hold one that matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gnutella.protocol.query import Query
from gnutella.routing.relay import MAX_ANSWERED_FILES
from gnutella.sharing.catalog import Catalog, SharedFile

if TYPE_CHECKING:
    from gnutella.lab.node import LabNode


class Holders:
    """Of the files of some nodes; `changed` must be told when a node comes or shares more."""

    def __init__(self, nodes: Mapping[str, LabNode]) -> None:
        self._nodes = nodes
        #: Query payload -> who has how many matching files.
        self._matching: dict[bytes, list[tuple[LabNode, int]]] = {}
        self._names: Catalog | None = None
        #: File of that catalog -> names of the nodes that share one of that name.
        self._by_file: dict[int, list[LabNode]] = {}

    def changed(self) -> None:
        """Somebody shares more files."""
        self._matching.clear()
        self._names = None

    def expected(self, asker: LabNode, query: Query) -> int:
        """How many files at running nodes but the asker match."""
        payload = query.encode()
        matching = self._matching.get(payload)
        if matching is None:
            asked = [
                (holder, len(holder.catalog.answer(payload, MAX_ANSWERED_FILES)))
                for holder in self._candidates(payload)
            ]
            matching = self._matching[payload] = [(holder, count) for holder, count in asked if count]
        return sum(count for holder, count in matching if holder.is_up and holder is not asker)

    def _candidates(self, payload: bytes) -> list[LabNode]:
        """Nodes that may have an answer, in the order in which they were added."""
        if payload.find(b"\0", 2) != len(payload) - 1:  # hashes, kinds, what is new: not by names alone
            return list(self._nodes.values())
        if self._names is None:
            self._names = self._catalog()
        found = self._names.answer(payload, self._names.file_count)
        nodes = {node.number: node for file in found for node in self._by_file[file.index]}
        return [nodes[number] for number in sorted(nodes)]

    def _catalog(self) -> Catalog:
        files: dict[str, SharedFile] = {}
        self._by_file = {}
        for node in self._nodes.values():
            for file in node.catalog.files:
                known = files.get(file.name)
                if known is None:
                    known = files[file.name] = replace(file, index=len(files) + 1)
                self._by_file.setdefault(known.index, []).append(node)
        return Catalog.build(files.values())
