"""The chosen person's soft alpha at full resolution, and what each pixel of it is.

MODNet (Ke et al. 2022) gives the alpha of whatever people are near the face; MediaPipe's multiclass segmenter gives
the parts and mends holes; the landmarks say where the face is and the other faces say which people to leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from gen3dface.assets import fetch
from gen3dface.photo.guided import guided_upsample
from gen3dface.photo.landmarks import FACE_OVAL, REGION_SCALE, FaceLandmarks
from gen3dface.photo.litert import interpreter
from gen3dface.photo.parts import BACKGROUND, HAIR

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter
    from onnxruntime import InferenceSession

ALPHA_SIDE = 512  # shorter side of MODNet's input, px, as it was trained
PARTS_SIDE = 256
# How far the picture is used around the face's centre, in face lengths: all of the hair, the shoulders.
REACH_SIDE, REACH_UP, REACH_DOWN = 1.8, 1.7, 2.0
ENLARGEMENT_MAX = 2.0  # a small crop blown up further than this loses MODNet
SHOULDERS = 0.35  # face lengths from the chin down to them
SURE_BACKGROUND = 0.2  # the segmenter's background score below which a pixel is certainly the person
NECK_OF_DEBRIS = 0.05  # face lengths: whatever hangs on the person by less than twice this is not the person
WISPS = 0.2  # face lengths that soft hair may stand off from the solid person


class PersonMatter:
    """Alpha matte and parts of one person; the networks are read on first use and kept.

    alpha_model, parts_model: paths (default: the assets "modnet" and "selfie_multiclass"). threads: of each.
    """

    def __init__(self, alpha_model: Path | None = None, parts_model: Path | None = None, threads: int = 2) -> None:
        self._alpha_model, self._parts_model, self._threads = alpha_model, parts_model, threads

    def __call__(
        self, image: NDArray[np.uint8], face: FaceLandmarks, others: Sequence[FaceLandmarks] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """matte float32 [H,W] 0..1 and parts uint8 [H,W] (0 background .. 5 other) of the person with this face.

        image uint8 [H,W,3] sRGB. others: further faces in the picture, whose people are left out. Beyond REACH face
        lengths from the face both are 0.
        """
        # The networks know upright people: work in the quarter turn nearest to that.
        turns = round(face.region.angle / (np.pi / 2)) % 4
        size = image.shape[:2]
        centre, oval = _turned(face, turns, size)
        upright = np.ascontiguousarray(np.rot90(image, turns))
        length = face.region.side / REGION_SCALE
        rows, columns = _reach(centre, length, upright.shape[:2])
        crop = np.ascontiguousarray(upright[rows, columns])
        origin = np.array([columns.start, rows.start])

        shoulders = float(oval[:, 1].max()) - rows.start + SHOULDERS * length
        background, scores = self._parts_scores(crop, shoulders)
        alpha = self._alpha(crop)
        alpha = _mend(alpha, background, oval - origin)
        for other in others:
            rival, _ = _turned(other, turns, size)
            alpha *= _nearer(crop.shape[:2], centre - origin, face.region.side, rival - origin, other.region.side)
        alpha = _component(alpha, centre - origin, length)
        parts = _parts(scores, alpha)

        matte = np.zeros(upright.shape[:2], np.float32)
        labels = np.zeros(upright.shape[:2], np.uint8)
        matte[rows, columns], labels[rows, columns] = alpha, parts
        return np.ascontiguousarray(np.rot90(matte, -turns)), np.ascontiguousarray(np.rot90(labels, -turns))

    def _alpha(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = crop.shape[:2]
        scale = min(ALPHA_SIDE / min(height, width), ENLARGEMENT_MAX)
        size = tuple(max(32, round(side * scale / 32) * 32) for side in (width, height))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(crop, size, interpolation=method).astype(np.float32)
        tensor = (small / 127.5 - 1).transpose(2, 0, 1)[None]
        (output,) = self._alpha_network.run(None, {"input": np.ascontiguousarray(tensor)})
        alpha = np.asarray(output, np.float32)[0, 0]
        if scale < 1:
            return guided_upsample(alpha, crop)
        return np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA), np.float32)

    def _parts_scores(
        self, crop: NDArray[np.uint8], shoulders: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """At the crop's size: the background's score [h,w] 0..1; scores of hair to other [h,w,5], higher likelier.

        shoulders: the row below which there is more clothing than hair.
        """
        small = cv2.resize(crop, (PARTS_SIDE, PARTS_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        network = self._parts_network
        network.set_tensor(network.get_input_details()[0]["index"], small[None])
        network.invoke()
        scores = network.get_tensor(network.get_output_details()[0]["index"])[0]
        background = cv2.resize(scores[..., BACKGROUND], crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        settled = _settled(scores, round(shoulders * PARTS_SIDE / crop.shape[0]))
        parts = cv2.resize(settled, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(background, np.float32), np.asarray(parts, np.float32)

    @cached_property
    def _alpha_network(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.enable_cpu_mem_arena = False  # it would keep some 300 MB for the life of the process
        path = self._alpha_model or fetch("modnet")
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _parts_network(self) -> Interpreter:
        path = self._parts_model or fetch("selfie_multiclass")
        return interpreter(path.read_bytes(), self._threads)


def _turned(face: FaceLandmarks, turns: int, size: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Face centre [2] and outline [36,2] in the picture of height x width turned counter-clockwise."""
    height, width = size
    points = np.vstack([face.region.centre, face.points[list(FACE_OVAL), :2]]).astype(np.float64)
    for _ in range(turns):
        points = np.column_stack([points[:, 1], width - points[:, 0]])
        height, width = width, height
    return points[0], points[1:]


