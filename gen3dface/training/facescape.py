"""FaceScape's multi-view photos as training samples, for users who have them (non-commercial licence, on request).

The folder holds `<identity>/<number>_<expression>/<camera>.jpg` with a `params.json` beside the photos, as FaceScape
ships them, and the toolkit's `Rt_scale_dict.json`, which says where the face looks.

Protocol (Morphable Diffusion): 323 identities to train on, 36 to test; expression 6 is held out of training; the input
photo within 40 degrees of the front, 16 targets within 90. The head is estimated from the input photo as in use, and
the calibrated cameras are carried into its frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.errors import DataError, EstimationError, FaceTooSmallError, NoFaceError
from gen3dface.estimators import HeadFit, estimate
from gen3dface.heads import load_head_model
from gen3dface.photo import Portrait, load_portrait
from gen3dface.photo.decode import decode_image
from gen3dface.photo.landmarks import FaceLandmarks, FaceRegion
from gen3dface.photo.portrait import default_models
from gen3dface.pipelines.photo_crop import crop_photo
from gen3dface.training.facescape_cameras import (
    CalibratedPhoto,
    angles,
    carried_over,
    metres_per_unit,
    read_json,
    read_photos,
)

TEST_IDENTITIES = frozenset({122, 212, *range(326, 360)})
TRAIN_IDENTITIES = frozenset(range(1, 326)) - TEST_IDENTITIES
HELD_OUT_EXPRESSION = 6
INPUT_AZIMUTH, TARGET_AZIMUTH, TARGETS = 40.0, 90.0, 16
LICENCE = "FaceScape (non-commercial research)"
_SIDE = 256  # px of the targets
_PARALLAX = (10.0, 45.0)  # degrees between the input photo and the one that tells the scale


@dataclass(frozen=True)
class PhotoTools:
    """What is run on photos; replaceable where the networks are not to be had."""

    portrait: Callable[[NDArray[np.uint8]], Portrait] = load_portrait
    head: Callable[[Portrait, float], HeadFit] = lambda portrait, focal: estimate(portrait, focal=focal)
    matte: Callable[[NDArray[np.uint8], FaceLandmarks], NDArray[np.float32]] = lambda image, face: (
        default_models().matter(image, face)[0]
    )


@dataclass(frozen=True)
class _Capture:
    folder: Path
    identity: int
    expression: int

    @property
    def key(self) -> str:
        return f"facescape-{self.identity:03d}-{self.expression:02d}"


class FaceScape:
    """Samples by number, one a capture.

    Args:
        root: the user's folder. fold: `train` or `test`. size: px of the targets. tools: see `PhotoTools`.

    Raises:
        DataError: the folder does not look like FaceScape's.
    """

    def __init__(
        self,
        root: str | Path,
        fold: Literal["train", "test"] = "train",
        size: int = _SIDE,
        tools: PhotoTools | None = None,
    ) -> None:
        self._size, self._tools = size, tools or PhotoTools()
        self._frames = read_json(Path(root) / "Rt_scale_dict.json")
        self._captures = _captures(Path(root), fold)
        if not self._captures:
            raise DataError(f"{root} holds no <identity>/<number>_<expression>/params.json of the {fold} fold.")
        self.keys = [c.key for c in self._captures]
        self.sizes = [len(self._captures)]
        self.licences = [LICENCE]
        listing = [(c.key, (c.folder / "params.json").stat().st_size) for c in self._captures]
        self.data_hash = hashlib.sha256(repr((fold, size, listing)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._captures)

    def __getitem__(self, index: int) -> TrainingSample:
        """The same sample each time: what is drawn follows from its key."""
        capture = self._captures[index]
        photos = read_photos(capture.folder, *self._frame(capture))
        if len(photos) < 3:
            raise DataError(f"{capture.folder} has {len(photos)} calibrated photos; at least 3 are needed.")
        azimuths, _ = angles(photos)
        random = np.random.default_rng(list(hashlib.sha256(capture.key.encode()).digest()[:8]))
        chosen, portrait, head = self._input(capture, photos, azimuths, random)
        metres = self._metres(photos, azimuths, chosen, portrait, head)
        within = [i for i in range(len(photos)) if abs(azimuths[i]) <= TARGET_AZIMUTH]
        targets = sorted(random.permutation(within)[:TARGETS].tolist())
        poses = {i: carried_over(head.camera.world_to_camera, photos[chosen], photos[i], metres) for i in targets}
        made = [self._target(photos[i], poses[i], head) for i in targets]
        cameras = Cameras(
            torch.cat([c.world_to_camera for _, c in made]),
            torch.cat([c.intrinsics for _, c in made]),
            self._size,
            self._size,
        )
        note = {"generator": "facescape", "licences": self.licences, "input": photos[chosen].path.name}
        return TrainingSample(capture.key, portrait, head, torch.stack([v for v, _ in made]), cameras, note)

    def _frame(self, capture: _Capture) -> tuple[float, NDArray[np.float64]]:
        try:
            scale, matrix = self._frames[str(capture.identity)][str(capture.expression)]
            return float(scale), np.asarray(matrix, np.float64).reshape(-1, 4)[:3]
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"Rt_scale_dict.json says nothing usable of {capture.key}: {error!r}.") from error

    def _input(
        self, capture: _Capture, photos: list[CalibratedPhoto], azimuths: Tensor, random: np.random.Generator
    ) -> tuple[int, Portrait, HeadFit]:
        """The first photo near the front, in a drawn order, in which a head is found."""
        near = [i for i in range(len(photos)) if abs(azimuths[i]) <= INPUT_AZIMUTH]
        for index in random.permutation(near).tolist():
            try:
                portrait = self._portrait(photos[index])
                return index, portrait, self._tools.head(portrait, float(photos[index].intrinsics[0, 0]))
            except (NoFaceError, FaceTooSmallError, EstimationError):
                continue
        raise DataError(f"No head was found in the {len(near)} photos of {capture.folder} near the front.")

    def _portrait(self, photo: CalibratedPhoto) -> Portrait:
        return replace(self._tools.portrait(_undistorted(photo)), source=photo.path.name)

    def _metres(
        self, photos: list[CalibratedPhoto], azimuths: Tensor, chosen: int, portrait: Portrait, head: HeadFit
    ) -> float:
        """A unit's length, by a second photo that sees the face from elsewhere."""
        points = head.camera.to_camera(head.mesh(load_head_model()).landmarks())[0, :, 2].double().numpy()
        apart = (azimuths - azimuths[chosen]).abs()
        low, high = _PARALLAX
        for index in (-apart).argsort().tolist():
            if low <= apart[index] <= high and abs(azimuths[index]) <= INPUT_AZIMUTH:
                try:
                    other = self._portrait(photos[index])
                except (NoFaceError, FaceTooSmallError):
                    continue
                pixels = [p.landmarks[:, :2].astype(np.float64) for p in (portrait, other)]
                return metres_per_unit(points, pixels[0], pixels[1], (photos[chosen], photos[index]))
        raise DataError(f"{photos[chosen].path}: no second photo from nearby shows the face, so its scale is unknown.")

    def _target(self, photo: CalibratedPhoto, pose: Tensor, head: HeadFit) -> tuple[Tensor, Cameras]:
        """The square around the head, uint8 [4, size, size], and its camera."""
        image = _undistorted(photo)
        height, width = image.shape[:2]
        camera = Cameras(pose, torch.from_numpy(photo.intrinsics).float()[None], height, width)
        face = _face(camera, head)
        matte = self._tools.matte(image, face)
        empty = np.zeros((height, width), np.uint8)
        shown = Portrait(image, (0, 0, 1, 1), 1.0, face.points, np.zeros(52, np.float32), matte, empty)
        crop = crop_photo(shown, camera, self._size)
        return (torch.cat([crop.image, crop.alpha]) * 255).round().to(torch.uint8), crop.camera


