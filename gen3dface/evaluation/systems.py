"""Who makes the views that are scored: baselines, this package's pipelines, and others' pictures from a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import torch

from gen3dface.errors import CheckpointError, DataError
from gen3dface.estimators import HeadFit
from gen3dface.estimators.default import population_prior
from gen3dface.evaluation.cases import Case
from gen3dface.evaluation.protocol import SystemChoice
from gen3dface.evaluation.stamps import stamp_of
from gen3dface.files import make_folder, write_atomically
from gen3dface.heads import load_head_model
from gen3dface.outputs.pictures import encode
from gen3dface.pipelines import Gen3DFacePipeline, MultiViewOutput, project_views
from gen3dface.pipelines.shipped import resolved as resolved_model
from gen3dface.recon.view_folder import read_pictures

_WHITE = 0.98
_LARGEST = 1024  # px that pictures are reduced to at most

System: TypeAlias = Callable[[str, Case], MultiViewOutput]
"""A set's name and a case to its views, by the case's cameras."""


def open_system(choice: SystemChoice, seed: int) -> System:
    """The system that a protocol asks for, its weights read.

    Raises:
        CheckpointError, ConfigError: there is no such pipeline.
    """
    if choice.kind == "folder":
        assert choice.path is not None
        return _Folder(Path(choice.path))
    if choice.kind == "pipeline":
        return _Pipeline(choice, seed)
    return {"truth": _truth, "mean_head": _mean_head, "projection": _projection}[choice.kind]


def system_stamp(choice: SystemChoice, set_name: str, case: str) -> str:
    """Changes when what a system's views of a case are made from does."""
    if choice.kind == "folder":
        assert choice.path is not None
        return stamp_of(Path(choice.path) / set_name / case)
    return stamp_of(resolved_model(choice.model)) if choice.model is not None else ""


def write_inputs(folder: Path, set_name: str, case: Case) -> None:
    """What another system needs to make a case's views: the photo, the cameras, the head that the estimator found.

    Its pictures belong into `views/000.png`, ... beside them, over white or with alpha, or with masks in `masks/`.
    """
    into = make_folder(folder / set_name / case.key)
    write_atomically(into / "photo.png", encode(case.portrait.image, "png"))
    write_atomically(into / "cameras.json", json.dumps(case.cameras.to_dict()).encode())
    nerf = case.cameras.to_nerf([f"views/{i:03d}.png" for i in range(len(case.cameras))])
    write_atomically(into / "transforms.json", json.dumps(nerf, indent=1).encode())
    case.head.save(into / "head.safetensors")


def _truth(set_name: str, case: Case) -> MultiViewOutput:
    """The true views; for uncalibrated ones the projection's place, whose pictures nobody looks at."""
    if case.images is None or case.masks is None:
        if not case.panels:
            raise DataError(f"Nothing is known of how {case.key} looks from elsewhere.")
        return _projection(set_name, case)
    return MultiViewOutput(case.images, case.masks, case.cameras, case.head)


def _projection(set_name: str, case: Case) -> MultiViewOutput:
    return project_views(case.portrait, case.head, case.cameras)


def _mean_head(set_name: str, case: Case) -> MultiViewOutput:
    """The photo laid on the average head, as if nothing were known of the person's shape."""
    return project_views(case.portrait, mean_fit(case.head), case.cameras)


def mean_fit(head: HeadFit) -> HeadFit:
    """A fit with the average identity of people in the same place, without hair."""
    average = population_prior(load_head_model(head.model_name)).mean
    identity = torch.from_numpy(average).to(head.identity)
    return replace(head, identity=identity, offsets=torch.zeros_like(head.offsets), hair=None)


class _Pipeline:
    """One seed for all heads."""

    def __init__(self, choice: SystemChoice, seed: int) -> None:
        try:
            self._pipe = Gen3DFacePipeline.from_pretrained(choice.model)
        except (OSError, ValueError) as error:  # diffusers' own
            raise CheckpointError(f"There is no pipeline at {choice.model}: {error}") from error
        self._pipe.set_progress_bar_config(disable=True)
        self._seed, self._steps, self._guidance = seed, choice.steps, choice.guidance

    def __call__(self, set_name: str, case: Case) -> MultiViewOutput:
        side = self._pipe.config["image_size"]
        made = self._pipe(
            case.portrait,
            case.head,
            case.cameras.resized(side, side),
            num_inference_steps=self._steps,
            guidance_scale=self._guidance,
            generator=torch.Generator().manual_seed(self._seed),
            output_type="pt",
        )
        assert isinstance(made, MultiViewOutput)
        return resized(made, case)


class _Folder:
    """Pictures of another system, in the layout of `write_inputs`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, set_name: str, case: Case) -> MultiViewOutput:
        folder = self._folder / set_name / case.key
        side = case.cameras.height
        names = [f"views/{i:03d}.png" for i in range(len(case.cameras))]
        pairs = read_pictures(folder, names, max(side, _LARGEST))
        sizes = {tuple(image.shape[1:]) for image, _ in pairs}
        if len(sizes) != 1:
            raise DataError(f"The views of {folder} differ in size.")
        images, masks = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        if bool((masks == 1).all()):  # neither alpha nor masks: what is not white
            masks = (images < _WHITE).any(1, keepdim=True).float()
        cameras = case.cameras.resized(*images.shape[-2:])
        return resized(MultiViewOutput(images, masks, cameras, case.head), case)


def resized(views: MultiViewOutput, case: Case) -> MultiViewOutput:
    """Views at the protocol's size."""
    size = (case.cameras.height, case.cameras.width)
    if (views.cameras.height, views.cameras.width) == size:
        return views
    images, masks = (
        torch.nn.functional.interpolate(t, size, mode="bilinear", antialias=True).clamp(0, 1)
        for t in (views.tensor(), views.masks)
    )
    return MultiViewOutput(images, masks, case.cameras, views.head)