def _reach(centre: NDArray[np.float64], length: float, size: tuple[int, ...]) -> tuple[slice, slice]:
    x, y = centre
    top, bottom = y - REACH_UP * length, y + REACH_DOWN * length
    left, right = x - REACH_SIDE * length, x + REACH_SIDE * length
    rows = slice(max(0, round(top)), min(size[0], round(bottom)))
    return rows, slice(max(0, round(left)), min(size[1], round(right)))


def _mend(
    alpha: NDArray[np.float32], background: NDArray[np.float32], oval: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Fill what is certainly the person: inside the face's outline, and well inside the segmenter's foreground."""
    length = float(np.ptp(oval[:, 1]))
    sure = (background < SURE_BACKGROUND).astype(np.uint8)
    sure = _shrunk(sure, 0.06 * length)
    face = np.zeros(alpha.shape, np.uint8)
    cv2.fillPoly(face, [np.round(oval - 0.5).astype(np.int32)], 1)
    sure |= _shrunk(face, 0.03 * length)
    soft = cv2.GaussianBlur(sure.astype(np.float32), (0, 0), max(0.01 * length, 0.5))
    return np.maximum(alpha, soft)


def _shrunk(mask: NDArray[np.uint8], distance: float) -> NDArray[np.uint8]:
    bordered = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inside = cv2.distanceTransform(bordered, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return (inside > distance).astype(np.uint8)


def _nearer(
    size: tuple[int, ...],
    centre: NDArray[np.float64],
    side: float,
    rival: NDArray[np.float64],
    rival_side: float,
) -> NDArray[np.float32]:
    """1 where a pixel is nearer to centre than to rival, each in its own face's size, 0 where not; soft between."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) + 0.5
    own = np.hypot(x - centre[0], y - centre[1]) / side
    other = np.hypot(x - rival[0], y - rival[1]) / rival_side
    return np.clip((other - own) / 0.02 + 0.5, 0, 1).astype(np.float32)


def _component(alpha: NDArray[np.float32], centre: NDArray[np.float64], length: float) -> NDArray[np.float32]:
    """Only what hangs together with the face, and by more than a thread."""
    core = _shrunk((alpha > 0.5).astype(np.uint8), NECK_OF_DEBRIS * length)
    _, labels = cv2.connectedComponents(core, connectivity=4)
    row = int(np.clip(centre[1], 0, alpha.shape[0] - 1))
    column = int(np.clip(centre[0], 0, alpha.shape[1] - 1))
    person = labels == labels[row, column]
    distance = _distance(person) / length
    debris = _distance((core == 1) & ~person) / length
    margin = np.minimum(NECK_OF_DEBRIS + WISPS, debris) - distance
    return (alpha * np.clip(margin / 0.02, 0, 1)).astype(np.float32)


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of each pixel to the nearest of the mask, px; infinite for an empty mask."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _settled(scores: NDArray[np.float32], shoulders: int) -> NDArray[np.float32]:
    """Scores [h,w,5] of the parts; below the row of the shoulders, where the segmenter sees background, those of the
    nearest part instead of its second choice.

    The matte knows better what is background. Around the head the second choice is hair and right; in dark clothes it
    is hair too, and wrong.
    """
    unseen = np.argmax(scores, -1) == BACKGROUND
    parts = scores[..., HAIR:].copy()
    if unseen.all():
        return parts
    rows, columns = distance_transform_edt(unseen, return_distances=False, return_indices=True)
    below = slice(max(shoulders, 0), None)
    parts[below] = parts[rows[below], columns[below]]
    return parts


def _parts(scores: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The likeliest of the scores [h,w,5] of hair to other, wherever the matte says person."""
    best = np.argmax(scores, -1).astype(np.uint8) + HAIR
    return np.where(alpha >= 0.5, best, BACKGROUND).astype(np.uint8)
