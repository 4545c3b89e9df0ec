"""Records to a table: means with their uncertainty, by azimuth, and how often there was anything to measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dface.evaluation.bootstrap import FEWEST, interval
from gen3dface.evaluation.protocol import EvalConfig
from gen3dface.evaluation.records import Record, Records
from gen3dface.evaluation.reid import matches
from gen3dface.evaluation.view_scores import AZIMUTH_BINS

Array = NDArray[np.float64]
WHOLE = "all"  # the bin of what is one number for all views
FEWEST_PICTURES = 2048  # under which a Frechet distance says more of their number than of the pictures
_KID_SUBSETS, _KID_SIZE = 100, 50


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Args:
        mean: None where there is nothing to average. low, high: the 95 % interval by the bootstrap over heads; None for
            fewer heads than `FEWEST`. heads: with a number. found: the share of views (or heads) that gave one.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    heads: int = 0
    found: float = 1.0

    @property
    def few(self) -> bool:
        """Too few heads to tell."""
        return self.heads < FEWEST


def table_of(records: Records, config: EvalConfig) -> dict[str, dict[str, dict[str, Cell]]]:
    """System, bin of azimuths in degrees from the front (or `all`), measure: the number."""
    return {system: _of_system(rows, config) for system, rows in records.items()}


def costs_of(records: Records) -> dict[str, dict[str, Any]]:
    """By system: median seconds a head, largest memory of the process in MiB, heads, and those that failed."""
    found = {}
    for system, rows in records.items():
        good = [row for row in rows if not row.error]
        found[system] = {
            "seconds": round(float(np.median([r.cost.seconds for r in good])), 3) if good else None,
            "added_mib": _largest([r.cost.added_mib for r in good]),
            "heads": len(rows),
            "failed": {row.key: row.error for row in rows if row.error},
        }
    return found


def _largest(values: Sequence[float]) -> int | None:
    known = [value for value in values if np.isfinite(value)]
    return round(max(known)) if known else None


def _of_system(rows: Sequence[Record], config: EvalConfig) -> dict[str, dict[str, Cell]]:
    good = [row for row in rows if not row.error]
    bins = {f"{low:.0f}-{high:.0f}": _cells(good, config, _between(low, high)) for low, high in AZIMUTH_BINS}
    bins = {span: cells for span, cells in bins.items() if cells}
    return bins | {WHOLE: _cells(good, config, lambda turned: turned >= 0) | _of_whole(good, config)}


def _between(low: float, high: float) -> Callable[[Array], Any]:
    """The upper end belongs to a bin, and 0 to the first."""
    return lambda turned: ((turned > low) | ((low == 0) & (turned == 0))) & (turned <= high)


def _cells(rows: Sequence[Record], config: EvalConfig, inside: Callable[[Array], Any]) -> dict[str, Cell]:
    found = {}
    for measure in config.measured:
        parts = [row.scores.views[measure][inside(row.scores.azimuths)] for row in rows if measure in row.scores.views]
        if measure == "janus":  # only views of the back count
            parts = [part[np.isfinite(part)] for part in parts]
        if sum(map(len, parts)):
            found[measure] = cell_of(parts, config.draws, config.seed)
            if measure == "reid":
                found["reid_match"] = cell_of([matches(part) for part in parts], config.draws, config.seed)
    return found


def _of_whole(rows: Sequence[Record], config: EvalConfig) -> dict[str, Cell]:
    found = {}
    for measure in config.measured:
        values = [np.array([row.scores.whole[measure]]) for row in rows if measure in row.scores.whole]
        shares = [row.scores.found.get(measure, 1.0) for row in rows if measure in row.scores.whole]
        if values:
            cell = cell_of(values, config.draws, config.seed)
            found[measure] = replace(cell, found=cell.found * float(np.mean(shares)))
    return found


def cell_of(parts: Sequence[Array], draws: int, seed: int) -> Cell:
    """One number of several heads' values."""
    values = np.concatenate(parts) if parts else np.zeros(0)
    groups = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    known = np.isfinite(values)
    if not known.any():
        return Cell(None, found=0.0)
    heads = len(np.unique(groups[known]))
    low, high = interval(values, groups, draws, seed=seed) if heads >= FEWEST else (None, None)
    return Cell(float(values[known].mean()), low, high, heads, float(known.mean()))


def distances_of(rows: Sequence[Record], config: EvalConfig, reference: NDArray[np.float32] | None) -> dict[str, Any]:
    """FID and KID of one system's pictures to the true ones, or to the reference's features [M, 2048]."""
    made = [r.scores.features["made"] for r in rows if "made" in r.scores.features]
    true = [r.scores.features["true"] for r in rows if "true" in r.scores.features]
    if not made:
        return {}
    if reference is None and not true:
        return {"missing": "FID and KID need pictures to compare with: reference"}
    from gen3dface.evaluation.frechet import frechet_distance, kernel_distance

    first, second = np.concatenate(made), np.concatenate(true) if reference is None else reference
    found: dict[str, Any] = {"pictures": len(first), "reference": len(second)}
    if "fid" in config.measured and min(len(first), len(second)) > 1:
        found["fid"] = frechet_distance(first, second)
    if "kid" in config.measured and min(len(first), len(second)) > 1:
        size = min(_KID_SIZE, len(first), len(second))
        found["kid"] = kernel_distance(first, second, _KID_SUBSETS, size, config.seed)[0]
    return found
