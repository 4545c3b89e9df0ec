"""Which face of a picture is meant: a photo's largest, a view's surest, or the one at a place that is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import NoFaceError
from gen3dface.photo.detect import DetectedFace, FaceDetector

Image = NDArray[np.uint8]
_OVERLAP = 0.3  # intersection over union from which two boxes are of one face


def largest_face(detector: FaceDetector, image: Image) -> DetectedFace:
    """The face whose identity is meant. Raises `NoFaceError` when a picture uint8 [H, W, 3] shows none."""
    faces = detector(image)
    if not faces:
        raise NoFaceError("No face was found in the picture whose identity was asked for.")
    return faces[0]


def surest_face(detector: FaceDetector, view: Image) -> DetectedFace | None:
    """The face of a view of one head, [H, W, 3]: a larger one that is less sure is a neck or a shirt. None without."""
    return max(detector(view), key=lambda face: face.score, default=None)


def face_at(detector: FaceDetector, view: Image, place: DetectedFace) -> DetectedFace:
    """The face of a view [H, W, 3] where the true view shows it; that place itself where none is found there."""
    there = [face for face in detector(view) if overlap(face.box, place.box) >= _OVERLAP]
    return max(there, key=lambda face: overlap(face.box, place.box), default=place)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of boxes (x0, y0, x1, y1)."""
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    inside = max(width, 0) * max(height, 0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)
