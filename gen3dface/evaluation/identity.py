"""Is it the same person? Embeddings by SFace (Zhong et al., 2021), whose threshold for the same person is 0.363."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.assets import fetch
from gen3dface.evaluation.faces import largest_face
from gen3dface.photo.detect import DetectedFace, FaceDetector

SAME_PERSON = 0.363  # cosine from which SFace's authors call two photos one person


class IdentityEmbedder:
    """128-d identity embeddings of a picture's face.

    model: SFace's path (default: the asset "sface").
    """

    def __init__(self, model: Path | None = None) -> None:
        self._model = model
        self._detector = FaceDetector()

    def __call__(self, image: NDArray[np.uint8], face: DetectedFace | None = None) -> NDArray[np.float32]:
        """Unit vector [128] for image uint8 [H, W, 3] sRGB.

        face: the one that is meant (default: the largest that is found).

        Raises:
            NoFaceError: no face was found.
        """
        face = face or largest_face(self._detector, image)
        x0, y0, x1, y1 = face.box
        row = np.concatenate([[x0, y0, x1 - x0, y1 - y0], face.points.ravel(), [face.score]])
        crop = self._network.alignCrop(image[..., ::-1].copy(), row[None].astype(np.float32))
        feature = self._network.feature(crop)[0]
        return np.asarray(feature / np.linalg.norm(feature), np.float32)

    @cached_property
    def _network(self) -> cv2.FaceRecognizerSF:
        return cv2.FaceRecognizerSF.create(str(self._model or fetch("sface")), "")


def cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Cosine of two unit vectors, -1..1."""
    return float(first @ second)
