"""Scores and thresholds to the identities that are kept: a list that training reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from gen3dface.config_files import Section
from gen3dface.data_synth.prune.scoring import Scores
from gen3dface.files import write_atomically

KEPT = "kept.json"


class Thresholds(Section):
    """What an identity has to be. The paper's own values are lost from its text, so none are assumed.

    Args:
        most_janus: of `Scores.janus`. least_identity: of `Scores.identity`. top: how many are kept, those of the best
            identity score. least_faces: views that must show a face. At least one of least_identity and top is needed.
    """

    most_janus: Annotated[float, Field(ge=0, le=1)]
    least_identity: Annotated[float | None, Field(ge=-1, le=1)] = None
    top: Annotated[int | None, Field(ge=1)] = None
    least_faces: Annotated[int, Field(ge=2)] = 2

    @model_validator(mode="after")
    def _asks_for_identity(self) -> Thresholds:
        if self.least_identity is None and self.top is None:
            raise ValueError("give least_identity, top, or both")
        return self


@dataclass(frozen=True)
class Selection:
    """Who stays, the best first, and why others go."""

    kept: list[str]
    dropped: dict[str, str]

    def write(self, folder: Path, thresholds: Thresholds) -> Path:
        """As `kept.json`, which `ShardSet` and training's `sources.kept` read."""
        values = {"thresholds": thresholds.model_dump(), "kept": sorted(self.kept), "dropped": self.dropped}
        write_atomically(folder / KEPT, json.dumps(values, indent=1, sort_keys=True).encode())
        return folder / KEPT


def select(scores: Mapping[str, Scores], thresholds: Thresholds) -> Selection:
    """Apply thresholds; a score that is not a number fails."""
    dropped = {key: fault for key, found in scores.items() if (fault := _fault(found, thresholds))}
    left = sorted((k for k in scores if k not in dropped), key=lambda k: (-scores[k].identity, k))
    for key in left[thresholds.top :] if thresholds.top else []:
        dropped[key] = f"identity {scores[key].identity:.3f} is not among the best {thresholds.top}"
    return Selection(left[: thresholds.top], dropped)


def _fault(found: Scores, wanted: Thresholds) -> str | None:
    if not found.janus <= wanted.most_janus:
        return f"janus {found.janus:.3f} is above {wanted.most_janus}"
    if found.faces < wanted.least_faces or math.isnan(found.identity):
        return f"a face in {found.faces} views only"
    if wanted.least_identity is not None and found.identity < wanted.least_identity:
        return f"identity {found.identity:.3f} is below {wanted.least_identity}"
    return None
