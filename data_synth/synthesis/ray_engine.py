"""Ray's actors as those who make the missing shards: on one machine or on a cluster that shares a folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from gen3dface import errors
from gen3dface.data_synth.synthesis.engines import DEATHS, Work
from gen3dface.data_synth.synthesis.shard_run import Note
from gen3dface.errors import DataError, Gen3DFaceError, MissingExtraError

logger = logging.getLogger(__name__)


def by_ray(work: Work, shards: Sequence[int]) -> Iterator[Note | None]:
    """Notes as shards are done, see `Work.made`.

    Ray Data streams the shards through actors that make, on GPUs where the generator is a network and there are any,
    and others that score. The work of an actor that dies is done by another. The errors are those of the workers;
    `DataError` when too many of these die.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("--engine ray needs Ray Data: pip install 'gen3dface[scale]'.") from error
    if not shards:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows: Any = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    rows = _mapped(rows, replace(work, folder=work.folder.absolute()), ray.cluster_resources())
    try:
        for row in rows.iter_rows():
            if row["error"]:
                raise _error(row["error"])
            yield Note(**json.loads(row["note"])) if row["note"] else None
    except ray.exceptions.RayTaskError:
        raise  # a mistake in the code, told with its place
    except ray.exceptions.RayError as error:
        raise DataError(f"Ray's workers died again and again ({error}); is there enough memory?") from error


def _mapped(rows: Any, work: Work, found: dict[str, float]) -> Any:
    """The rows of Ray Data with what becomes of them. found: what the cluster has."""
    cpus = found.get("CPU", 0.0)  # the head may have none
    if not cpus:
        logger.warning("Ray's cluster has no CPUs; waiting for machines that have")
    gpus = found.get("GPU", 0.0) if work.config.generator.kind in ("panohead", "eg3d") else 0.0
    makers = int(gpus or max(1, cpus - (work.judge is not None)))
    actors: dict[str, Any] = {"fn_constructor_args": (work,), "num_cpus": 1}
    actors |= {"max_restarts": DEATHS, "max_task_retries": DEATHS}
    rows = rows.map(_Maker, concurrency=(1, makers), num_gpus=1 if gpus else 0, **actors)
    if work.judge is not None:
        rows = rows.map(_Judge, concurrency=(1, max(1, makers // 4)), **actors)
    return rows


class _Maker:
    """Makes shards. Errors go along with the row: in Ray's own wrapping their classes are lost."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"error": "", "note": "", **row, **self._done(int(row["shard"]))}
        except Gen3DFaceError as error:
            return {"note": "", **row, "error": json.dumps([type(error).__name__, str(error)])}

    def _done(self, shard: int) -> dict[str, Any]:
        note = self._work.made(shard)
        return {"note": json.dumps(asdict(note)) if note else ""}


class _Judge(_Maker):
    """Scores shards."""

    def _done(self, shard: int) -> dict[str, Any]:
        self._work.scored(shard)
        return {}


def _error(told: str) -> Gen3DFaceError:
    name, message = json.loads(told)
    found = getattr(errors, name, Gen3DFaceError)(message)
    assert isinstance(found, Gen3DFaceError)
    return found
