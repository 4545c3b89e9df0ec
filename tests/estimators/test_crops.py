"""The crops of DECA, SMIRK and MICA by their published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import SimilarityTransform, estimate_transform, warp

from gen3dface.errors import EstimationError
from gen3dface.estimators.crops import BROWS, JAW, arcface_crop, deca_crop, smirk_crop

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
IRISES_NOSE_MOUTH = [468, 473, 1, 61, 291]


def landmarks() -> np.ndarray:
    """All at (200, 300), but for a jaw and brows in 120..280 x 240..400 and a forehead at 180."""
    points = np.full((478, 3), [200, 300, 0], np.float32)
    points[234, :2], points[454, :2] = (120, 300), (280, 310)  # ears
    points[152, :2], points[105, :2] = (205, 400), (180, 240)  # chin, right brow
    points[10, :2] = (200, 180)  # the forehead, which 68 landmarks do not have
    return points


def test_deca_square_worked_out_by_hand() -> None:
    """Box 160 x 160, mean side 160, x 1.1 x 1.25 = 220 px around (200, 320): 90..310 x 210..430."""
    crop = deca_crop(landmarks())
    assert crop.side == 224
    corners = crop.in_photo(np.array([[0.0, 0.0], [223.0, 223.0]]))
    assert np.allclose(corners, [[90, 210], [310, 430]])
    assert crop.scale == pytest.approx(223 / 220)


def test_smirk_square_worked_out_by_hand() -> None:
    """Box 160 x 220, mean side 190, x 1.4 = 266 px around (200, 290): 67..333 x 157..423."""
    corners = smirk_crop(landmarks()).in_photo(np.array([[0.0, 0.0], [223.0, 223.0]]))
    assert np.allclose(corners, [[67, 157], [333, 423]])


def test_sides_are_whole_pixels() -> None:
    points = landmarks()
    points[454, 0] = 281.5  # mean side 160.75, x 1.375 = 221.03: 221
    assert deca_crop(points).scale == pytest.approx(223 / 221)


def test_outline_has_the_parts_of_the_68_landmarks() -> None:
    assert {234, 454, 152} <= set(JAW) and len(set(BROWS)) == 10
    assert not {10, 468, 1, 61} & {*JAW, *BROWS}  # neither forehead nor iris, nose, mouth


@pytest.mark.parametrize("make", [deca_crop, smirk_crop])
def test_pixels_are_those_of_the_originals_warp(make: type) -> None:
    """The projects call scikit-image's `estimate_transform` and `warp`; the square reaches out of this picture."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (390, 300, 3), dtype=np.uint8)
    points = landmarks()
    box = points[[*JAW, *BROWS], :2] if make is deca_crop else points[:, :2]
    scale = 1.1 * 1.25 if make is deca_crop else 1.4
    low, high = box.min(0).astype(float), box.max(0).astype(float)
    size, centre = int((high - low).sum() / 2 * scale), (low + high) / 2
    corners = centre + np.array([[-size / 2, -size / 2], [-size / 2, size / 2], [size / 2, -size / 2]])
    transform = estimate_transform("similarity", corners, np.array([[0, 0], [0, 223], [223, 0]]))
    expected = warp(image, transform.inverse, output_shape=(224, 224), preserve_range=True)
    made = make(points).cut(image).permute(1, 2, 0).numpy()
    assert np.abs(made - expected).max() < 0.01 and (made == 0).all(-1).any()


def test_arcface_puts_eyes_nose_and_mouth_in_their_places() -> None:
    """A face that is the standard one, turned, scaled and shifted."""
    placed = SimilarityTransform(scale=2.5, rotation=0.4, translation=(300, 120))
    points = np.zeros((478, 3), np.float32)
    points[IRISES_NOSE_MOUTH, :2] = placed(ARCFACE)
    crop = arcface_crop(points)
    assert crop.side == 112 and crop.scale == pytest.approx(1 / 2.5, rel=1e-5)
    assert np.abs(crop.in_photo(ARCFACE) - placed(ARCFACE)).max() < 1e-3


def test_arcface_fits_other_faces_in_least_squares() -> None:
    """The same transform as scikit-image's, which InsightFace uses; never a mirror image."""
    rng = np.random.default_rng(1)
    points = np.zeros((478, 3), np.float32)
    points[IRISES_NOSE_MOUTH, :2] = ARCFACE * 3 + rng.normal(0, 8, (5, 2))
    expected = estimate_transform("similarity", points[IRISES_NOSE_MOUTH, :2].astype(float), ARCFACE).params
    crop = arcface_crop(points)
    assert np.allclose(crop.linear, expected[:2, :2], atol=1e-6) and np.allclose(
        crop.offset, expected[:2, 2], atol=1e-4
    )
    points[:, 0] *= -1
    assert np.linalg.det(arcface_crop(points).linear) > 0


@pytest.mark.parametrize("make", [deca_crop, smirk_crop, arcface_crop])
@pytest.mark.parametrize("value", [5.0, np.nan])
def test_landmarks_on_one_spot_are_refused(make: type, value: float) -> None:
    with pytest.raises(EstimationError, match="spot"):
        make(np.full((478, 3), value, np.float32))
