"""Whose views are made, and what is true of them: a photo, the head found in it, and true views where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras, rig
from gen3dface.errors import DataError
from gen3dface.estimators import HeadFit, estimate
from gen3dface.evaluation.openpeople import PEOPLE, Panel, panels, portrait_bytes
from gen3dface.evaluation.protocol import SetChoice
from gen3dface.evaluation.stamps import stamp_of
from gen3dface.outputs.inputs import PhotoJob, find_photos
from gen3dface.photo import Portrait, load_portrait

FIRST_SEED = 900_000_000  # from here on no training run takes any
_PANEL_VIEWS = [0, 4, 8, 12]  # of head360: where the sheets' cameras stand


@dataclass(frozen=True)
class Case:
    """One person.

    Args:
        key: within its set. images: true views [N, 3, S, S] in 0..1 over white with masks [N, 1, S, S], if there are
            any. panels: uncalibrated true views in their place.
    """

    key: str
    portrait: Portrait
    head: HeadFit
    cameras: Cameras
    images: Tensor | None = None
    masks: Tensor | None = None
    panels: tuple[Panel, ...] = ()


@dataclass(frozen=True)
class CaseSource:
    """A case that is made when it is needed.

    Args:
        make: raises a `Gen3DFaceError` where a photo shows no head. stamp: changes when what it is made from does.
    """

    key: str
    make: Callable[[], Case]
    stamp: str = ""


def cases_of(choice: SetChoice, size: int) -> list[CaseSource]:
    """The cases of a set in a fixed order.

    Raises:
        DataError: the set cannot be read or is empty.
    """
    makers = {"rendered": _rendered, "openpeople": _open_people, "shards": _shards, "photos": _photos}
    return list(makers[choice.kind](choice, size))


def _rendered(choice: SetChoice, size: int) -> Iterator[CaseSource]:
    def make(seed: int, key: str) -> Case:
        from gen3dface.data_synth.rendered.samples import make_sample

        sample = make_sample(seed, rig(choice.rig, size))
        views = sample.views.float() / 255
        return Case(key, sample.portrait, sample.head, sample.cameras, views[:, :3], views[:, 3:])

    first = FIRST_SEED if choice.first is None else choice.first
    for seed in range(first, first + (choice.heads or 0)):
        yield CaseSource(f"seed-{seed}", partial(make, seed, f"seed-{seed}"))


def _open_people(choice: SetChoice, size: int) -> Iterator[CaseSource]:
    def make(person: str) -> Case:
        portrait = load_portrait(portrait_bytes(person))
        cameras = rig("head360", size)[_PANEL_VIEWS]
        return Case(person, portrait, estimate(portrait), cameras, panels=tuple(panels(person)))

    for person in PEOPLE[: choice.heads]:
        yield CaseSource(person, partial(make, person))


def _shards(choice: SetChoice, size: int) -> Iterator[CaseSource]:
    from gen3dface.data_synth.shard_set import ShardSet

    assert choice.path is not None
    shards = ShardSet(choice.path)

    def make(index: int) -> Case:
        sample = shards[index]
        if sample.cameras.height < size:
            raise DataError(f"{choice.path} has views of {sample.cameras.height} px, {size} are asked for.")
        views = F.interpolate(sample.views.float() / 255, (size, size), mode="bilinear", antialias=True).clamp(0, 1)
        cameras = sample.cameras.resized(size, size)
        return Case(sample.key, sample.portrait, sample.head, cameras, views[:, :3], views[:, 3:])

    for index, key in enumerate(shards.keys[: choice.heads]):
        yield CaseSource(key, partial(make, index), shards.data_hash)


def _photos(choice: SetChoice, size: int) -> Iterator[CaseSource]:
    assert choice.path is not None
    jobs = find_photos([Path(choice.path)])[: choice.heads]
    if not jobs:
        raise DataError(f"There are no photos in '{choice.path}'.")

    def make(job: PhotoJob) -> Case:
        portrait = load_portrait(job.photo)
        return Case(job.name, portrait, estimate(portrait), rig(choice.rig, size))

    for job in jobs:
        yield CaseSource(job.name, partial(make, job), stamp_of(job.photo))
