"""Faces in a picture: boxes and five points by YuNet (Wu et al., 2023), at several scales and orientations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.assets import fetch

# Longer sides, px, at which the picture is searched: the detector knows faces of about 10 to 300 px.
NEAR_SIDE, FAR_SIDE = 320, 1024
NEAR_MARGIN = 0.25  # border added on every side, so that a face that fills the frame is seen whole
ALL_TURNS = tuple(range(0, 360, 45))  # degrees; the detector is sure within half a step of upright
UPRIGHT = (0,)
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

    model: YuNet's path (default: the asset "yunet"). turns: degrees by which copies of the picture are turned;
    `UPRIGHT` for upright heads, whose profiles can be taken for faces that lie on their side.
    """

    def __init__(self, model: Path | None = None, turns: Sequence[int] = ALL_TURNS) -> None:
        self._model, self._turns = model, turns

    def __call__(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        """Faces in image uint8 [H,W,3] sRGB, largest first."""
        found = self._search(image, NEAR_SIDE, NEAR_MARGIN, self._turns) + self._search(image, FAR_SIDE, 0, (0,))
        if not found:
            found = self._search(image, FAR_SIDE, 0, self._turns)
        return sorted(_distinct(found), key=lambda face: -face.size)

    def _search(self, image: NDArray[np.uint8], side: int, margin: float, turns: Sequence[int]) -> list[DetectedFace]:
        """Faces in copies whose longer side is at most `side`, turned by each of the angles (degrees)."""
        small = _reduced(image, side)
        scale = np.array(image.shape[1::-1]) / small.shape[1::-1]
        found = []
        for turn in turns:
            copy, back = _turned(small, np.deg2rad(turn), round(margin * max(small.shape)))
            found += [_in_picture(row, scale[:, None] * back) for row in self._rows(copy)]
        return found

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


def _reduced(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _turned(image: NDArray[np.uint8], angle: float, margin: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The whole image turned by angle (radians, clockwise on screen) on grey with a margin (px); and the affine [2,3]
    from there back to the image, both continuous.
    """
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    size = np.array(image.shape[1::-1])
    canvas = np.ceil(np.abs(rotation) @ size - 1e-6).astype(int) + 2 * margin
    back = np.column_stack([rotation.T, size / 2 - rotation.T @ canvas / 2])
    indices = back.copy()
    indices[:, 2] += back[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts pixel centres from 0, the affine from 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grey = (128, 128, 128)
    copy = cv2.warpAffine(image, indices, (int(canvas[0]), int(canvas[1])), flags=flags, borderValue=grey)
    return np.asarray(copy, np.uint8), back


def _in_picture(row: NDArray[np.float32], back: NDArray[np.float64]) -> DetectedFace:
    """A detector's row in a turned copy, in the picture; the box keeps its size, not its slant."""
    linear, offset = back[:, :2], back[:, 2]
    centre = linear @ (row[:2] + row[2:4] / 2) + offset
    direction = np.abs(linear)
    half = direction @ row[2:4] / 2 / (direction / np.linalg.norm(linear, axis=1, keepdims=True)).sum(1)
    points = row[4:14].reshape(5, 2) @ linear.T + offset
    x0, y0, x1, y1 = (float(v) for v in (*(centre - half), *(centre + half)))
    return DetectedFace((x0, y0, x1, y1), points.astype(np.float32), float(row[14]))


def _distinct(found: list[DetectedFace]) -> list[DetectedFace]:
    """Non-maximum suppression over all scales and turns: a face scores best where it is upright."""
    kept: list[DetectedFace] = []
    for face in sorted(found, key=lambda f: -f.score):
        if all(overlap(face.box, other.box) <= OVERLAP_MAX for other in kept):
            kept.append(face)
    return kept


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of boxes (x0, y0, x1, y1)."""
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    inside = max(width, 0) * max(height, 0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return inside / (both - inside) if inside else 0.0
