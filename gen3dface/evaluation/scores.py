"""All measures of one head's views: a number a view, or one for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import NoFaceError, ReconstructionError
from gen3dface.evaluation.cases import Case
from gen3dface.evaluation.comparison import Compared
from gen3dface.evaluation.faces import SHOWN, enlarged, face_at, surest_face
from gen3dface.evaluation.identity import cosine
from gen3dface.evaluation.protocol import EvalConfig
from gen3dface.evaluation.view_scores import mask_iou, psnr
from gen3dface.photo.detect import UPRIGHT, DetectedFace, FaceDetector
from gen3dface.pipelines.output import MultiViewOutput

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
_BEHIND = 150.0  # degrees from the front from which a view shows the back
_FACE = 0.67  # a detector's score from which it sees a face: one in 20 true backs has it (benchmarks/pruning.py)
_TOGETHER = 16  # pictures that a large network sees at once


class Embedder(Protocol):
    """A recogniser: a picture uint8 [H, W, 3] and the face that is meant, by default its largest, to a unit vector.

    Raises `NoFaceError`.
    """

    def __call__(self, image: NDArray[np.uint8], face: DetectedFace | None = None) -> NDArray[np.float32]: ...


class _OfTruth:
    """What is found in a case's true views, which all systems share: found once."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        self._function, self._last = function, (torch.empty(0), None)

    def __call__(self, images: Tensor) -> Any:
        if not torch.equal(self._last[0], images):
            self._last = images, self._function(images)
        return self._last[1]


