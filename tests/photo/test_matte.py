"""The matte and the parts against known places of a known photo."""

import numpy as np
import pytest

from gen3dface.photo import load_portrait
from gen3dface.photo.guided import guided_upsample
from gen3dface.photo.parts import BACKGROUND, BODY_SKIN, CLOTHES, FACE_SKIN, HAIR

# (x, y) read off scikit-image's astronaut.
PLACES = {
    "forehead": (222, 85),
    "left cheek": (245, 130),
    "hair above": (225, 25),
    "hair at the side": (172, 80),
    "suit": (230, 300),
}
BEHIND = {"flag": (20, 150), "wall, left": (110, 100), "wall, right": (330, 60), "shuttle": (470, 150)}


def test_shapes_and_ranges(portrait):
    assert portrait.matte.shape == portrait.parts.shape == portrait.image.shape[:2]
    assert portrait.matte.dtype == np.float32 and portrait.parts.dtype == np.uint8
    assert portrait.matte.min() >= 0 and portrait.matte.max() <= 1 and portrait.parts.max() <= 5


@pytest.mark.parametrize("place", PLACES)
def test_the_person_is_in(portrait, place):
    x, y = PLACES[place]
    assert portrait.matte[y - 2 : y + 3, x - 2 : x + 3].min() > 0.95


@pytest.mark.parametrize("place", BEHIND)
def test_what_is_behind_is_out(portrait, place):
    x, y = BEHIND[place]
    assert portrait.matte[y - 2 : y + 3, x - 2 : x + 3].max() < 0.02


def test_parts(portrait):
    def at(place: tuple[int, int]) -> int:
        return int(portrait.parts[place[1], place[0]])

    assert at(PLACES["forehead"]) == at(PLACES["left cheek"]) == FACE_SKIN
    assert at(PLACES["hair above"]) == at(PLACES["hair at the side"]) == HAIR
    assert at((100, 290)) == CLOTHES and at((225, 172)) in (FACE_SKIN, BODY_SKIN)
    assert np.array_equal(portrait.parts == BACKGROUND, portrait.matte < 0.5)


def test_all_landmarks_lie_on_the_person(portrait):
    x, y = (portrait.landmarks[:, :2] - 0.5).round().astype(int).T
    assert portrait.matte[y, x].min() > 0.5


def test_the_matte_is_one_piece(portrait):
    from scipy.ndimage import label

    pieces, count = label(portrait.matte > 0.5)
    assert np.bincount(pieces.ravel())[1:].max() > 0.999 * (pieces > 0).sum() and count < 5


def test_another_person_is_left_out(models, photo):
    canvas = np.full((512, 760, 3), 160, np.uint8)
    canvas[:, :380], canvas[:, 380:] = photo[:, 40:420], photo[:, 40:420]
    chosen = load_portrait(canvas, face=0)
    own_left = chosen.box[0] < 380
    other = slice(480, 640) if own_left else slice(100, 260)  # the other's head
    assert chosen.matte[20:200, other].max() < 0.02
    assert chosen.matte[100, round((chosen.box[0] + chosen.box[2]) / 2)] > 0.95


def test_the_matte_turns_with_the_photo(models, portrait, photo):
    for turns in (1, 2):
        turned = load_portrait(np.ascontiguousarray(np.rot90(photo, turns)))
        back = np.rot90(turned.matte, -turns)
        assert np.abs(back - portrait.matte).mean() < 0.01


def test_transparency_of_the_file_bounds_the_matte(models, photo):
    rgba = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    rgba[300:, :, 3] = 0
    cut = load_portrait(rgba)
    assert cut.matte[300:].max() == 0 and cut.matte[100, 222] > 0.95
    assert (cut.image[300:] == 255).all()


def test_guided_upsampling_follows_the_edge_of_the_picture():
    """A slanted edge: the true coverage is known, and its reduced copy must come back sharp."""
    y, x = np.mgrid[:256, :256] + 0.5
    coverage = np.clip(0.5 - (x - 100 - 0.3 * y), 0, 1).astype(np.float32)
    picture = (coverage[..., None] * [200, 60, 40] + (1 - coverage[..., None]) * [30, 90, 160]).astype(np.uint8)
    small = coverage.reshape(64, 4, 64, 4).mean((1, 3))
    error = np.abs(guided_upsample(small, picture) - coverage)
    plain = np.abs(np.repeat(np.repeat(small, 4, 0), 4, 1) - coverage)
    edge = plain > 0.05
    assert error[edge].mean() < 0.05 < plain[edge].mean() / 3
