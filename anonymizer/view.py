"""The relay layer as commands see it: gnutella.control.relay_view.RelayView over a Layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

from anonymizer.errors import AnonymityError, BadKey, GatewayUnavailable
from anonymizer.explain import explain
from anonymizer.inner import Attach
from anonymizer.jobs import FetchJob, Job, PutJob, ShareJob
from anonymizer.kinds import filter_bits
from anonymizer.layer import Layer
from anonymizer.ownfiles import path_of
from anonymizer.search import Search, SearchResult
from anonymizer.shares import AnonymousShare
from anonymizer.ssk import WriteKey
from anonymizer.uri import KskUri, OwnUri, SskUri, UskUri, name_of, parse_uri
from gnutella.control.relay_view import Terms
from gnutella.control.view import Row
from gnutella.errors import UserError
from gnutella.protocol.urn import b32encode, sha1_urn

#: Jobs that are over and still shown.
MAX_OVER: Final = 64
_STARTING: Final = UserError("the relay layer is still starting", "try again in a moment", os.EX_TEMPFAIL)


class Seeking:
    """See gnutella.control.relay_view.Seeking."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self.is_over = False
        self.error: Exception | None = None
        self.search: Search | None = None

    @property
    def told(self) -> Row:
        """How it is done."""
        if self.search is None:
            return {}
        row = self._layer.client.reading(self.search.picks, self._layer.now()).row()
        return {key: row[key] for key in ("level", "pivots", "effective_set", "edge_age_s")}

    def done(self, error: AnonymityError | None) -> None:
        """The search ended."""
        self.is_over, self.error = True, error

    def stop(self) -> None:
        if self.search is not None and not self.search.is_done:
            self.search.stop(self._layer.now())
            self._layer.wake()


