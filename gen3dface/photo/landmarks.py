"""478 facial landmarks, a presence score and 52 expression weights from a face region.

The three networks are those of MediaPipe's Face Landmarker bundle (Attention Mesh, Grishchenko et al. 2020,
and Blendshape V2), run through LiteRT. The geometry around them, from region to crop to picture, is here.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.assets import fetch
from gen3dface.errors import AssetError
from gen3dface.photo.litert import interpreter

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

CROP = 256  # side of the landmark network's input, px
REGION_SCALE = 1.5  # side of the square region over the longer side of the landmarks' box
MEMBER_LIMIT = 32 << 20  # no network in the bundle comes near this many bytes

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
FOREHEAD_TOP, CHIN_BOTTOM = 10, 152
FIVE_POINTS = (468, 473, 1, 61, 291)  # right and left iris, nose tip, right and left mouth corner

# The face's outline among the 478 landmarks, in order.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

# Output order of the expression network without its first entry ("neutral"), which is the alphabetical order of
# ARKit's names; tongueOut, which the network does not know, is appended and stays 0.
BLENDSHAPE_NAMES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip

# The 146 of the 478 landmarks that the expression network was trained on.
BLENDSHAPE_LANDMARKS = np.array(
    [
        0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78,
        80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150,
        152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197,
        234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308,
        310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377,
        378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466,
        468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
    ]
)  # fmt: skip


@dataclass(frozen=True)
class FaceRegion:
    """A rotated square of the picture: centre (x, y) px, side px, angle in radians (clockwise on screen)."""

    centre: tuple[float, float]
    side: float
    angle: float

    @classmethod
    def from_five_points(cls, points: NDArray[np.float32], box: tuple[float, float, float, float]) -> FaceRegion:
        """From a detector's points [5,2] (right eye, left eye, nose, right and left mouth corner) and box."""
        eyes, mouth = points[:2].mean(0), points[3:].mean(0)
        angle = _roll(points[1] - points[0], mouth - eyes)
        x0, y0, x1, y1 = box
        return cls(((x0 + x1) / 2, (y0 + y1) / 2), REGION_SCALE * max(x1 - x0, y1 - y0), angle)

    @classmethod
    def from_landmarks(cls, landmarks: NDArray[np.float32]) -> FaceRegion:
        """From landmarks [478,2+] px: their box in the face's own upright frame, squared and enlarged."""
        xy = landmarks[:, :2].astype(np.float64)
        angle = _roll(xy[LEFT_EYE_OUTER] - xy[RIGHT_EYE_OUTER], xy[CHIN_BOTTOM] - xy[FOREHEAD_TOP])
        axes = _rotation(angle)
        low, high = (xy @ axes).min(0), (xy @ axes).max(0)
        centre = axes @ ((low + high) / 2)
        return cls((float(centre[0]), float(centre[1])), REGION_SCALE * float((high - low).max()), angle)

    def to_picture(self) -> NDArray[np.float64]:
        """Affine [2,3] from crop coordinates (0..CROP, continuous) to the picture's."""
        linear = _rotation(self.angle) * (self.side / CROP)
        return np.column_stack([linear, np.array(self.centre) - linear @ np.full(2, CROP / 2)])


@dataclass(frozen=True)
class FaceLandmarks:
    """points float32 [478,3]: x, y px in the picture (pixel centres at +0.5), z px, smaller nearer the camera.

    presence: 0..1, how surely the region holds a face. region: where the network looked.
    """

    points: NDArray[np.float32]
    presence: float
    region: FaceRegion


class FaceLandmarker:
    """Landmarks and expression weights; the networks are read on first use and kept.

    model: the bundle's path (default: the asset "face_landmarker"). threads: of each network.
    """

    def __init__(self, model: Path | None = None, threads: int = 2) -> None:
        self._model = model
        self._threads = threads

    def __call__(self, image: NDArray[np.uint8], region: FaceRegion, passes: int = 2) -> FaceLandmarks:
        """image uint8 [H,W,3] sRGB. Every pass but the first looks where the one before found the face."""
        for _ in range(passes):
            result = self._once(image, region)
            region = FaceRegion.from_landmarks(result.points)
        return result

    def blendshapes(self, landmarks: FaceLandmarks) -> NDArray[np.float32]:
        """Expression weights float32 [52] in 0..1, in the order of BLENDSHAPE_NAMES."""
        upright = landmarks.points[:, :2] @ _rotation(landmarks.region.angle)
        (weights,) = _run(self._expression_network, upright[None, BLENDSHAPE_LANDMARKS])
        return np.append(np.clip(weights.ravel()[1:], 0, 1), 0).astype(np.float32)

    def _once(self, image: NDArray[np.uint8], region: FaceRegion) -> FaceLandmarks:
        crop = crop_region(image, region).astype(np.float32) / 255
        tensors = {t.size: t for t in _run(self._landmark_network, crop[None])[:2]}
        local = tensors[478 * 3].reshape(478, 3)
        affine = region.to_picture()
        xy = local[:, :2] @ affine[:, :2].T + affine[:, 2]
        points = np.column_stack([xy, local[:, 2] * (region.side / CROP)]).astype(np.float32)
        return FaceLandmarks(points, _sigmoid(float(tensors[1].item())), region)

    @cached_property
    def _landmark_network(self) -> Interpreter:
        return self._network("face_landmarks_detector.tflite")

    @cached_property
    def _expression_network(self) -> Interpreter:
        return self._network("face_blendshapes.tflite")

    def _network(self, member: str) -> Interpreter:
        return interpreter(read_member(self._model or fetch("face_landmarker"), member), self._threads)


def crop_region(image: NDArray[np.uint8], region: FaceRegion) -> NDArray[np.uint8]:
    """The region as an upright uint8 [CROP,CROP,3]; beyond the picture its border is repeated."""
    affine = region.to_picture()
    # Averaging down first keeps a large face from aliasing; the warp does the rest, at most 2 to 1.
    while region.side / CROP > 2 and min(image.shape[:2]) > 1:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        scale = np.array([width / image.shape[1], height / image.shape[0]])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        affine = scale[:, None] * affine
        region = FaceRegion(region.centre, region.side / 2, region.angle)
    # OpenCV counts pixel centres from 0, the affine from 0.5.
    affine[:, 2] += affine[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, affine, (CROP, CROP), flags=flags, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def read_member(bundle: Path, name: str) -> bytes:
    """One file out of a zip bundle, never more than MEMBER_LIMIT bytes of it. AssetError when it is not there."""
    try:
        with zipfile.ZipFile(bundle) as archive, archive.open(name) as member:
            content = member.read(MEMBER_LIMIT + 1)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise AssetError(f"{bundle}: cannot read {name} in this bundle ({error}); fetch the asset again") from error
    if len(content) > MEMBER_LIMIT:
        raise AssetError(f"{bundle}: {name} unpacks to more than {MEMBER_LIMIT} bytes; fetch the asset again")
    return content


def _run(network: Interpreter, tensor: NDArray[np.floating]) -> list[NDArray[np.float32]]:
    network.set_tensor(network.get_input_details()[0]["index"], np.ascontiguousarray(tensor, np.float32))
    network.invoke()
    return [network.get_tensor(output["index"]) for output in network.get_output_details()]


def _roll(eye_line: NDArray[np.floating], down: NDArray[np.floating]) -> float:
    """Angle of the face's x axis. The eye line shrinks in profile and the midline in pitch, so both count."""
    x = eye_line + np.array([down[1], -down[0]])
    return float(np.arctan2(x[1], x[0]))


def _rotation(angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))
