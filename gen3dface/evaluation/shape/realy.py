"""Errors of four regions of the face, each aligned by itself, after REALY (Chai et al., ECCV 2022).

One alignment of the whole face lets an error in one place show in another: REALY aligns the estimate to each region of
the scan alone. As there: the estimate's size comes from seven landmarks of the whole face; each region is then aligned
rigidly, to the nearest points of the estimate and to the region's landmarks, which together weigh as much as the
region's points (on the cheeks a quarter); the error is the mean distance of the region's points, whatever the name
"NMSE" says.

Unlike there: the regions are those that MediaPipe's landmarks draw on the scan (the chin counts with the mouth, the jaw
with the cheeks, the eyes nowhere), not masks drawn by hand; the landmarks are MediaPipe's, not the 85; and distances go
to the nearest point of the estimate, without the registration that finds REALY's correspondences, so they are lower
than REALY's own. Numbers of the two must not be mixed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from gen3dface.evaluation.shape.alignment import Similarity, align
from gen3dface.evaluation.shape.closest import Surface
from gen3dface.evaluation.shape.now import SEVEN

Array = NDArray[np.float64]
REGIONS = ("nose", "mouth", "forehead", "cheeks")
_MESH_LANDMARKS = 468  # the irises come after them
_NOSE = (
    1, 2, 3, 4, 5, 6, 19, 20, 44, 45, 48, 49, 51, 59, 60, 64, 75, 79, 94, 97, 98, 99, 102, 114, 115, 122, 125, 128,
    129, 131, 134, 141, 166, 168, 174, 188, 193, 195, 196, 197, 198, 209, 217, 218, 219, 220, 235, 236, 237, 238,
    239, 240, 241, 242, 248, 250, 274, 275, 278, 279, 281, 289, 290, 294, 305, 309, 326, 327, 328, 331, 343, 344,
    351, 354, 357, 358, 360, 363, 370, 392, 399, 412, 417, 419, 420, 429, 437, 438, 439, 440, 455, 456, 457, 458,
    459, 460, 461, 462,
)  # fmt: skip
_MOUTH = (
    0, 11, 12, 13, 14, 15, 16, 17, 18, 32, 37, 38, 39, 40, 41, 42, 43, 57, 61, 62, 72, 73, 74, 76, 77, 78, 80, 81,
    82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 95, 96, 106, 140, 146, 148, 149, 152, 164, 165, 167, 171, 175, 176,
    178, 179, 180, 181, 182, 183, 184, 185, 186, 191, 194, 199, 200, 201, 208, 262, 267, 268, 269, 270, 271, 272,
    273, 287, 291, 292, 302, 303, 304, 306, 307, 308, 310, 311, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321,
    322, 324, 325, 335, 369, 375, 377, 378, 391, 393, 396, 400, 402, 403, 404, 405, 406, 407, 408, 409, 410, 415,
    418, 421, 428,
)  # fmt: skip
_FOREHEAD = (
    8, 9, 10, 21, 46, 52, 53, 54, 55, 63, 65, 66, 67, 68, 69, 70, 71, 103, 104, 105, 107, 108, 109, 124, 139, 151,
    156, 162, 251, 276, 282, 283, 284, 285, 293, 295, 296, 297, 298, 299, 300, 301, 332, 333, 334, 336, 337, 338,
    353, 368, 383, 389,
)  # fmt: skip
_EYES = (
    7, 22, 23, 24, 25, 26, 27, 28, 29, 30, 33, 56, 110, 112, 113, 130, 133, 144, 145, 153, 154, 155, 157, 158, 159,
    160, 161, 163, 173, 189, 190, 221, 222, 223, 224, 225, 231, 232, 233, 243, 244, 245, 246, 247, 249, 252, 253,
    254, 255, 256, 257, 258, 259, 260, 263, 286, 339, 341, 342, 359, 362, 373, 374, 380, 381, 382, 384, 385, 386,
    387, 388, 390, 398, 413, 414, 441, 442, 443, 444, 445, 451, 452, 453, 463, 464, 465, 466, 467,
)  # fmt: skip
_LANDMARKS = {"nose": _NOSE, "mouth": _MOUTH, "forehead": _FOREHEAD, "eyes": _EYES}  # the cheeks have the rest
_LANDMARK_SHARE = {"nose": 1.0, "mouth": 1.0, "forehead": 1.0, "cheeks": 0.25}  # of the points' weight
_REACH = 0.15  # of the distance of the eyes' outer corners; points farther from every landmark are in no region
_ROUNDS, _REFINE_POINTS = 100, 600


def region_landmarks(name: str) -> NDArray[np.int64]:
    """Which of the 478 landmarks draw a region of `REGIONS` (or "eyes", which no region has)."""
    if name in _LANDMARKS:
        return np.array(_LANDMARKS[name])
    others = [i for part in _LANDMARKS.values() for i in part]
    return np.setdiff1d(np.arange(_MESH_LANDMARKS), others)


def region_masks(points: Array, landmarks: Array) -> dict[str, NDArray[np.bool_]]:
    """Which of a scan's points [N, 3] lie in each region [N]: those whose nearest landmark is the region's.

    landmarks: [478, 3] of the scan, NaN where unknown.
    """
    known = np.flatnonzero(np.isfinite(landmarks[:_MESH_LANDMARKS]).all(1))
    reach = _REACH * np.linalg.norm(landmarks[SEVEN[0]] - landmarks[SEVEN[3]])
    away, nearest = cKDTree(landmarks[known]).query(points)
    found = known[nearest]
    return {name: np.isin(found, region_landmarks(name)) & (away <= reach) for name in REGIONS}


def region_errors(
    scan: Array,
    scan_landmarks: Array,
    vertices: Array,
    faces: NDArray[np.int64],
    landmarks: Array,
) -> dict[str, Array]:
    """Distances of each region's scan points to the estimate, in the scan's unit: their mean is the region's error.

    Args:
        scan: [N, 3] points of the scan. scan_landmarks: [478, 3], NaN where unknown.
        vertices, faces, landmarks: of the estimate, [V, 3], [F, 3], [478, 3].
    """
    sized = align(landmarks[SEVEN], scan_landmarks[SEVEN], with_scale=True)
    surface, ours = Surface(sized(vertices), faces), sized(landmarks)
    both = np.flatnonzero(np.isfinite(scan_landmarks + ours).all(1))
    out = {}
    for name, mask in region_masks(scan, scan_landmarks).items():
        marks, points = np.intersect1d(region_landmarks(name), both), scan[mask]
        if len(points):
            motion = _fitted(points, surface, scan_landmarks[marks], ours[marks], _LANDMARK_SHARE[name])
            points = motion(points)
        out[name] = surface.closest(points).distances if len(points) else np.zeros(0)
    return out


def _fitted(points: Array, surface: Surface, theirs: Array, ours: Array, share: float) -> Similarity:
    """The rigid motion of a region onto the surface: of a scan that moves or of an estimate that moves is the same."""
    points = points[:: max(len(points) // _REFINE_POINTS, 1)]
    each = share * len(points) / max(len(theirs), 1)
    weights = np.concatenate([np.ones(len(points)), np.full(len(theirs), each)])
    source, before = np.concatenate([points, theirs]), np.inf
    motion = Similarity(np.eye(3), np.zeros(3))
    for _ in range(_ROUNDS):
        target = np.concatenate([surface.closest(motion(points)).points, ours])
        now = float(weights @ ((motion(source) - target) ** 2).sum(1))
        if now >= before * (1 - 1e-5):
            break
        before, motion = now, align(source, target, weights=weights)
    return motion
