"""What the estimator says of a person whose truth is known: real errors, from a detector's to the fit's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.data_synth.align import skin_weights
from gen3dface.data_synth.rendered.people.person import Person
from gen3dface.data_synth.rendered.samples.detector import detect_face
from gen3dface.estimators import HeadFit
from gen3dface.estimators.default import fit_portrait, head_fit, regressed_prior
from gen3dface.estimators.hanging_hair import hanging_hair
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.silhouette import hair_offsets
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo import Portrait
from gen3dface.similarity import Similarity, best_similarity


@dataclass(frozen=True)
class Estimate:
    """A portrait, the head estimated from it, and where that head stands in the true one's frame."""

    portrait: Portrait
    head: HeadFit
    from_truth: Similarity  # true head's frame -> the estimated head's


def make_portrait(
    image: NDArray[np.uint8], matte: NDArray[np.float32], parts: NDArray[np.uint8], name: str,
    generator: np.random.Generator,
) -> Portrait:  # fmt: skip
    """The photo as `load_portrait` would give it: the face as detected, matte and parts near the truth.

    Raises:
        EstimationError: no face is found.
    """
    found = detect_face(image, name)
    matte, parts = _disturbed(matte, parts, generator)
    return Portrait(image, found.box, found.score, found.landmarks, found.blendshapes, matte, parts, name)


def estimate_person(portrait: Portrait, person: Person, model: HeadModel) -> Estimate:
    """Fit the portrait as `estimators.estimate` does, and find where the true head lies in the estimated frame.

    Raises:
        EstimationError: no head fits the landmarks.
    """
    landmarks = _landmark_model(model.name)
    fit = fit_portrait(portrait, model, landmarks, regressed_prior(portrait, model))
    bald = head_fit(fit, landmarks, model, portrait.height, portrait.width)
    found = bald.mesh(model)
    similarity = best_similarity(person.mesh(model).vertices, found.vertices, skin_weights(model))
    dressed = replace(bald, offsets=hair_offsets(portrait, found, bald.camera, model))
    head = replace(dressed, hair=hanging_hair(portrait, dressed.mesh(model), dressed.camera, model))
    return Estimate(portrait, head, similarity)


@cache
def _landmark_model(name: str) -> LandmarkModel:
    return LandmarkModel.from_head(load_head_model(name))


def _disturbed(
    matte: NDArray[np.float32], parts: NDArray[np.uint8], generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A network's matte and parts: both wander by a pixel or two along the edges, and the matte is softer."""
    height, width = matte.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)

    def wandering(pixels: float) -> NDArray[np.float32]:
        field = generator.standard_normal((10, 10, 2), np.float32) * pixels
        return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)

    scale = width / 288
    shift = wandering(0.5 * scale)
    soft = cv2.GaussianBlur(matte, (0, 0), generator.uniform(0.4, 1.0) * scale)
    seen = cv2.remap(soft, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = np.clip((seen - 0.5) * generator.uniform(1.0, 1.5) + 0.5 + generator.normal(0, 0.05), 0, 1)
    shift = wandering(1.2 * scale)
    labels = cv2.remap(parts, x + shift[..., 0], y + shift[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    labels = np.where(seen >= 0.5, np.where(labels == 0, _nearest_part(labels), labels), 0)
    return seen.astype(np.float32), labels.astype(np.uint8)


def _nearest_part(labels: NDArray) -> NDArray:
    """The label of the nearest pixel that has one."""
    known = (labels > 0).astype(np.uint8)
    if not known.any():
        return labels
    _, index = cv2.distanceTransformWithLabels(1 - known, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(index.max() + 1, labels.dtype)
    table[index[known > 0]] = labels[known > 0]
    return np.asarray(table[index])
