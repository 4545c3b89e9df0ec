"""What may be done with data from several sources: what the strictest of them allows."""

from __future__ import annotations

from collections.abc import Sequence

# from the strictest on; the first whose words are in a licence's name is its class
_CLASSES = (
    ("non-commercial use only", ("non-commercial", "noncommercial", "-nc", "research only")),
    ("share alike", ("share-alike", "sharealike", "-sa", "gpl")),
    ("with attribution", ("mit", "bsd", "apache", "cc-by", "cc by", "ofl")),
    ("free for any use", ("cc0", "public domain", "unlicense")),
)
UNKNOWN = "unknown: ask each source"


def strictest(licences: Sequence[str]) -> str:
    """Of all sources together. A licence of unknown words makes the whole unknown, unless one is non-commercial."""
    found = [_class_of(name) for name in licences]
    if 0 in found:
        return _CLASSES[0][0]
    if not found or None in found:
        return UNKNOWN
    return _CLASSES[min(f for f in found if f is not None)][0]


def _class_of(name: str) -> int | None:
    words = name.lower()
    return next((i for i, (_, marks) in enumerate(_CLASSES) if any(mark in words for mark in marks)), None)
