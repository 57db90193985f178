"""The type of a file by its ending, as manifests and hits tell it: one table, the same for every node.

Python's own table changes with its version, and systems have theirs: a type would tell which of them somebody has, and the same
file would get another key under its convergent key.  What is not listed is just bytes.
"""

from __future__ import annotations

from typing import Final

ANY: Final = "application/octet-stream"
_TYPES: Final = {
    "text/plain": "txt text log md rst tex srt",
    "text/html": "html htm xhtml",
    "text/css": "css",
    "text/csv": "csv",
    "text/xml": "xml",
    "image/jpeg": "jpg jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/bmp": "bmp",
    "audio/mpeg": "mp3 mp2",
    "audio/ogg": "ogg oga opus",
    "audio/flac": "flac",
    "audio/wav": "wav",
    "audio/mp4": "m4a m4b",
    "audio/aac": "aac",
    "audio/midi": "mid midi",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/ogg": "ogv",
    "video/webm": "webm",
    "video/quicktime": "mov qt",
    "video/x-msvideo": "avi",
    "video/x-matroska": "mkv",
    "application/pdf": "pdf",
    "application/postscript": "ps eps",
    "application/epub+zip": "epub",
    "application/json": "json",
    "application/javascript": "js",
    "application/zip": "zip",
    "application/gzip": "gz tgz",
    "application/x-bzip2": "bz2",
    "application/x-xz": "xz",
    "application/x-tar": "tar",
    "application/x-7z-compressed": "7z",
    "application/x-iso9660-image": "iso",
    "application/msword": "doc",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
}
_OF_ENDING: Final = {ending: mime for mime, endings in _TYPES.items() for ending in endings.split()}
_ENDINGS: Final = {mime: "." + endings.split()[0] for mime, endings in _TYPES.items()}


def mime_of(name: str) -> str:
    """The type of a file with that name."""
    _, dot, ending = name.rpartition(".")
    return _OF_ENDING.get(ending.lower(), ANY) if dot else ANY


def ending_of(mime: str) -> str:
    """What to append to the name of a file of that type; empty where it is not known."""
    return _ENDINGS.get(mime, "")
