"""Which face of a picture is meant: a photo's largest, a view's surest, or the one at a place that is known.

Heads in views are upright: `FaceDetector(turns=UPRIGHT)` looks for their faces, in views that are large enough.
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import NoFaceError
from gen3dface.photo.detect import DetectedFace, FaceDetector, overlap

Image = NDArray[np.uint8]
# an upright detector's score from which a view shows the face: 1 in 100 true views from 135 degrees on has it, where
# there is none to be seen, and 97 in 100 of those at 90 degrees (benchmarks/visible_faces.py)
SHOWN = 0.8
_LARGE = 256  # px that small views are enlarged to, so that a detector may find faces in them: the papers' size
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


def enlarged(views: Tensor) -> list[Image]:
    """Pictures [N, 3, S, S] in 0..1 as bytes [S, S, 3], S at least 256."""
    scale = max(1.0, _LARGE / min(views.shape[-2:]))
    large = F.interpolate(views, scale_factor=scale, mode="bicubic", align_corners=False) if scale > 1 else views
    return list(large.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy())
