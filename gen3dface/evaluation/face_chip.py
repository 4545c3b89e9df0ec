"""Faces cut out as recognisers want them: five points of the face at five places of a small square picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


def face_chip(image: Image, points: NDArray[np.floating], places: Array, size: int) -> Image:
    """The face [size, size, 3] of an image [H, W, 3], by the similarity that brings its points nearest to their places.

    points, places: [5, 2] px of the image and of the chip, pixel centres at +0.5, in one order.
    """
    motion = flat_similarity(points.astype(np.float64), places)
    while np.linalg.norm(motion[:, 0]) < 0.5:  # halved first, or a large face would be seen through a few of its pixels
        halved = np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        motion[:, :2] *= np.array(image.shape[1::-1]) / halved.shape[1::-1]
        image = halved
    motion[:, 2] += motion[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts pixel centres from 0
    cut = cv2.warpAffine(image, motion, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def flat_similarity(source: Array, target: Array) -> Array:
    """[2, 3] least-squares similarity x -> [A | t] x of points [N, 2]; in complex numbers it is z -> a z + b."""
    s, t = (points @ np.array([1, 1j]) for points in (source, target))
    centred = s - s.mean()
    a = np.vdot(centred, t - t.mean()) / np.vdot(centred, centred).real
    b = t.mean() - a * s.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
