"""What sort of file a name stands for, by its ending: the `--kind` filter of searches.

The sorts are those of LimeWire's media types (GGEP M): audio, video, document, image, windows and unix programs; whatever has
none of the endings is "other", and "program" asks for programs of either system.
"""

from __future__ import annotations

from collections.abc import Iterable

_ENDINGS = {
    "audio": "aac aif aiff ape au flac m3u m4a mid midi mka mp2 mp3 mpc oga ogg opus pls ra spx voc wav wma wv",
    "video": "3gp asf avi divx flv m1v m2v m4v mkv mov mp4 mpe mpeg mpg ogm ogv qt ram rm rmvb srt swf ts vob webm wmv",
    "image": "avif bmp gif heic ico jpe jpeg jpg pcx png psd svg tga tif tiff webp xcf",
    "document": "azw3 chm csv djvu doc docx epub htm html latex md mobi odp ods odt pdf ppt pptx ps rtf tex txt xls xlsx xml",
    "windows": "bat cab cmd com exe msi scr vbs",
    "unix": "apk appimage bin deb dmg pkg rpm run sh snap",
}
#: Every sort that a filter may name.
SORTS = (*_ENDINGS, "program", "other")
_SORT_OF = {ending: sort for sort, endings in _ENDINGS.items() for ending in endings.split()}
_PROGRAMS = frozenset({"windows", "unix"})


def sort_of(name: str) -> str:
    """One of SORTS but "program"."""
    stem, dot, ending = name.rpartition(".")
    return _SORT_OF.get(ending.lower(), "other") if dot and stem else "other"


def wanted_sorts(names: Iterable[str]) -> frozenset[str]:
    """What a filter lets through; an empty one lets all through.  ValueError names a sort that does not exist."""
    wanted: set[str] = set()
    for name in names:
        if name not in SORTS:
            raise ValueError(f"{name!r} is no kind of file; there are {', '.join(SORTS)}")
        wanted |= _PROGRAMS if name == "program" else {name}
    return frozenset(wanted)
