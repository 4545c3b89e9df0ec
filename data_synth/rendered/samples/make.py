"""`make_sample`: from a seed to a photo, the estimator's head and true views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gen3dface.cameras import Cameras, rig
from gen3dface.data_synth.rendered.people.person import Person, random_person, scene_of
from gen3dface.data_synth.rendered.people.skin_library import Skin, load_skins
from gen3dface.data_synth.rendered.renderer import LitScene, Views, light_scene, render
from gen3dface.data_synth.rendered.samples.backdrop import random_backdrop
from gen3dface.data_synth.rendered.samples.estimate import estimate_person, make_portrait
from gen3dface.data_synth.rendered.samples.lens import random_lens
from gen3dface.data_synth.rendered.samples.lighting import random_light
from gen3dface.data_synth.rendered.samples.photo import as_photo, labelled_parts
from gen3dface.data_synth.sample import TrainingSample, packed_depth
from gen3dface.errors import EstimationError
from gen3dface.heads import load_head_model
from gen3dface.photo import Portrait

GENERATOR = "gen3dface.rendered.3"  # grows when the same seed gives another sample
PHOTO_SIDE = 288  # px
_ATTEMPTS = 8
_STREAMS = 7919  # apart from other users of the same seeds


def make_sample(
    seed: int,
    views: str | Cameras = "head360",
    size: int = 128,
    skins: tuple[Skin, ...] | None = None,
    yaw_limit: float = 60.0,
    depth: bool = False,
) -> TrainingSample:
    """One identity; the same seed gives the same sample.

    Args:
        seed: any integer from 0 on. views: a rig's name, or cameras of square pictures of `size` px.
        size: px of the true views. skins: default: `load_skins()`. yaw_limit: degrees, of the photo.
        depth: keep depth maps too, of what is nearest in each pixel.

    Raises:
        EstimationError: no attempt gave landmarks that a head fits.
    """
    cameras = rig(views, size) if isinstance(views, str) else views
    skins = load_skins() if skins is None else skins
    for attempt in range(_ATTEMPTS):
        try:
            return _make(seed, attempt, cameras, skins, yaw_limit, depth)
        except EstimationError as error:
            last = error
    raise EstimationError(f"Seed {seed} gave no face that can be fitted in {_ATTEMPTS} attempts: {last}") from last


def _make(
    seed: int, attempt: int, cameras: Cameras, skins: tuple[Skin, ...], yaw_limit: float, depth: bool
) -> TrainingSample:
    sitting = sit(seed, skins, yaw_limit, attempt)
    estimate = estimate_person(sitting.portrait, sitting.person, load_head_model())
    to_head = estimate.from_truth
    views = render(sitting.scene, to_head.carried_back(cameras))
    return TrainingSample(
        sitting.portrait.source,
        sitting.portrait,
        estimate.head,
        quantised(views),
        cameras,
        _provenance(seed, sitting.person, sitting.lens),
        depth=packed_depth(views.depth[:, None] * to_head.scale) if depth else None,
    )


@dataclass(frozen=True)
class Sitting:
    """A person before a camera, and the photo that it took."""

    person: Person
    scene: LitScene
    lens: Cameras  # N = 1, in the true head's frame
    portrait: Portrait


def sit(seed: int, skins: tuple[Skin, ...], yaw_limit: float = 60.0, attempt: int = 0) -> Sitting:
    """The photo of a sample; arguments as for `make_sample`. Another attempt is another person."""
    generator = np.random.default_rng([_STREAMS, seed, attempt])
    styles = torch.Generator().manual_seed(int(generator.integers(2**62)))
    model = load_head_model()
    lens = random_lens(generator, PHOTO_SIDE, yaw_limit)
    person = random_person(skins, model, _toward_camera(lens), generator, styles)
    scene, labels = scene_of(person, model, random_light(generator), styles)
    lit = light_scene(scene)
    shot = render(lit, lens)
    image = as_photo(shot, random_backdrop(PHOTO_SIDE, generator), generator)
    parts = labelled_parts(shot, lit.vertices, lit.faces, labels, lens)
    name = f"rendered-{seed:09d}"
    portrait = make_portrait(image, shot.rgba[0, 3].numpy(), parts, name, generator)
    return Sitting(person, lit, lens, portrait)


def _toward_camera(lens: Cameras) -> tuple[float, float]:
    """Yaw to the subject's left and pitch down, degrees, by which eyes meet the camera."""
    return float(lens.azimuths[0]), -float(lens.elevations[0])


def quantised(views: Views) -> Tensor:
    """uint8 [N, 4, S, S]: sRGB over white, and coverage."""
    both = torch.cat([views.over(1.0), views.rgba[:, 3:]], 1)
    return (both.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def _provenance(seed: int, person: Person, lens: Cameras) -> dict[str, object]:
    traits = {name: round(float(value), 3) for name, value in vars(person.traits).items()}
    return {
        "generator": GENERATOR,
        "seed": seed,
        "licences": sorted({"CC0 (OpenHead)", "MIT (ICT-FaceKit Light, statistics)", *person.licences}),
        "traits": traits,
        "cut": person.hairdo.hair.cut,
        "beard": person.hairdo.facial.beard,
        "clothes": person.outfit.cut,
        "hat": person.accessories.hat,
        "glasses": person.accessories.frame is not None,
        "yaw": round(float(lens.azimuths[0]), 2),
        "distance": round(float(lens.centers[0].norm()), 3),
    }
