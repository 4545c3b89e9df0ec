"""One command for every table: all systems on all sets of a protocol, resumable head by head."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from gen3dface.errors import DataError, Gen3DFaceError, OutputError
from gen3dface.evaluation.cases import Case, CaseSource, cases_of
from gen3dface.evaluation.comparison import Compared, compared
from gen3dface.evaluation.cost import measured
from gen3dface.evaluation.protocol import EvalConfig, SetChoice, SystemChoice
from gen3dface.evaluation.records import Record, RecordFolder, Records
from gen3dface.evaluation.scores import Judge, Scores
from gen3dface.evaluation.stamps import stamp_of
from gen3dface.evaluation.systems import System, open_system, system_stamp, write_inputs
from gen3dface.evaluation.table import costs_of, distances_of, table_of
from gen3dface.files import make_folder, write_atomically
from gen3dface.outputs.inputs import find_photos
from gen3dface.outputs.pictures import encode
from gen3dface.photo.decode import decode_image

logger = logging.getLogger(__name__)

SHOWN = 4  # heads of a set that are shown as pictures
_STRIP = 8  # views of a strip
_LARGEST = 1024  # px of a reference's pictures


def evaluate(config: EvalConfig, out: Path, workers: int = 1, progress: bool = True) -> Path:
    """Run a protocol into a folder, or go on with it: `results.json`, `results.md`, and the page whose path comes back.

    Raises as `run_sets`.
    """
    from gen3dface.evaluation.report import Results, write_report
    from gen3dface.evaluation.shapes import run_shapes, shape_table

    found = run_sets(config, out, workers, progress)
    reference = _reference(config, progress)
    shapes = run_shapes(config.shapes, progress) if config.shapes.heads else {}
    results = Results(
        tables={name: table_of(records, config) for name, records in found.items()},
        distances={
            name: {system: distances_of(rows, config, reference) for system, rows in records.items()}
            for name, records in found.items()
        },
        costs={name: costs_of(records) for name, records in found.items()},
        shapes=shape_table(shapes, config.draws, config.seed) if shapes else {},
    )
    return write_report(out, results, config)


def _reference(config: EvalConfig, progress: bool) -> NDArray[np.float32] | None:
    """Features [M, 2048] of the user's pictures, if FID or KID are measured against them."""
    if config.reference is None or not {"fid", "kid"} & set(config.measured):
        return None
    from gen3dface.evaluation.frechet import Inception

    network, found = Inception(), []
    for job in tqdm(find_photos([Path(config.reference)]), "reference", disable=not progress):
        pixels = torch.from_numpy(decode_image(job.photo, _LARGEST).rgb.copy()).permute(2, 0, 1)
        found.append(np.asarray(network(pixels[None].float() / 255))[0])
    if len(found) < 2:
        raise DataError(f"There are fewer than two pictures in '{config.reference}'.")
    return np.stack(found).astype(np.float32)


def run_sets(config: EvalConfig, out: Path, workers: int = 1, progress: bool = True) -> dict[str, Records]:
    """Records of every set, by system, in the order of the cases. Those that are there already are kept.

    workers: processes that share the heads, a thread each if there are several.

    Raises:
        DataError, CheckpointError, ConfigError: a set or a system cannot be read.
        OutputError: the folder cannot be written.
    """
    for system in config.systems:
        _system(system, config.seed)
    _judge(config).open()
    found: dict[str, Records] = {}
    for number, choice in enumerate(config.sets):
        records: Records = {system.title: [] for system in _fitting(config, choice)}
        count = len(cases_of(choice, config.size))
        todo = [(config, number, case, out) for case in range(count)]
        with _mapped(workers) as mapped:
            for row in tqdm(mapped(_of_case, todo), choice.title, count, unit="head", disable=not progress):
                for title, record in row.items():
                    records[title].append(record)
        found[choice.title] = records
    return found


@contextmanager
def _mapped(workers: int) -> Iterator[Callable[..., Iterator[dict[str, Record]]]]:
    """`map` here, or by processes that are started afresh."""
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def write_all_inputs(config: EvalConfig, folder: Path, progress: bool = True) -> int:
    """What others need to make the views of a protocol; how many cases there are. See `write_inputs`."""
    count = 0
    for choice in config.sets:
        for source in tqdm(cases_of(choice, config.size), choice.title, disable=not progress):
            try:
                write_inputs(folder, choice.title, source.make())
                count += 1
            except Gen3DFaceError as error:
                logger.warning("%s: %s", source.key, error)
    return count


def _fitting(config: EvalConfig, choice: SetChoice) -> list[SystemChoice]:
    """Photos have no truth to show."""
    return [s for s in config.systems if not (s.kind == "truth" and choice.kind == "photos")]


def _of_case(job: tuple[EvalConfig, int, int, Path]) -> dict[str, Record]:
    """A case's records by system; the case and the systems are made only where one is missing."""
    config, number, index, out = job
    choice = config.sets[number]
    source = cases_of(choice, config.size)[index]
    folder, case, found = RecordFolder(out / "records" / choice.title), None, {}
    for system in _fitting(config, choice):
        fingerprint = config.fingerprint(*_stamps(config, choice, system, source))
        record = folder.read(source.key, system.title, fingerprint)
        if record is None:
            name = f"{source.key}.{system.title}.jpg"
            picture = out / "pictures" / choice.title / name if index < SHOWN else None
            try:
                case = case or source.make()
                record = _scored(config, choice.title, system, case, picture)
                folder.write(record, system.title, fingerprint)
            except OutputError:
                raise
            except Gen3DFaceError as error:  # tried again by the next run
                logger.warning("%s, %s: %s", source.key, system.title, error)
                record = Record(source.key, Scores(np.zeros(0)), error=str(error))
        found[system.title] = record
    return found


def _stamps(config: EvalConfig, choice: SetChoice, system: SystemChoice, source: CaseSource) -> list[object]:
    """Whatever a record's numbers depend on beside the protocol's own values."""
    users = [None if path is None else stamp_of(path) for path in (config.arcface, config.clip, config.reference)]
    return [
        choice.model_dump(exclude={"heads", "name"}),
        system.model_dump(exclude={"name"}),
        source.key,
        source.stamp,
        system_stamp(system, choice.title, source.key),
        *users,
    ]


@lru_cache(maxsize=16)
def _system(choice: SystemChoice, seed: int) -> System:
    """Read once a process."""
    return open_system(choice, seed)


@lru_cache(maxsize=1)
def _judge(config: EvalConfig) -> Judge:
    """Likewise."""
    return Judge(config)


def _scored(config: EvalConfig, set_name: str, choice: SystemChoice, case: Case, picture: Path | None) -> Record:
    system = _system(choice, config.seed)
    with measured() as cost:
        views = system(set_name, case)
    pairs = compared(case, views, config.white_outside, itself=choice.kind == "truth")
    if picture is not None:
        make_folder(picture.parent)
        write_atomically(picture, strip(pairs))
        write_atomically(picture.with_name(f"{case.key}.photo.jpg"), _thumbnail(case, config.size))
    return Record(case.key, _judge(config)(case, views, pairs), cost)


def strip(pairs: Compared) -> bytes:
    """Some views side by side, as JPEG."""
    step = math.ceil(len(pairs.images) / _STRIP)
    row = torch.cat(list(pairs.images[::step]), 2)
    return encode(row.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy(), "jpeg")


def _thumbnail(case: Case, side: int) -> bytes:
    image = Image.fromarray(case.portrait.image)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return encode(image, "jpeg")
