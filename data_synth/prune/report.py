"""What a selection threw away, as a page: how the scores lie, and the best and the worst as pictures."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gen3dface.data_synth.prune.scoring import Scores, samples_of
from gen3dface.data_synth.prune.selection import Selection, Thresholds
from gen3dface.data_synth.synthesis.preview import PREVIEWED, contact_sheet
from gen3dface.files import write_atomically
from gen3dface.outputs.pictures import encode

REPORT = "pruning.html"
_BARS, _WIDE, _HIGH = 40, 560, 140
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}"
    "img{max-width:100%;border:1px solid #ddd}svg{background:#f6f6f6}td,th{padding:.1em .8em;text-align:left}"
)


def write_report(folder: Path, scores: Mapping[str, Scores], chosen: Selection, thresholds: Thresholds) -> Path:
    """`pruning.html` beside the shards."""
    marks = {"janus": thresholds.most_janus, "identity": thresholds.least_identity}
    parts = [f"<h1>{len(chosen.kept)} of {len(scores)} identities are kept</h1>"]
    for name, mark in marks.items():
        values = [getattr(s, name) for s in scores.values()]
        parts.append(f"<h2>{name}</h2>{histogram([v for v in values if not math.isnan(v)], mark)}")
        pairs = sorted((v, k) for v, k in zip(values, scores, strict=True) if not math.isnan(v))
        ranked = [key for _, key in (pairs if name == "janus" else pairs[::-1])]
        parts.append(_pictured(folder, "best", ranked[:PREVIEWED], scores, chosen))
        parts.append(_pictured(folder, "worst", ranked[::-1][:PREVIEWED], scores, chosen))
    page = f"<!doctype html><meta charset=utf-8><title>Pruning</title><style>{_STYLE}</style>{''.join(parts)}"
    write_atomically(folder / REPORT, page.encode())
    return folder / REPORT


def histogram(values: Sequence[float], mark: float | None) -> str:
    """An SVG of how often values lie where, from 0 to 1 or further, and a line at the threshold."""
    if not values:
        return "<p>no scores</p>"
    counts, edges = np.histogram(values, _BARS, (min(0.0, *values), max(1.0, *values)))
    step, tallest = _WIDE / _BARS, max(int(counts.max()), 1)
    bars = "".join(
        f"<rect x='{i * step:.1f}' y='{_HIGH - _HIGH * c / tallest:.1f}' width='{step - 1:.1f}' "
        f"height='{_HIGH * c / tallest:.1f}' fill='#48a'/>"
        for i, c in enumerate(counts)
    )
    if mark is not None:
        x = _WIDE * (mark - edges[0]) / (edges[-1] - edges[0])
        bars += f"<line x1='{x:.1f}' x2='{x:.1f}' y1='0' y2='{_HIGH}' stroke='#c33' stroke-width='2'/>"
    ends = ((2, edges[0]), (_WIDE - 46, edges[-1]))
    scale = "".join(f"<text x='{x}' y='{_HIGH + 16}'>{value:.3f}</text>" for x, value in ends)
    return f"<svg width='{_WIDE}' height='{_HIGH + 20}' viewBox='0 0 {_WIDE} {_HIGH + 20}'>{bars}{scale}</svg>"


def _pictured(folder: Path, title: str, keys: list[str], scores: Mapping[str, Scores], chosen: Selection) -> str:
    if not keys:
        return ""
    picture = base64.b64encode(encode(contact_sheet(list(samples_of(folder, keys))), "jpeg")).decode()
    rows = "".join(
        f"<tr><td>{html.escape(k)}<td>{scores[k].janus:.3f}<td>{scores[k].identity:.3f}<td>{scores[k].faces}"
        f"<td>{html.escape(chosen.dropped.get(k, 'kept'))}"
        for k in keys
    )
    table = f"<table><tr><th>identity<th>janus<th>identity score<th>faces<th>{rows}</table>"
    return f"<h3>{title}</h3><img alt='{title}' src='data:image/jpeg;base64,{picture}'>{table}"
