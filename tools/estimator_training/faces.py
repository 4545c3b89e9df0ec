"""Unwrapped faces of people of known identity, for the network that reads pixels.

Two worlds, so that it believes what both show and not how one of them draws: ICT-FaceKit Light's heads as the benchmark
draws them, with other skins, and the rendered people that multi-view models are trained on. Irises are 11.7 mm across
in both, give or take 4 % (Ruefer et al. 2005).
"""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ict_pictures
from ict_heads import EYEBALLS, load_ict

from estimator_training.people import load_people
from estimator_training.sitters import SKINS
from gen3dface.data_synth.rendered.people.skin_library import load_skins
from gen3dface.data_synth.rendered.samples.make import sit
from gen3dface.errors import EstimationError
from gen3dface.estimators.regression import bundled_regressor
from gen3dface.estimators.unwrapped_face import Unwrapping
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo.landmarks import FaceLandmarker, FaceRegion

Array = NDArray[np.float64]
PRESENCE = 0.5
JITTER = 4.0  # px by which the landmark network starts beside the face
SIZES = (320, 384, 448, 640)  # px of the sitters' pictures
YAW, NARROW, WIDE_SHARE = 64.0, 25.0, 0.8
EXPRESSION = 0.6  # largest weight, in every other picture
IRIS, PUPIL = 29.0, 11.0  # degrees from the eye's axis, as the benchmark paints them


class FaceReader:
    """Landmarks and unwrapped face of a picture whose face's place is known."""

    def __init__(self) -> None:
        self._landmarker = FaceLandmarker(threads=1)
        self._unwrapping = Unwrapping.onto(bundled_regressor().reference)

    def __call__(self, image: NDArray[np.uint8], place: Array, rng: np.random.Generator) -> dict[str, NDArray] | None:
        """place: [N, 2] px of true points of the face, which no detector is asked for."""
        low, high = place.min(0), place.max(0)
        centre = (low + high) / 2 + rng.normal(0, JITTER, 2)
        side = 1.5 * float((high - low).max()) * rng.uniform(0.93, 1.07)
        found = self._landmarker(image, FaceRegion((float(centre[0]), float(centre[1])), side, 0.0), 3)
        if found.presence < PRESENCE:
            return None
        return {
            "landmarks": found.points,
            "blendshapes": self._landmarker.blendshapes(found),
            "face": self._unwrapping(image, found.points),
        }


class SitterFaces:
    """ICT's heads, bald; skins are mixed of OpenPeople's P001-P007."""

    def __init__(self, ict_path: Path) -> None:
        self._ict = load_ict(ict_path)
        self._people = load_people(ict_path, load_head_model())
        self._reader = FaceReader()

    def sample(self, seed: int) -> dict[str, NDArray] | None:
        """One training sample, or None when no face is found."""
        rng = np.random.default_rng([11, seed])
        ict_pictures.SIZE = SIZES[seed // 250 % len(SIZES)]
        skin = self._skins.mixed(rng)
        yaw = (0.0, YAW if rng.random() < WIDE_SHARE else NARROW)
        sitter = ict_pictures.draw_sitter(self._ict, [skin], yaw, seed, EXPRESSION * (seed % 2))
        known = sitter.landmarks[~np.isnan(sitter.landmarks).any(1)]
        place = sitter.camera.project(torch.from_numpy(known).float())[0][0].double().numpy()
        read = self._reader(sitter.image, place, rng)
        return read and {"identity": self._people.coefficients(sitter.identity).astype(np.float32), **read}

    @cached_property
    def _skins(self) -> MixedSkins:
        return MixedSkins(self._ict, ict_pictures.openpeople_skins(self._ict, SKINS))


class MixedSkins:
    """Skins between the few that there are, so that none is learned by heart."""

    def __init__(self, ict: HeadModel, skins: list[Array]) -> None:
        self._ict, self._place = ict, ict.template.numpy()
        distance, near = cKDTree(self._place).query(self._place, 24)
        share = np.exp(-((distance / 0.006) ** 2))
        share /= share.sum(1, keepdims=True)
        self._smooth = [np.einsum("vk,vkc->vc", share, skin[near]) for skin in skins]
        self._detail = [skin - smooth for skin, smooth in zip(skins, self._smooth, strict=True)]

    def mixed(self, rng: np.random.Generator) -> Array:
        """[V, 3] albedo in 0..1, display-referred: two skins, blotches, another contrast, painted eyes."""
        one, other = rng.integers(len(self._smooth), size=2)
        share = self._field(rng)
        smooth = self._smooth[one] * share + self._smooth[other] * (1 - share)
        skin = smooth + (self._detail[one] * share + self._detail[other] * (1 - share)) * rng.uniform(0.5, 1.5)
        for _ in range(rng.integers(0, 4)):
            skin = skin * (1 + self._field(rng) * rng.normal(0, 0.12, 3))
        return self._with_eyes(np.clip(np.clip(skin, 0, 1) ** rng.uniform(0.7, 1.4), 0, 1), rng)

    def _field(self, rng: np.random.Generator) -> Array:
        """[V, 1] in 0..1, smooth over the head."""
        waves = rng.normal(size=(4, 3)) * rng.choice([15, 40])
        height = np.sin(self._place @ waves.T + rng.uniform(0, 6.3, 4)).sum(1) / 2
        return np.asarray(1 / (1 + np.exp(-2 * height - 1.5 * rng.normal())))[:, None]

    def _with_eyes(self, skin: Array, rng: np.random.Generator) -> Array:
        iris = np.array([0.35, 0.22, 0.12]) * np.exp(rng.normal(0, 0.4, 3) + rng.normal(0, 0.5))
        white = np.array([0.93, 0.9, 0.88]) * rng.uniform(0.75, 1.05)
        rings = np.array([[0.04] * 3, iris, white])
        pupil = PUPIL * rng.uniform(0.7, 1.3)
        rim = np.degrees(np.arcsin(np.sin(np.radians(IRIS)) * np.exp(rng.normal(0, 0.04))))
        for name, span in EYEBALLS.items():
            centre = self._ict.joints[self._ict.joint_names.index(name)].numpy()
            ball = self._place[slice(*span)] - centre
            angle = np.degrees(np.arctan2(np.hypot(ball[:, 0], ball[:, 1]), ball[:, 2]))
            skin[slice(*span)] = np.clip(rings[np.digitize(angle, [pupil, rim])], 0, 1)
        return skin


class PersonFaces:
    """Rendered people: hair, glasses, lights, backgrounds, a lens of their own."""

    def __init__(self) -> None:
        self._skins, self._unwrapping = load_skins(), Unwrapping.onto(bundled_regressor().reference)

    def sample(self, seed: int) -> dict[str, NDArray] | None:
        """One training sample, or None when no face is found."""
        try:
            sitting = sit(seed, self._skins)
        except EstimationError:
            return None
        seen = sitting.portrait
        return {
            "identity": sitting.person.identity.numpy(),
            "landmarks": seen.landmarks,
            "blendshapes": seen.blendshapes,
            "face": self._unwrapping(seen.image, seen.landmarks),
        }