@dataclass
class Scores:
    """Of one case and system.

    Args:
        azimuths: [N] degrees from the front, 0..180, of what `views` counts. views: measure to [N], NaN where there is
            nothing to measure. whole: measure to one number for all views. features: [N, 2048] of made and true views.
    """

    azimuths: Array
    views: dict[str, Array] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    found: dict[str, float] = field(default_factory=dict)
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class Judge:
    """Takes the measures of a protocol; networks are read once, when they are first needed."""

    def __init__(self, config: EvalConfig) -> None:
        self._config, self._wanted = config, set(config.measured)
        self._true_features, self._true_faces = _OfTruth(self._seen), _OfTruth(self._surest)

    def open(self) -> Judge:
        """Read what the user named, so that a wrong name is told at once. Raises `CheckpointError`, `DataError`."""
        if self._config.clip is not None:
            _ = self._clip
        if self._config.arcface is not None:
            _ = self._embed
        if "reid" in self._wanted:
            _ = self._reid
        return self

    @torch.no_grad()
    def __call__(self, case: Case, views: MultiViewOutput, pairs: Compared) -> Scores:
        """Scores of a system's views, and of what of them is compared with the truth."""
        turned = (pairs.azimuths.double().numpy() + 180) % 360 - 180
        scores = Scores(np.abs(turned).round(3))
        for name, measure in self._of_pairs.items():
            if name in self._wanted and pairs.true_images is not None:
                scores.views[name] = np.asarray(measure(pairs), np.float64)
        self._of_pictures(case, pairs, scores)
        if not case.panels:
            self._of_all(views, scores)
        if {"fid", "kid"} & self._wanted:
            scores.features["made"] = self._seen(pairs.images)
            if pairs.true_images is not None and self._config.reference is None:
                scores.features["true"] = self._true_features(pairs.true_images)
        return scores

    @cached_property
    def _of_pairs(self) -> dict[str, Callable[[Compared], Any]]:
        return {
            "lpips": lambda p: self._lpips(p.images, p.true_images),
            "lpips_vgg": lambda p: self._lpips_vgg(p.images, p.true_images),
            "ssim": _ssim,
            "psnr": lambda p: psnr(p.images, p.true_images),
            "iou": lambda p: mask_iou(p.masks, p.true_masks),
            "reid": lambda p: self._reid(p.images, p.true_images),
        }

    def _of_pictures(self, case: Case, pairs: Compared, scores: Scores) -> None:
        """What is compared with the photo, or with nothing."""
        large = enlarged(pairs.images)
        if {"identity", "agreement"} & self._wanted:
            faces = self._faces(large, pairs.true_images)
            found = [
                None if face is None else self._embed(picture, face) for picture, face in zip(large, faces, strict=True)
            ]
            person = self._person(case)
            if "identity" in self._wanted:
                scores.views["identity"] = np.array([_cosine(one, person) for one in found])
            if "agreement" in self._wanted and not case.panels:
                from gen3dface.data_synth.prune.scoring import mean_pairwise_cosine

                kept = np.array([one for one in found if one is not None])
                scores.whole["agreement"] = mean_pairwise_cosine(kept)
                scores.found["agreement"] = len(kept) / max(len(found), 1)
        if "clip" in self._wanted:
            scores.views["clip"] = np.asarray(self._clip(case.portrait.image, large), np.float64)
        if "janus" in self._wanted:
            behind = scores.azimuths >= _BEHIND
            pictures = torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2)[torch.from_numpy(behind)]
            values = np.full(len(large), np.nan)
            values[behind] = self._fronts(pictures) > _FACE if behind.any() else 0.0
            scores.views["janus"] = values

    def _of_all(self, views: MultiViewOutput, scores: Scores) -> None:
        from gen3dface.evaluation.consistency import adjacent_errors
        from gen3dface.evaluation.halves import LEAST_VIEWS, halves_apart
        from gen3dface.heads import load_head_model

        assert views.head is not None  # of the case
        if "consistency" in self._wanted:
            surface = views.head.surface(load_head_model(views.head.model_name))
            apart = adjacent_errors(views.tensor().float(), views.masks.float(), views.cameras, surface)
            scores.whole["consistency"] = float(apart.nanmean())
        if "halves" in self._wanted and len(views) >= LEAST_VIEWS:
            try:
                with torch.enable_grad():
                    scores.whole["halves"] = halves_apart(views)
            except ReconstructionError as error:
                logger.warning("no surface for a half of the views: %s", error)
                scores.whole["halves"] = float("nan")

    def _person(self, case: Case) -> NDArray[np.float32] | None:
        try:
            return self._embed(case.portrait.image)
        except NoFaceError:
            return None

    def _faces(self, pictures: list[NDArray[np.uint8]], truth: Tensor | None) -> list[DetectedFace | None]:
        """Where each view shows the face: where its true view does, or, without truth, where it is found."""
        if truth is None:
            return self._shown(pictures)
        places = self._true_faces(truth)
        return [
            None if place is None else face_at(self._detector, picture, place)
            for picture, place in zip(pictures, places, strict=True)
        ]

    def _surest(self, images: Tensor) -> list[DetectedFace | None]:
        return self._shown(enlarged(images))

    def _shown(self, pictures: list[NDArray[np.uint8]]) -> list[DetectedFace | None]:
        faces = (surest_face(self._detector, picture) for picture in pictures)
        return [face if face is not None and face.score >= SHOWN else None for face in faces]

    def _seen(self, images: Tensor) -> NDArray[np.float32]:
        parts = [np.asarray(self._inception(part)) for part in images.split(_TOGETHER)]
        return np.concatenate(parts).astype(np.float32)

    @cached_property
    def _embed(self) -> Embedder:
        if self._config.arcface is not None:
            from gen3dface.evaluation.arcface import ArcFace

            return ArcFace(Path(self._config.arcface))
        from gen3dface.evaluation.identity import IdentityEmbedder

        return IdentityEmbedder()

    @cached_property
    def _detector(self) -> FaceDetector:
        return FaceDetector(turns=UPRIGHT)

    @cached_property
    def _lpips(self) -> Any:
        from gen3dface.evaluation.lpips import LPIPS

        return LPIPS()

    @cached_property
    def _lpips_vgg(self) -> Any:
        from gen3dface.evaluation.lpips import LPIPS

        return LPIPS(net="vgg")

    @cached_property
    def _reid(self) -> Any:
        from gen3dface.evaluation.reid import ReID

        return ReID(self._config.reid)

    @cached_property
    def _inception(self) -> Any:
        from gen3dface.evaluation.frechet import Inception

        return Inception()

    @cached_property
    def _clip(self) -> Any:
        from gen3dface.evaluation.clip_similarity import ClipSimilarity

        assert self._config.clip is not None
        return ClipSimilarity(self._config.clip)

    @cached_property
    def _fronts(self) -> Any:
        from gen3dface.data_synth.prune.janus import DetectorJudge

        return DetectorJudge()


def _ssim(pairs: Compared) -> Tensor:
    from gen3dface.evaluation.ssim import ssim

    assert pairs.true_images is not None
    return ssim(pairs.images, pairs.true_images)


def _cosine(first: NDArray[np.float32] | None, second: NDArray[np.float32] | None) -> float:
    return float("nan") if first is None or second is None else cosine(first, second)
