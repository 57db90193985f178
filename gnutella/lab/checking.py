"""Downloads of the lab checked leaf by leaf, by the production rules: the tree a source gives, and who sent what."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from gnutella.lab.content import content_of
from gnutella.protocol import thex
from gnutella.protocol.http import Span
from gnutella.protocol.tth import Tree, node_size_for, roots, tree_of
from gnutella.reasons import DropReason
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.transfers.planner import Plan
from gnutella.transfers.ranges import RangeSet
from gnutella.transfers.sources import Phase, Source, SourceBook
from gnutella.transfers.verify import LeafCheck

#: Trees of different files that are kept; each is made from all bytes of its file.
_TREES = 64


@lru_cache(maxsize=_TREES)
def tree_for(name: str, size: int) -> Tree:
    """The tiger tree of a file of the lab."""
    return tree_of(content_of(name, size))


def is_treed(size: int) -> bool:
    """Whether a file has more than one leaf, so that its tree is of use."""
    return size > node_size_for(size)


class Trees:
    """A catalog whose larger files have tree roots, made when a transfer asks for them; queries have no need of them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def by_sha1(self, sha1: bytes) -> SharedFile | None:
        """upload.Offers."""
        return _rooted(self._catalog.by_sha1(sha1))

    def by_index(self, index: int) -> SharedFile | None:
        """upload.Offers."""
        return _rooted(self._catalog.by_index(index))


def _rooted(file: SharedFile | None) -> SharedFile | None:
    return replace(file, tth=tree_for(file.name, file.size).root) if file is not None and is_treed(file.size) else file


class Checking:
    """What is known of one partial file's leaves; `tree` outlives restarts of its node, as in the servent's database."""

    def __init__(self, size: int, book: SourceBook) -> None:
        self.size = size
        self.book = book
        self.leaves: LeafCheck | None = None
        self.tree: Tree | None = None
        #: Different sources contradicted a tree: none is used any more.
        self.distrusts_trees = False
        #: The whole file was wrong though all leaves were right, and they were looked at again.
        self.has_rechecked = False
        self._is_asked = False
        self._giver: Source | None = None

    def wants_tree(self, source: Source) -> bool:
        """Whether that source is to be asked for its tree now."""
        if self.tree is not None or self._is_asked or self.distrusts_trees or source.has_no_tree:
            return False
        return source.tree_path is not None and is_treed(self.size)

    def asked(self, *, is_over: bool = False) -> None:
        """A source is being asked, or that has ended."""
        self._is_asked = not is_over

    def take_tree(self, source: Source, body: bytes, plan: Plan) -> None:
        """A source gave its tree; RemoteViolation for one that is no tree of this file."""
        root = source.tree_root
        if root is None or self.tree is not None:
            return
        self.tree, self._giver = thex.parse(body, root, self.size), source
        self.begin(plan, RangeSet())

    def begin(self, plan: Plan, verified: RangeSet) -> None:
        """Check what the plan has from now on; what `verified` names was found right before."""
        tree = self.tree
        if tree is None:
            return
        nodes = [tree.node(number) for number in range(tree.count)]
        self.leaves = LeafCheck(self.size, tree.node_size, nodes, verified)
        for start, stop in plan.have:
            self.leaves.wrote(0, start, stop)

    def wrote(self, source: int, start: int, stop: int) -> None:
        """Bytes of a source are in the file."""
        if self.leaves is not None:
            self.leaves.wrote(source, start, stop)

    @property
    def is_done(self) -> bool:
        """Every leaf that can be checked was right."""
        return self.leaves is None or self.leaves.is_complete

    def check(self, plan: Plan, content: bytearray) -> list[Span]:
        """Look at all leaves that are complete; the wrong ones are to be fetched again, and who sent them is dropped."""
        wrong: list[Span] = []
        leaves = self.leaves
        while leaves is not None and (batch := leaves.next_batch(plan.have)) is not None:
            verdict = leaves.checked(batch, roots(bytes(content[batch.start : batch.stop]), leaves.leaf))
            for span in verdict.bad:
                plan.discard(span.start, span.stop)
            wrong += verdict.bad
            if verdict.is_tree_doubtful:
                self.doubt_tree()
                break
            for key in verdict.culprits:
                source = self.book.get(key)
                if source is not None and source.phase is not Phase.DROPPED:
                    self.book.drop(source, DropReason.SOURCE_CORRUPT)
        return wrong

    def doubt_tree(self) -> bool:
        """Do without a tree, pardon who was dropped for it, and drop who gave it; False when there was none."""
        if self.leaves is None:
            return False
        self.leaves, self.tree, self.distrusts_trees = None, None, True
        for source in self.book:
            if source.phase is Phase.DROPPED and source.reason is DropReason.SOURCE_CORRUPT:
                source.phase, source.reason = Phase.IDLE, None
        if self._giver is not None:
            self.book.drop(self._giver, DropReason.SOURCE_CORRUPT)
            self._giver = None
        return True
