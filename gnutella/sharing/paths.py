"""The one function that turns a name from the network into a local path, and the one for the other direction.

Nothing else may join a remote name to a directory.  Whatever the name, `safe_target` gives a direct child of the directory:
a single component without separators, control characters or invisible and direction-turning ones, that is no device name on
any system it may be copied to, neither hidden nor too long, and that does not exist yet.

    safe_target("/srv/incoming", "../../etc/passwd")  ->  "/srv/incoming/etc_passwd"
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable

from gnutella.errors import LocalMisuse

#: Bytes of one path component on every file system in use here (ext4, btrfs, xfs, zfs, tmpfs, ntfs).
MAX_NAME_BYTES = 255
#: Bytes kept free for " (9999)" and for what a download appends while it is not finished.
MARGIN_BYTES = 24
#: How many files of one name are told apart before the caller is told that something is wrong.
MAX_COPIES = 9999
#: A longer ending is no file type, and is cut with the rest of a long name.
MAX_SUFFIX_BYTES = 16
#: Used when nothing of a name is left.
FALLBACK = "unnamed"

#: Names that Windows, and what mounts its shares, takes for devices, with any extension.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE)
#: Separators of any system, and what Windows file systems refuse.
_FORBIDDEN = frozenset('/\\:*?"<>|')
#: Control, format (direction marks, joiners), surrogate, private and unassigned characters; line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe_name(remote_name: str) -> str:
    """A file name that is harmless on any file system; never empty, hidden, reserved, or beyond the length limit."""
    # Compatibility forms first: full-width dots and slashes would otherwise come back as the real ones in some programs.
    text = unicodedata.normalize("NFC", _without_look_alikes(remote_name))
    kept = "".join("_" if char in _FORBIDDEN else char for char in text if unicodedata.category(char) not in _INVISIBLE)
    kept = " ".join(kept.split())
    kept = kept.lstrip("._ -~").rstrip(". ")
    if not kept:
        return FALLBACK
    if _DEVICES.match(kept):
        kept = "_" + kept
    return _shortened(kept, MAX_NAME_BYTES - MARGIN_BYTES)


def _without_look_alikes(text: str) -> str:
    """Characters whose compatibility form has a dot, a separator or another forbidden character become `_`."""
    if text.isascii():
        return text
    marks = _FORBIDDEN | {"."}
    return "".join(
        "_"
        if (not char.isascii() and marks & set(unicodedata.normalize("NFKC", char))) or char in "\u2044\u2215\u29f8"
        else char
        for char in text
    )


def _shortened(name: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, keeping the ending that says the type."""
    if len(name.encode("utf-8")) <= limit:
        return name
    stem, dot, suffix = name.rpartition(".")
    ending = dot + suffix
    if not stem or len(ending.encode("utf-8")) > MAX_SUFFIX_BYTES:
        stem, ending = name, ""
    room = limit - len(ending.encode("utf-8"))
    cut = stem.encode("utf-8")[:room].decode("utf-8", "ignore").rstrip(". ")
    return cut + ending


def safe_target(
    directory: str | os.PathLike[str], remote_name: str, exists: Callable[[str], bool] = os.path.lexists
) -> str:
    """A path for a new file directly in `directory` (absolute), named after `remote_name` as far as that is safe.

    Where something of that name exists, " (2)", " (3)", ... comes before the extension.  `exists` answers for full paths.
    Raises LocalMisuse if the directory is not absolute, or holds MAX_COPIES files of the name already.
    """
    base = os.fspath(directory)
    if not os.path.isabs(base):
        raise LocalMisuse("the directory of a download must be absolute")
    name = safe_name(remote_name)
    path = os.path.join(base, name)
    if not exists(path):
        return path
    stem, ending = _split(name)
    for number in range(2, MAX_COPIES + 1):
        path = os.path.join(base, f"{stem} ({number}){ending}")
        if not exists(path):
            return path
    raise LocalMisuse(f"{MAX_COPIES} files have that name")


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def shown_name(filename: str) -> str:
    """What others are told of a local file name: valid UTF-8 without control characters; may be empty.

    Bytes that are no UTF-8 (surrogates, as os.fsdecode gives them) mean the whole name was written in an older character
    set; Latin-1 is the likeliest.  Control characters and separators of other systems become `_`.
    """
    if not filename.isascii():
        try:
            filename.encode("utf-8")
        except UnicodeEncodeError:
            filename = filename.encode("utf-8", "surrogateescape").decode("latin-1")
    if filename.isprintable():
        return filename.replace("\\", "_")
    return "".join(
        "_" if char == "\\" or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in filename
    )
