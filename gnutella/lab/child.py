"""A program of the lab in a process of its own: orders go in, one JSON list a line, and each is answered by a line."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, ClassVar, Self

from gnutella.errors import UserError


class Child:
    """Leaving its context ends the process, and with it all that it started."""

    #: The module that it runs, and what an error calls it.
    MODULE: ClassVar[str]
    CALLED: ClassVar[str]
    #: Seconds that it has to go when its input has ended.
    END_S: ClassVar[float] = 10.0

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment(),
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass  # it went before
        try:
            process.wait(self.END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def environment(self) -> dict[str, str] | None:
        """What it gets instead of ours; None: ours."""
        return None

    @property
    def process(self) -> int:
        """Its id; 0 before it runs."""
        return self._process.pid if self._process is not None else 0

    def order(self, *order: object) -> Any:
        """Its answer.  UserError if it has gone."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise UserError(f"the {self.CALLED} has gone", "is the package installed whole?", 70)
        return json.loads(answer)
