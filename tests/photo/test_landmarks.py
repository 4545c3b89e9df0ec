"""Landmarks and expression weights against genuine MediaPipe, and against themselves under rotation."""

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from gen3dface.errors import AssetError
from gen3dface.photo import BLENDSHAPE_NAMES, find_faces
from gen3dface.photo.landmarks import (
    BLENDSHAPE_LANDMARKS,
    CROP,
    FaceLandmarker,
    FaceLandmarks,
    FaceRegion,
    crop_region,
    read_member,
)

REFERENCE = json.loads((Path(__file__).parent / "data" / "astronaut_mediapipe.json").read_text())
POINTS = np.array(REFERENCE["landmarks"], np.float32)
IOD = float(np.linalg.norm(POINTS[33, :2] - POINTS[263, :2]))


def test_names_are_arkits_in_mediapipes_order():
    theirs = list(REFERENCE["blendshapes"])
    assert list(BLENDSHAPE_NAMES) == [*theirs[1:], "tongueOut"]
    assert len(BLENDSHAPE_LANDMARKS) == 146 and (np.diff(BLENDSHAPE_LANDMARKS) > 0).all()


def test_landmarks_agree_with_mediapipe(portrait):
    # MediaPipe's own crop is half a pixel of the crop off; the rest is the networks' response to it.
    error = np.linalg.norm((portrait.landmarks - POINTS)[:, :2], axis=1)
    assert error.mean() < 0.012 * IOD and error.max() < 0.04 * IOD
    depth = (portrait.landmarks - POINTS)[:, 2]
    assert np.abs(depth).mean() < 0.02 * IOD


def test_expression_agrees_with_mediapipe(portrait):
    theirs = np.array([REFERENCE["blendshapes"].get(name, 0.0) for name in BLENDSHAPE_NAMES])
    assert np.abs(portrait.blendshapes - theirs).mean() < 0.02
    assert np.abs(portrait.blendshapes - theirs).max() < 0.12
    assert portrait.blendshapes[BLENDSHAPE_NAMES.index("mouthSmileLeft")] > 0.5


def test_expression_network_equals_mediapipes_on_its_own_landmarks(models):
    level = FaceLandmarks(POINTS, 1.0, FaceRegion((0.0, 0.0), 1.0, 0.0))
    theirs = np.array([REFERENCE["blendshapes"].get(name, 0.0) for name in BLENDSHAPE_NAMES])
    np.testing.assert_allclose(models.landmarker.blendshapes(level), theirs, atol=2e-3)  # landmarks kept to 0.01 px


@pytest.mark.parametrize("degrees", [90, 180, 270, 37, 132, 315])
def test_landmarks_turn_with_the_photo(models, portrait, photo, degrees):
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 0.7)
    ((_, turned),) = find_faces(cv2.warpAffine(photo, turn, (width, height), borderMode=cv2.BORDER_REPLICATE))
    # The matrix maps pixel indices; landmarks count pixel centres from 0.5.
    expected = (portrait.landmarks[:, :2] - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    error = np.linalg.norm(turned.points[:, :2] - expected, axis=1) / (0.7 * IOD)
    assert error.mean() < 0.02
    assert np.abs(models.landmarker.blendshapes(turned) - portrait.blendshapes).mean() < 0.04


def test_a_mirrored_photo_mirrors_the_midline(portrait, photo):
    """The continuous convention: x becomes W - x. A half-pixel slip would show as 0.5 px here."""
    ((_, mirrored),) = find_faces(np.ascontiguousarray(photo[:, ::-1]))
    midline = [10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 164, 0, 11, 12, 13, 14, 17, 200, 152]
    slip = portrait.landmarks[midline, 0] + mirrored.points[midline, 0] - photo.shape[1]
    assert abs(slip.mean()) < 0.5


def test_region_of_known_points():
    points = np.array([[40, 50], [80, 50], [60, 70], [45, 90], [75, 90]], np.float32)
    region = FaceRegion.from_five_points(points, (20, 20, 100, 120))
    assert region.centre == (60, 70) and region.side == 150 and region.angle == pytest.approx(0)
    quarter = np.column_stack([-points[:, 1], points[:, 0]]).astype(np.float32)  # clockwise on screen
    assert FaceRegion.from_five_points(quarter, (-120, 20, -20, 100)).angle == pytest.approx(np.pi / 2)


@pytest.mark.parametrize("side", [64.0, 256.0, 400.0, 1400.0])
def test_crop_shows_what_the_affine_says(side):
    """A linear ramp survives resampling exactly, so each crop pixel must hold its own place in the picture."""
    y, x = np.mgrid[:2000, :2000] + 0.5
    ramp = np.dstack([x / 8, y / 8, x * 0]).round().astype(np.uint8)
    region = FaceRegion((1000.0, 990.0), side, 0.5)
    crop = crop_region(ramp, region)
    u = np.mgrid[:CROP, :CROP].transpose(1, 2, 0)[..., ::-1] + 0.5
    affine = region.to_picture()
    place = u @ affine[:, :2].T + affine[:, 2]
    assert np.abs(crop[..., :2] * 8.0 - place).mean() < 3.5  # rounding to 8 px steps costs 2 on average
    assert np.abs((crop[..., :2] * 8.0 - place).mean((0, 1))).max() < 0.5


def test_a_damaged_bundle_is_an_asset_error(tmp_path, monkeypatch):
    bundle = tmp_path / "face_landmarker.task"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.tflite", bytes(1 << 20))
    with pytest.raises(AssetError, match=r"missing\.tflite"):
        read_member(bundle, "missing.tflite")
    monkeypatch.setattr("gen3dface.photo.landmarks.MEMBER_LIMIT", 1000)
    with pytest.raises(AssetError, match="more than 1000"):
        read_member(bundle, "bomb.tflite")
    bundle.write_bytes(b"no zip")
    with pytest.raises(AssetError, match="cannot read"):
        FaceLandmarker(bundle)(np.zeros((9, 9, 3), np.uint8), FaceRegion((4, 4), 4, 0))
