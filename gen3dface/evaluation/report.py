"""The table as JSON, Markdown and a page with pictures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gen3dface import __version__
from gen3dface.evaluation.protocol import EvalConfig
from gen3dface.evaluation.table import FEWEST_PICTURES, Cell
from gen3dface.files import make_folder, write_atomically
from gen3dface.viewer.page import data_uri, static_text

# measure: heading, factor, decimals
COLUMNS = {
    "lpips": ("LPIPS", 1, 3),
    "lpips_vgg": ("LPIPS, VGG", 1, 3),
    "ssim": ("SSIM", 1, 3),
    "psnr": ("PSNR, dB", 1, 2),
    "iou": ("IoU", 1, 3),
    "reid": ("Re-ID, L2", 1, 3),
    "reid_match": ("Re-ID, %", 100, 0),
    "identity": ("identity", 1, 3),
    "agreement": ("agreement", 1, 3),
    "clip": ("CLIP", 1, 3),
    "consistency": ("reprojection, %", 100, 2),
    "halves": ("halves, mm", 1, 2),
    "janus": ("face behind, %", 100, 0),
}
_MILLIMETRES = ("mm", 1, 2)
_PACKAGES = ("torch", "numpy", "scipy", "opencv-python-headless", "diffusers")
Table = dict[str, dict[str, dict[str, Cell]]]


@dataclass(frozen=True)
class Results:
    """All that was found.

    Args:
        tables: by set. distances, costs: by set and system, see `distances_of` and `costs_of`. shapes: by yaw.
    """

    tables: dict[str, Table]
    distances: dict[str, dict[str, Any]]
    costs: dict[str, dict[str, Any]]
    shapes: Table


def write_report(out: Path, results: Results, config: EvalConfig) -> Path:
    """Write `results.json`, `results.md` and `index.html`; the page's path. Raises `OutputError`."""
    make_folder(out)
    content = {
        "setting": setting(),
        "protocol": config.model_dump(),
        "sets": {name: _plain(table) for name, table in results.tables.items()},
        "distances": results.distances,
        "shapes": _plain(results.shapes),
        "costs": results.costs,
    }
    write_atomically(out / "results.json", (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    write_atomically(out / "results.md", markdown(results).encode())
    page = out / "index.html"
    write_atomically(page, _page(out, results).encode())
    return page


def setting() -> dict[str, Any]:
    """Where and with what it was measured, so that figures can be told apart."""
    found: dict[str, Any] = {"gen3dface": __version__, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def markdown(results: Results) -> str:
    """All tables as text."""
    lines = [", ".join(f"{name} {value}" for name, value in setting().items()), ""]
    for name, table in results.tables.items():
        lines += [f"## {name}", "", *_rows(table), "", *_facts(name, results), ""]
    if results.shapes:
        lines += ["## shapes", "", *_shape_rows(results.shapes), ""]
    return "\n".join([*lines, _LEGEND, ""])


def _rows(table: Table) -> list[str]:
    measures = _measures(table)
    lines = [
        f"| system | azimuth | {' | '.join(COLUMNS[m][0] for m in measures)} |",
        "|---" * (len(measures) + 2) + "|",
    ]
    for system, bins in table.items():
        for span, cells in bins.items():
            lines.append(f"| {system} | {span} | {' | '.join(_text(cells.get(m), m) for m in measures)} |")
    return lines


def _measures(table: Table) -> list[str]:
    """In the table's order, those that anyone has."""
    return [m for m in COLUMNS if any(m in cells for bins in table.values() for cells in bins.values())]


def _text(cell: Cell | None, measure: str) -> str:
    if cell is None:
        return ""
    if cell.mean is None:
        return "none found"
    _, factor, digits = COLUMNS.get(measure, _MILLIMETRES)
    text = f"{factor * cell.mean:.{digits}f}"
    if cell.few:
        text += f" (n={cell.heads}: too few)"
    elif cell.low is not None and cell.high is not None:
        text += f" [{factor * cell.low:.{digits}f}, {factor * cell.high:.{digits}f}]"
    return text if cell.found == 1 else f"{text} of {cell.found:.0%}"


def _facts(name: str, results: Results) -> Iterator[str]:
    """Distances of whole sets, seconds and memory, failures."""
    for system, found in results.distances.get(name, {}).items():
        if "pictures" not in found:
            if found:
                yield f"- {system}: {found['missing']}"
            continue
        few = min(found["pictures"], found["reference"]) < FEWEST_PICTURES
        parts = [f"{what} {found[key]:.{digits}f}" for key, what, digits in _DISTANCES if key in found]
        note = f" (of {found['pictures']} pictures to {found['reference']}: too few for FID, whose bias is larger)"
        yield f"- {system}: {', '.join(parts)}{note if few and parts else ''}"
    for system, cost in results.costs.get(name, {}).items():
        seconds = "nothing was made" if cost["seconds"] is None else f"{cost['seconds']} s a head, {_memory(cost)}"
        failed = f"; {len(cost['failed'])} of {cost['heads']} heads failed" if cost["failed"] else ""
        yield f"- {system}: {seconds}{failed}"


def _memory(cost: dict[str, Any]) -> str:
    return "memory unknown" if cost["added_mib"] is None else f"at most {cost['added_mib']} MiB more in memory"


_DISTANCES = (("fid", "FID", 1), ("kid", "KID", 4))
_LEGEND = (
    "Means over the views of a bin of azimuths (degrees from the front); in brackets the 95 % interval of a bootstrap "
    "over heads (n: of how many, where they are too few for one); `of 50%`: the share of views that gave a number, as "
    "those whose truth shows a face. `truth` are the true views themselves: light, expression and the estimate's "
    "errors are the photo's in its own pixels and not in true views, so an engine may be above it in `identity`. "
    "Models that this package trained with losses of pictures, mini too, have seen AlexNet's LPIPS and Re-ID's "
    "recogniser while they learned; VGG and SFace they have not."
)


def _shape_rows(table: Table) -> list[str]:
    """Millimetres; rows are the photos' yaws and the estimators."""
    measures = list(dict.fromkeys(m for rows in table.values() for cells in rows.values() for m in cells))
    lines = [f"| yaw | estimator | {' | '.join(measures)} |", "|---" * (len(measures) + 2) + "|"]
    for yaw, rows in table.items():
        for name, cells in rows.items():
            if all(cell.mean is None for cell in cells.values()):
                continue
            lines.append(f"| {yaw} | {name} | {' | '.join(_text(cells.get(m), m) for m in measures)} |")
    return lines


def _plain(table: Table) -> dict[str, Any]:
    return {
        system: {span: {m: asdict(cell) for m, cell in cells.items()} for span, cells in bins.items()}
        for system, bins in table.items()
    }


def _page(out: Path, results: Results) -> str:
    parts = []
    for name, table in results.tables.items():
        facts = "".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in _facts(name, results))
        parts.append(f"<h2>{escape(name)}</h2>{_html(_rows(table))}<ul>{facts}</ul>{_pictures(out, name, table)}")
    if results.shapes:
        parts.append(f"<h2>shapes, mm</h2>{_html(_shape_rows(results.shapes))}")
    facts = ", ".join(f"{name} {value}" for name, value in setting().items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="gen3dface">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Evaluation</title>
<style>{static_text("page.css")}{_STYLE}</style>
</head>
<body>
<header><h1>Evaluation</h1><p class="facts">{escape(facts)}</p></header>
<main>{"".join(parts)}<p>{escape(_LEGEND)}</p></main>
</body>
</html>
"""


_STYLE = (
    "main{display:block;max-width:none}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}"
    "td,th{padding:.2rem .6rem;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}"
    "tr:nth-child(even){background:rgba(127,127,127,.12)}.strips img{height:96px;display:block}"
    ".strips td{padding:1px .6rem}"
)


def _html(rows: list[str]) -> str:
    """A Markdown table's rows as HTML."""
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not row.startswith("|---")]
    head = "".join(f"<th>{escape(cell)}</th>" for cell in cells[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells[1:])
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _pictures(out: Path, name: str, table: Table) -> str:
    """Strips of views, a row a system, with the photo beside."""
    folder, rows = out / "pictures" / name, []
    for photo in sorted(folder.glob("*.photo.jpg")):
        key = photo.name.removesuffix(".photo.jpg")
        rows.append(f"<tr><th>{escape(key)}</th><td>{_image(photo)}</td></tr>")
        strips = [(system, folder / f"{key}.{system}.jpg") for system in table]
        rows += [f"<tr><td>{escape(s)}</td><td>{_image(path)}</td></tr>" for s, path in strips if path.exists()]
    return f'<div class="wide"><table class="strips">{"".join(rows)}</table></div>'


def _image(path: Path) -> str:
    return f'<img src="{data_uri("image/jpeg", path.read_bytes())}" alt="">'
