"""What was measured of one head and one system, on the disk: a run that stops goes on from there."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import DataError
from gen3dface.evaluation.cost import Cost
from gen3dface.evaluation.scores import Scores
from gen3dface.files import make_folder, write_atomically

logger = logging.getLogger(__name__)

_MOST_BYTES = 64 << 20


@dataclass
class Record:
    """Scores of one case and system, or why there are none."""

    key: str
    scores: Scores
    cost: Cost = field(default_factory=Cost)
    error: str = ""


Records = dict[str, list[Record]]
"""By system, in the order of the cases."""


class RecordFolder:
    """Records of one set, a JSON file each, and an NPZ file of features."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str, system: str, fingerprint: str) -> Record | None:
        """A record that belongs to this protocol; None where there is none."""
        path = self._path(key, system)
        try:
            if not path.exists() or path.stat().st_size > _MOST_BYTES:
                return None
            note = json.loads(path.read_text())
            if note["fingerprint"] != fingerprint:
                return None
            views = {name: _floats(row) for name, row in note["views"].items()}
            whole = {name: float("nan") if v is None else float(v) for name, v in note["whole"].items()}
            shares = {name: float(share) for name, share in note["found"].items()}
            scores = Scores(_floats(note["azimuths"]), views, whole, shares, self._features(path, note["features"]))
            return Record(key, scores, Cost(*_floats(note["cost"]).tolist()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s is damaged (%r); it is made again", path, error)
            return None

    def write(self, record: Record, system: str, fingerprint: str) -> None:
        """Whole or not at all. Raises `OutputError`."""
        path, scores = self._path(record.key, system), record.scores
        make_folder(self._folder)
        if scores.features:
            buffer = io.BytesIO()
            np.savez(buffer, **scores.features)  # type: ignore[arg-type]
            write_atomically(path.with_suffix(".npz"), buffer.getvalue())
        note = {
            "fingerprint": fingerprint,
            "azimuths": scores.azimuths.tolist(),
            "views": {name: _plain(row) for name, row in scores.views.items()},
            "whole": {name: _plain([value])[0] for name, value in scores.whole.items()},
            "found": scores.found,
            "features": sorted(scores.features),
            "cost": _plain([record.cost.seconds, record.cost.added_mib]),
        }
        write_atomically(path, json.dumps(note, indent=1, allow_nan=False).encode())

    def _path(self, key: str, system: str) -> Path:
        name = f"{key}.{system}.json"
        if Path(name).name != name:
            raise DataError(f"{key!r} names no case: it would lie outside of {self._folder}.")
        return self._folder / name

    @staticmethod
    def _features(path: Path, names: list[str]) -> dict[str, NDArray[np.float32]]:
        if not names:
            return {}
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
            return {name: archive[name] for name in names}


def _plain(values: Sequence[float] | NDArray[np.float64]) -> list[float | None]:
    """NaN as None: JSON has no NaN."""
    return [None if not np.isfinite(v) else float(v) for v in values]


def _floats(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], np.float64)
