"""What may be done with data from several sources: what the strictest of them allows."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNKNOWN = "unknown: ask each source"
_NON_COMMERCIAL = "non-commercial use only"
# words of a licence's name, as whole words, and what they ask for
_RESTRICTIONS = {
    _NON_COMMERCIAL: ("non commercial", "noncommercial", "no commercial", "nc", "research only"),
    "no derivatives": ("nd", "no derivatives", "no derivs", "noderivatives", "noderivs", "no derivative works"),
    "share alike": (
        "sa",
        "share alike",
        "sharealike",
        *(f"{k}gpl{v}" for k in ("", "l", "a") for v in ("", "v2", "v3")),
    ),
}
_CLASSES = {
    "with attribution": ("mit", "bsd", "apache", "cc by", "ofl"),
    "free for any use": ("cc0", "public domain", "unlicense", "unlicence"),
}
# words of terms that no class describes; the vague ones do not matter where a name says non-commercial
_DOUBTS = ("rights reserved", "permission", "proprietary")
_VAGUE = ("commercial", "research", "academic", "evaluation", "personal")


def strictest(licences: Sequence[str]) -> str:
    """Of all sources together: every restriction that one of them has.

    A name of unknown words, or of words such as "permission", makes the whole unknown. Restrictions are told beside.
    """
    found = set[str]().union(*(_terms(name) for name in licences)) or {UNKNOWN}
    restrictions = ", ".join(name for name in _RESTRICTIONS if name in found)
    if UNKNOWN in found:
        return f"{restrictions}; {UNKNOWN}" if restrictions else UNKNOWN
    return restrictions or next(name for name in _CLASSES if name in found)


def _terms(name: str) -> list[str]:
    """What a licence asks for, `UNKNOWN` where its words do not tell all of it."""
    words = f" {' '.join(re.findall('[a-z0-9]+', name.lower()))} "

    def has(marks: Sequence[str]) -> bool:
        return any(f" {mark} " in words for mark in marks)

    restrictions = [term for term, marks in _RESTRICTIONS.items() if has(marks)]
    if has(_DOUBTS) or (has(_VAGUE) and _NON_COMMERCIAL not in restrictions):
        return [*restrictions, UNKNOWN]
    return restrictions or [term for term, marks in _CLASSES.items() if has(marks)][:1] or [UNKNOWN]