def _captures(root: Path, fold: str) -> list[_Capture]:
    identities = TRAIN_IDENTITIES if fold == "train" else TEST_IDENTITIES
    found = []
    for path in root.glob("*/*_*/params.json"):
        identity, expression = path.parts[-3], path.parts[-2].split("_")[0]
        if identity.isdecimal() and expression.isdecimal() and int(identity) in identities:
            found.append(_Capture(path.parent, int(identity), int(expression)))
    kept = [c for c in found if fold == "test" or c.expression != HELD_OUT_EXPRESSION]
    return sorted(kept, key=lambda c: c.key)


def _undistorted(photo: CalibratedPhoto) -> NDArray[np.uint8]:
    """The photo as a pinhole camera with the same intrinsics would have taken it."""
    decoded = decode_image(photo.path, 1 << 14)
    # OpenCV counts from a pixel's centre, intrinsics here and in FaceScape from its corner
    matrix = photo.intrinsics.copy()
    matrix[:2, 2] -= 0.5
    return np.asarray(cv2.undistort(decoded.rgb, matrix, photo.distortion), np.uint8)


def _face(camera: Cameras, head: HeadFit) -> FaceLandmarks:
    """Where the estimated face is in a photo: also in those from the side, where no detector finds it."""
    points = head.mesh(load_head_model()).landmarks()
    xy, depth = camera.project(points)
    focal = camera.intrinsics[0, 0, 0]
    z = (depth - depth.nanmean()) * focal / depth.nanmean()
    found = torch.cat([xy[0], z[0, :, None]], 1)
    known = torch.where(found.isnan(), found.nanmean(0), found).numpy().astype(np.float32)
    return FaceLandmarks(known, 1.0, FaceRegion.from_landmarks(known))
