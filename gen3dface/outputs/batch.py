"""Many photos in one call: one bad photo does not stop the rest, finished ones can be skipped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gen3dface.errors import AssetError, Gen3DFaceError
from gen3dface.outputs.inputs import PhotoJob
from gen3dface.outputs.report import Settings, is_finished
from gen3dface.outputs.run import run_photo
from gen3dface.outputs.stages import Stages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one photo."""

    job: PhotoJob
    folder: Path
    state: Literal["done", "skipped", "failed"]
    message: str = ""  # why it failed
    seconds: float = 0.0


def run_photos(
    jobs: Iterable[PhotoJob],
    out: Path,
    settings: Settings,
    stages: Stages,
    *,
    resume: bool = False,
    announce: Callable[[PhotoJob, str], None] = lambda job, stage: None,
) -> Iterator[Outcome]:
    """Make the head of each photo in `out`/name; yields an outcome as each photo is finished.

    With `resume`, photos are skipped whose folder holds the head of the same bytes with the same settings.

    Raises:
        AssetError: the networks' weights cannot be had, so that no photo can be worked on.
    """
    for job in jobs:
        folder = out / job.name
        yield _attempt(job, folder, settings, stages, resume, announce)


def _attempt(
    job: PhotoJob,
    folder: Path,
    settings: Settings,
    stages: Stages,
    resume: bool,
    announce: Callable[[PhotoJob, str], None],
) -> Outcome:
    try:
        if resume and is_finished(folder, job.photo, settings):
            return Outcome(job, folder, "skipped")
        report = run_photo(job.photo, folder, settings, stages, lambda stage: announce(job, stage))
    except AssetError:
        raise
    except Gen3DFaceError as error:
        return Outcome(job, folder, "failed", str(error))
    except Exception as error:  # a fault of the program must not cost the other photos
        logger.exception("%s: an unexpected error", job.name)
        return Outcome(job, folder, "failed", f"an unexpected error, please report it: {error!r}")
    return Outcome(job, folder, "done", seconds=report.total_seconds)
