"""A photo made ready: pixels, the chosen face, its landmarks and expression, the person's matte and parts."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import FaceChoiceError, FaceTooSmallError, NoFaceError
from gen3dface.photo.decode import WORKING_SIDE, ImageSource, decode_image
from gen3dface.photo.detect import DetectedFace, FaceDetector
from gen3dface.photo.landmarks import (
    FIVE_POINTS,
    LEFT_EYE_OUTER,
    RIGHT_EYE_OUTER,
    FaceLandmarker,
    FaceLandmarks,
    FaceRegion,
)
from gen3dface.photo.matte import PersonMatter

logger = logging.getLogger(__name__)

FACE_MIN = 64  # px, longer side of the face's box
FACE_WANTED = 512  # px, for which a large picture is reduced less than to WORKING_SIDE
LARGEST_SIDE = 6144  # px, the least that such a picture is reduced to
HEAD_SCORE = 0.8  # of the detector, above which there is a head even where its face is turned away
SHIFT_MAX = 0.12  # face sizes, mean over the five points, by which landmarks and detector may differ
YAW_MAX = 55.0  # degrees, above which a warning is due: the landmark network was made for less
PRESENCE_MIN = 0.5  # of the landmark network, below which a box holds no usable face


@dataclass(frozen=True)
class Portrait:
    """Everything later stages need of a photo; pixel coordinates are continuous, pixel centres at +0.5.

    Args:
        image: uint8 [H,W,3] sRGB, upright, over white where the file was transparent.
        box: (x0, y0, x1, y1) px of the face.
        score: the detector's, 0..1.
        landmarks: float32 [478,3]: x, y px; z px, smaller nearer the camera (MediaPipe's convention).
        blendshapes: float32 [52] in 0..1, in the order of BLENDSHAPE_NAMES.
        matte: float32 [H,W] in 0..1: how much of each pixel is the person (head, hair, neck, shoulders).
        parts: uint8 [H,W]: 0 background, 1 hair, 2 body skin, 3 face skin, 4 clothes, 5 other.
        source: the photo's name, for messages. warnings: what a user should know about the way here.
        focal: focal length in px of this image, where the camera noted it.
    """

    image: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    score: float
    landmarks: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    matte: NDArray[np.float32]
    parts: NDArray[np.uint8]
    source: str = "image"
    warnings: list[str] = field(default_factory=list)
    focal: float | None = None

    @property
    def height(self) -> int:
        return self.image.shape[0]

    @property
    def width(self) -> int:
        return self.image.shape[1]

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all. Raises OutputError."""
        from gen3dface.photo.store import save_portrait

        save_portrait(self, path)

    @staticmethod
    def load(path: str | PathLike[str]) -> Portrait:
        """Read what `save` wrote. Raises PortraitError when it is anything else."""
        from gen3dface.photo.store import load_saved_portrait

        return load_saved_portrait(path)


@dataclass(frozen=True)
class PhotoModels:
    """The networks that load_portrait uses; each is read on first use."""

    detector: FaceDetector
    landmarker: FaceLandmarker
    matter: PersonMatter
    lock: threading.Lock = field(default_factory=threading.Lock)  # the networks serve one call at a time


@lru_cache(maxsize=1)
def default_models() -> PhotoModels:
    """The bundled choice, kept for the life of the process."""
    return PhotoModels(FaceDetector(), FaceLandmarker(), PersonMatter())


def load_portrait(
    source: ImageSource,
    face: int | None = None,
    *,
    max_side: int | None = None,
    models: PhotoModels | None = None,
) -> Portrait:
    """Decode a photo and find its person: the largest face, or the one numbered `face` (0 is the largest).

    max_side: longer side, px, to which a larger picture is reduced; by default WORKING_SIDE, and more where the face
    is a small part of a large picture. Raises ImageDecodeError, NoFaceError, FaceTooSmallError or FaceChoiceError.
    """
    models = models or default_models()
    with models.lock:
        return _load(source, face, max_side, models)


def _load(source: ImageSource, face: int | None, max_side: int | None, models: PhotoModels) -> Portrait:
    decoded = decode_image(source, max_side or WORKING_SIDE)
    faces = _find_faces(decoded.rgb, decoded.source, models)
    size = faces[_choose(faces, decoded.source, face, [])][0].size
    if max_side is None and decoded.scale < 1 and size < FACE_WANTED:
        decoded = decode_image(source, min(LARGEST_SIDE, round(WORKING_SIDE * FACE_WANTED / size)))
        faces = _find_faces(decoded.rgb, decoded.source, models)
    notes = list(decoded.warnings)
    chosen, landmarks = faces.pop(_choose(faces, decoded.source, face, notes))
    _require_size(chosen.size, decoded.source)
    matte, parts = models.matter(decoded.rgb, landmarks, [other for _, other in faces])
    if decoded.alpha is not None:
        matte = np.minimum(matte, decoded.alpha)
    yaw = _turned_away(landmarks)
    if yaw > YAW_MAX:
        notes.append(f"the face is turned {yaw:.0f} degrees from the camera: its landmarks are uncertain")
    for note in notes:
        logger.warning("%s: %s", decoded.source, note)
    return Portrait(
        decoded.rgb, chosen.box, chosen.score, landmarks.points, models.landmarker.blendshapes(landmarks),
        matte, parts, decoded.source, notes, decoded.focal,
    )  # fmt: skip


def find_faces(
    image: NDArray[np.uint8], name: str = "image", models: PhotoModels | None = None
) -> list[tuple[DetectedFace, FaceLandmarks]]:
    """What both networks take for a face in image uint8 [H,W,3] sRGB, largest first.

    name: of the photo, for the message. Raises NoFaceError.
    """
    models = models or default_models()
    with models.lock:
        return _find_faces(image, name, models)


def _find_faces(image: NDArray[np.uint8], name: str, models: PhotoModels) -> list[tuple[DetectedFace, FaceLandmarks]]:
    found = models.detector(image)
    faces = []
    for box in found:
        landmarks = models.landmarker(image, FaceRegion.from_five_points(box.points, box.box))
        if landmarks.presence >= PRESENCE_MIN and _agree(box, landmarks):
            faces.append((box, landmarks))
    if not faces:
        raise NoFaceError(f"{name}: {_why_no_face(found)}")
    return faces


def _agree(box: DetectedFace, landmarks: FaceLandmarks) -> bool:
    """Do the landmarks lie where the detector saw eyes, nose and mouth? On a head turned away they wander off."""
    shift = landmarks.points[list(FIVE_POINTS), :2] - box.points
    return float(np.linalg.norm(shift, axis=1).mean()) < SHIFT_MAX * box.size


def _choose(faces: list[tuple[DetectedFace, FaceLandmarks]], name: str, index: int | None, notes: list[str]) -> int:
    """The number of the face to use. Raises FaceChoiceError."""
    if index is None and len(faces) > 1:
        notes.append(f"{len(faces)} faces were found; the largest is used. {_listing(faces)}")
    if index is not None and not 0 <= index < len(faces):
        raise FaceChoiceError(f"{name}: there is no face {index}; found were {_listing(faces)}")
    return index or 0


def _require_size(size: float, name: str) -> None:
    if size < FACE_MIN:
        raise FaceTooSmallError(
            f"{name}: the face is {size:.0f} px large, at least {FACE_MIN} are needed; "
            "give a photo from nearer or with more pixels"
        )


def _turned_away(landmarks: FaceLandmarks) -> float:
    """Degrees of yaw by which the face is turned from the camera, from its eye line."""
    line = landmarks.points[LEFT_EYE_OUTER] - landmarks.points[RIGHT_EYE_OUTER]
    return float(np.degrees(np.arctan2(abs(line[2]), np.hypot(line[0], line[1]))))


def _why_no_face(found: list[DetectedFace]) -> str:
    if any(box.score > HEAD_SCORE for box in found):
        return "a head was found but not enough of its face is seen; give a photo in which both eyes are visible"
    return "no face was found; give a photo in which the face is seen from the front, well lit and not covered"


def _listing(faces: list[tuple[DetectedFace, FaceLandmarks]]) -> str:
    places = []
    for number, (face, _) in enumerate(faces):
        x0, y0, x1, y1 = face.box
        places.append(f"face {number} at ({(x0 + x1) / 2:.0f}, {(y0 + y1) / 2:.0f}), {face.size:.0f} px")
    return "; ".join(places)
