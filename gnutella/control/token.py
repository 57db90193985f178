"""The token file: who may use a TCP console.

DIR/token, mode 600, made on first start, one line a role: `admin <64 hex>`.  It is the credential of every door that is not
the UNIX socket.  There is no default password: without the file nobody gets in.  Wrong tokens are counted by address.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gnutella.control.table import CONFIG, NOT_PERMITTED, Role
from gnutella.errors import UserError

FILE_NAME = "token"
#: 256 bits; guessing is hopeless even without the rate limit.
TOKEN_BYTES = 32
#: Longest token file that is read: three lines and comments.
MAX_FILE_BYTES = 4096
#: Wrong tokens from one address within WINDOW_S until it is refused unheard; a person mistypes three times, a script hammers.
MAX_FAILURES = 10
WINDOW_S = 60.0
#: The longest wait of one that goes on guessing, and how long it must let it be until it counts as new.
MAX_WAIT_S = 3600.0
FORGET_S = 3600.0
#: Addresses that are remembered; beyond it the oldest is forgotten.
MAX_ADDRESSES = 1024


def token_path(directory: str) -> str:
    """Where a node keeps its tokens."""
    return os.path.join(directory, FILE_NAME)


def ensure_tokens(directory: str) -> dict[Role, str]:
    """The tokens of a node, made if there are none.  UserError (77/78) when the file cannot be read, made or trusted."""
    try:
        return read_tokens(directory)
    except FileNotFoundError:
        pass
    text = "".join(f"{role} {secrets.token_hex(TOKEN_BYTES)}\n" for role in sorted(Role, reverse=True))
    path = token_path(directory)
    try:
        _write_once(path, text)
    except FileExistsError:
        return read_tokens(directory)  # of two programs that start at once, one makes the file and the other reads it
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "is the directory yours?", NOT_PERMITTED) from None
    return parse_tokens(text, path)


def _write_once(path: str, text: str) -> None:
    """The whole file, private, or nothing: a crash must not leave an empty one.  FileExistsError when it is there."""
    draft = f"{path}.{secrets.token_hex(8)}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        os.unlink(draft)


def read_tokens(directory: str) -> dict[Role, str]:
    """The tokens of a node.  FileNotFoundError when there is no file; UserError when it is unreadable or open to others."""
    path = token_path(directory)
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            data = file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "only the node's own user may read it", NOT_PERMITTED) from None
    if mode & 0o077:
        raise UserError(f"{path} has mode {mode:o}, others may read it", f"chmod 600 {path}", CONFIG)
    return parse_tokens(data.decode("ascii", "replace"), path)


def parse_tokens(text: str, path: str) -> dict[Role, str]:
    """Lines `role hex`; # begins a comment."""
    tokens: dict[Role, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            role = Role.named(words[0])
        except KeyError:
            raise UserError(f"{path} line {number}: no role {words[0]!r}", "read, control or admin", CONFIG) from None
        if len(words) != 2 or len(words[1]) < 16 or not words[1].isalnum():
            raise UserError(
                f"{path} line {number}: no token of 16 letters and digits or more", "remove the file", CONFIG
            )
        tokens[role] = words[1]
    if not tokens:
        raise UserError(f"{path} holds no token", "remove the file, a new one is made", CONFIG)
    return tokens


def role_of(tokens: Mapping[Role, str], given: str) -> Role | None:
    """The highest role whose token is `given`.  Every token is compared, in constant time."""
    found: Role | None = None
    for role, token in tokens.items():
        same = hmac.compare_digest(token.encode("utf-8"), given.encode("utf-8", "replace"))
        if same and (found is None or role > found):
            found = role
    return found


def token_in(line: str) -> str:
    """The token that somebody typed: the line, or what follows the role in a whole line of the token file.

    The role is only left out, never believed: `role_of` tells it by the token.
    """
    words = line.split()
    return words[1] if len(words) == 2 and words[0] in map(str, Role) else line


@dataclass(slots=True)
class _Guesser:
    """Times of wrong tokens since the last wait, how many waits there were, and when the last one ends."""

    times: list[float] = field(default_factory=list)
    waits: int = 0
    until: float = 0.0


class Failures:
    """Wrong tokens by address; `now` is any clock in seconds that does not run backwards.

    The first wait ends when the oldest of the guesses is a window old; each further one is twice as long as that window, up to
    MAX_WAIT_S, until FORGET_S have passed without one.
    """

    def __init__(self, limit: int = MAX_FAILURES, window_s: float = WINDOW_S) -> None:
        self._limit = limit
        self._window_s = window_s
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def add(self, address: str, now: float) -> None:
        """Note one wrong token."""
        guesser = self._guessers.setdefault(address, _Guesser())
        self._guessers.move_to_end(address)
        if now - guesser.until >= FORGET_S:
            guesser.waits = 0
        guesser.times = [*(time for time in guesser.times if now - time < self._window_s), now]
        if len(guesser.times) >= self._limit:
            longer = self._window_s * 2.0 ** min(guesser.waits, 16)
            guesser.until = min((now if guesser.waits else guesser.times[0]) + longer, now + MAX_WAIT_S)
            guesser.waits += 1
            guesser.times = []
        while len(self._guessers) > MAX_ADDRESSES:
            self._guessers.popitem(last=False)

    def wait_s(self, address: str, now: float) -> float:
        """Seconds that this address must wait; 0 when it may try."""
        guesser = self._guessers.get(address)
        return 0.0 if guesser is None else max(0.0, guesser.until - now)
