"""What the networks that read photos say of a rendered one.

Its errors are the very ones that the estimator meets in use: it draws faces toward its own average and errs in patches,
and the estimator's regression has learned to undo that. Landmarks drawn from a model of a detector's errors lay outside
of what that regression knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import EstimationError, NoFaceError
from gen3dface.photo.detect import FaceDetector
from gen3dface.photo.landmarks import FaceLandmarker
from gen3dface.photo.matte import PersonMatter
from gen3dface.photo.portrait import PhotoModels, find_faces


@dataclass(frozen=True)
class Detection:
    """Box, score, landmarks and expression weights as in `Portrait`."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: NDArray[np.float32]  # [478, 3] px
    blendshapes: NDArray[np.float32]  # [52]


def detect_face(image: NDArray[np.uint8], name: str) -> Detection:
    """The largest face in a photo uint8 [H, W, 3] sRGB, as `load_portrait` would find it.

    Raises:
        EstimationError: the networks find no face, as they would not in use.
    """
    models = _networks()
    try:
        box, landmarks = find_faces(image, name, models)[0]
    except NoFaceError as error:
        raise EstimationError(str(error)) from error
    return Detection(box.box, box.score, landmarks.points, models.landmarker.blendshapes(landmarks))


@cache
def _networks() -> PhotoModels:
    """On one thread: a worker has one core, and the same seed must give the same landmarks."""
    return PhotoModels(FaceDetector(), FaceLandmarker(threads=1), PersonMatter())
