"""Faces in a picture: boxes and five points by YuNet (Wu et al., 2023), at several scales and orientations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.assets import fetch

# Longer sides, px, at which the picture is searched: the detector knows faces of about 10 to 300 px.
SEARCH_SIDES = (320, 1024)
MARGIN = 0.25  # border added on every side, so that a face that fills the frame is seen whole
SCORE_MIN = 0.6
OVERLAP_MAX = 0.3  # intersection over union above which two boxes are one face


@dataclass(frozen=True)
class DetectedFace:
    """box (x0, y0, x1, y1) px; points float32 [5,2] px: the subject's right eye, left eye, nose, right and left mouth
    corner (pixel centres at +0.5); score 0..1.
    """

    box: tuple[float, float, float, float]
    points: NDArray[np.float32]
    score: float

    @property
    def size(self) -> float:
        """Longer side of the box, px."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)


class FaceDetector:
    """Finds faces of any in-plane rotation, from about 1/100 of the picture's side to more than all of it.

    model: YuNet's path (default: the asset "yunet").
    """

    def __init__(self, model: Path | None = None) -> None:
        self._model = model

    def __call__(self, image: NDArray[np.uint8]) -> list[list[DetectedFace]]:
        """Faces in image uint8 [H,W,3] sRGB, largest first; of each its readings, best first.

        A face lying on its side is often read in several orientations, and the wrong one may score best: what the
        landmark network says of each reading decides.
        """
        found: list[DetectedFace] = []
        for side in SEARCH_SIDES:
            small, scale, offset = _search_copy(image, side)
            for quarter_turns in range(4):
                for row in self._rows(np.ascontiguousarray(np.rot90(small, quarter_turns))):
                    face = _upright(row, quarter_turns, small.shape[0], small.shape[1])
                    found.append(_scaled(face, scale, offset))
        return sorted(_grouped(found), key=lambda readings: -readings[0].size)

    def _rows(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._network.setInputSize((image.shape[1], image.shape[0]))
        _, rows = self._network.detect(image[..., ::-1].copy())
        return np.zeros((0, 15), np.float32) if rows is None else rows

    @cached_property
    def _network(self) -> cv2.FaceDetectorYN:
        with _quiet_opencv():
            return cv2.FaceDetectorYN.create(str(self._model or fetch("yunet")), "", (320, 320), SCORE_MIN)


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV 5 warns on standard error about a default that it sets itself."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _search_copy(
    image: NDArray[np.uint8], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """A reduced copy with a margin; with the (x, y) scale and offset: copy = picture * scale + offset."""
    height, width = image.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    pad = round(MARGIN * max(size))
    bordered = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    scale = np.array([size[0] / width, size[1] / height])
    return np.asarray(bordered, np.uint8), scale, np.full(2, float(pad))


def _upright(row: NDArray[np.float32], quarter_turns: int, height: int, width: int) -> DetectedFace:
    """A detector's row in a copy turned counter-clockwise, in the coordinates of the unturned height x width."""
    corners = np.array([row[:2], row[:2] + row[2:4]])
    points = np.concatenate([corners, row[4:14].reshape(5, 2)]).astype(np.float64)
    x, y = points[:, 0], points[:, 1]
    if quarter_turns == 1:
        points = np.column_stack([width - y, x])
    elif quarter_turns == 2:
        points = np.column_stack([width - x, height - y])
    elif quarter_turns == 3:
        points = np.column_stack([y, height - x])
    low, high = points[:2].min(0), points[:2].max(0)
    return DetectedFace((*low, *high), points[2:].astype(np.float32), float(row[14]))


def _scaled(face: DetectedFace, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> DetectedFace:
    corners = (np.array(face.box).reshape(2, 2) - offset) / scale
    points = ((face.points - offset) / scale).astype(np.float32)
    x0, y0, x1, y1 = (float(v) for v in corners.ravel())
    return DetectedFace((x0, y0, x1, y1), points, face.score)


def _grouped(found: list[DetectedFace]) -> list[list[DetectedFace]]:
    """Readings that overlap the best one of a face, over all scales and orientations."""
    groups: list[list[DetectedFace]] = []
    for face in sorted(found, key=lambda f: -f.score):
        same = [group for group in groups if _overlap(face.box, group[0].box) > OVERLAP_MAX]
        if same:
            same[0].append(face)
        else:
            groups.append([face])
    return groups


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inside = width * height
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)