class RelayFace:
    """Implements RelayView."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._jobs: dict[int, Job] = {}
        self._next = 1
        self._found: list[SearchResult] = []
        self.searched_at = 0.0

    @property
    def all_jobs(self) -> list[Job]:
        """Those that go on, and lately ended ones."""
        return list(self._jobs.values())

    def stop(self) -> None:
        """End all jobs."""
        for job in self.all_jobs:
            job.cancel()

    def _must_run(self) -> None:
        if not self._layer.is_up:
            raise _STARTING

    # -- how it is ---------------------------------------------------------------------------------------------------------

    def status(self) -> Row:
        self._must_run()
        return {**self._layer.status(), "jobs": sum(not job.is_over for job in self._jobs.values())}

    def explain(self) -> Sequence[Row]:
        self._must_run()
        return [{"topic": topic, "text": text} for topic, text in explain(self._layer.facts())]

    # -- requests ----------------------------------------------------------------------------------------------------------

    def _add(self, job: Job) -> None:
        self._next += 1
        self._jobs[job.number] = job
        over = [number for number, old in self._jobs.items() if old.is_over]
        for number in over[:-MAX_OVER]:
            del self._jobs[number]

    def get(self, what: str, to: str, terms: Terms) -> Job:
        self._must_run()
        name = ""
        anchors: tuple[Attach, ...] = ()
        if what.isascii() and what.isdigit():
            found = self._hit(int(what[:10]))
            if found.uri is None:
                raise GatewayUnavailable(
                    "only servents outside the relay layer have it, and no pivot fetches from them",
                    f"in the clear, with your address: gnutella get urn:sha1:{b32encode(found.sha1)}"
                    if found.sha1
                    else "leave it",
                )
            uri, name = found.uri, found.name
            anchors = tuple(Attach(hint.pivot_id, hint.token) for hint in found.anchors)
        else:
            parsed = parse_uri(what)
            if isinstance(parsed, OwnUri):
                raise BadKey("an owner's key writes; its readers have another")
            uri = parsed  # type: ignore[assignment]
            name = parsed.name if isinstance(parsed, SskUri | UskUri) else ""
            name = parsed.keyword if isinstance(parsed, KskUri) else name or "unnamed-" + what[8:16].lower()
        job = FetchJob(self._layer, self._next, name, to, anchors)
        job.start(uri, terms)
        self._add(job)
        return job

    def _hit(self, number: int) -> SearchResult:
        if not 1 <= number <= len(self._found):
            raise UserError(f"no anonymous hit {number}", "anonymous search first; its rows are numbered from 1", 1)
        return self._found[number - 1]

    def put(self, path: str, document: str, terms: Terms, *, convergent: bool, unlisted: bool = False) -> Job:
        self._must_run()
        owner, name = _owner_of(document) if document else (None, "")
        job = PutJob(self._layer, self._next, path_of(path), owner, name)
        job.start(terms, convergent=convergent, is_listed=not unlisted)
        self._add(job)
        return job

    def share(self, path: str, terms: Terms) -> Job:
        self._must_run()
        job = ShareJob(self._layer, self._next, path_of(path))
        job.start(terms)
        self._add(job)
        return job

    def search(
        self, words: str, kinds: Sequence[str], limit: int, terms: Terms, gateway: bool, hit: Callable[[Row], None]
    ) -> Seeking:
        self._must_run()
        layer, now = self._layer, self._layer.now()
        client = layer.client
        client.admit(terms.level, terms.accept_small_set or None, now)
        seeking = Seeking(layer)
        self._found, self.searched_at = [], now
        found = self._found

        def show(result: SearchResult) -> None:
            if result.number > len(found):
                found.append(result)
                hit(_hit_row(result))

        search = Search(
            client.channels,
            layer.new_key,
            words,
            found=show,
            done=seeking.done,
            kinds=filter_bits(kinds),
            gateway=gateway,
            **({"hits": limit} if limit else {}),
        )
        seeking.search = search
        search.start(now)
        layer.wake()
        return seeking

    # -- offers, jobs, keys ------------------------------------------------------------------------------------------------

    def shares(self) -> Sequence[Row]:
        self._must_run()
        return [self._share_row(share) for share in self._layer.shares]

    def _share_row(self, share: AnonymousShare) -> Row:
        return {
            "name": share.name,
            "size": share.size,
            "uri": str(share.uri),
            "way": "anchored" if share.is_anchored else "inserted",
            "warning": self._layer.warning(share),
        }

    async def unshare(self, name: str) -> Row:
        self._must_run()
        for share in self._layer.shares:
            if name in (share.name, str(share.uri)):
                row = self._share_row(share)
                await self._layer.unshare(share)
                return row
        raise UserError(f"no anonymous share is called {name!r}", "gnutella anonymous shares", 1)

    def jobs(self) -> Sequence[Row]:
        return [job.row for job in self._jobs.values()]

    def cancel(self, number: int) -> Row:
        job = self._jobs.get(number)
        if job is None or job.is_over:
            raise UserError(f"no job {number} goes on", "gnutella anonymous jobs", 1)
        job.cancel()
        self._layer.wake()
        return job.row

    def new_key(self, name: str) -> Row:
        owner = WriteKey(os.urandom(32), os.urandom(32))
        read = UskUri(owner.read_key, name_of(name), 0)
        return {"own": f"{OwnUri(owner)}/{quote(read.name, safe='')}", "read": str(parse_uri(str(read)))}


def _owner_of(document: str) -> tuple[OwnUri | KskUri, str]:
    """Owner's key and name of `arl:own:.../NAME`; or a keyword, whose document everybody can replace."""
    text, _, name = document.partition("/")
    owner = parse_uri(text)
    if isinstance(owner, KskUri) and not name:
        return owner, ""
    if not isinstance(owner, OwnUri) or not name:
        raise BadKey("it has the form neither of arl:own:…/NAME nor of arl:ksk:WORD")
    return owner, name_of(name)


def _hit_row(result: SearchResult) -> Row:
    return {
        "hit": result.number,
        "name": result.name,
        "size": result.size,
        "uri": "" if result.uri is None else str(result.uri),
        "urn": sha1_urn(result.sha1) if result.sha1 else "",
        "tth": b32encode(result.tth) if result.tth else "",
        "mime": result.mime,
        "outside": "" if result.uri else ", ".join(f"{host}:{port}" for host, port in result.places),
    }
