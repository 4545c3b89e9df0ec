"""Which faces are found, chosen and refused."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage import data

from gen3dface.errors import FaceChoiceError, FaceTooSmallError, NoFaceError
from gen3dface.photo import find_faces, load_portrait


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


@pytest.fixture(scope="session")
def couple(photo: np.ndarray) -> np.ndarray:
    """The same person twice: large on the right, smaller on the left."""
    canvas = np.full((512, 900, 3), 160, np.uint8)
    canvas[100:484, :384] = resized(photo, 0.75)
    canvas[:, 388:] = photo
    return canvas


def test_the_box_holds_the_face(portrait):
    x0, y0, x1, y1 = portrait.box
    assert 175 < x0 < 190 and 55 < y0 < 75 and 260 < x1 < 280 and 165 < y1 < 185  # read off the picture
    inside = (portrait.landmarks[:, 0] > x0 - 10) & (portrait.landmarks[:, 0] < x1 + 10)
    assert inside.all() and portrait.score > 0.9


def test_of_several_faces_the_largest_with_a_warning(models, couple):
    chosen = load_portrait(couple)
    assert chosen.box[0] > 500
    assert "2 faces were found; the largest is used" in chosen.warnings[0]


def test_a_face_by_its_number(models, couple):
    chosen = load_portrait(couple, face=1)
    assert chosen.box[2] < 384 and not chosen.warnings
    with pytest.raises(FaceChoiceError, match=r"no face 2.*face 0 at .*face 1 at"):
        load_portrait(couple, face=2)
    with pytest.raises(FaceChoiceError, match="no face -1"):
        load_portrait(couple, face=-1)


def test_a_face_that_fills_the_frame(models, photo, portrait):
    x0, y0, x1, y1 = (round(edge) for edge in portrait.box)
    ((_, close),) = find_faces(resized(photo[y0:y1, x0:x1], 8))
    shifted = (portrait.landmarks[:, :2] - [x0, y0]) * [8, 8]
    error = np.linalg.norm(close.points[:, :2] - shifted, axis=1) / 8
    assert error.mean() < 3  # px of the original, in a 110 px face without its surroundings


def test_a_small_face_in_a_large_picture(models, photo):
    canvas = np.full((2000, 2000, 3), 120, np.uint8)
    canvas[300:812, 900:1412] = photo
    ((face, _),) = find_faces(canvas)
    x0, y0, x1, y1 = face.box
    assert 1070 < x0 < x1 < 1180 and 355 < y0 < y1 < 485


def test_a_small_face_in_a_very_large_picture_keeps_its_pixels(models, photo):
    canvas = np.full((2500, 4000, 3), 120, np.uint8)
    canvas[300:812, 2900:3412] = photo
    large = load_portrait(canvas)
    assert large.image.shape == canvas.shape and large.box[2] - large.box[0] > 80
    with pytest.raises(FaceTooSmallError):
        load_portrait(canvas, max_side=2000)


def test_calls_from_several_threads_give_the_same(models, photo, portrait):
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(load_portrait, [photo] * 2):
            assert np.array_equal(result.landmarks, portrait.landmarks)


def test_finding_faces_holds_the_networks_lock(models, photo):
    held = []

    def detector(image):
        held.append(models.lock.locked())
        return models.detector(image)

    find_faces(photo, models=replace(models, detector=detector))
    assert held == [True] and not models.lock.locked()


def test_the_networks_are_made_in_silence(models, photo):
    """Their C++ code would write to the file descriptor itself."""
    code = "import numpy, sys; from gen3dface.photo import find_faces; "
    code += "from skimage.data import astronaut; find_faces(astronaut()); sys.stderr.write('still heard')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "still heard"


def test_a_face_below_64_px_is_refused_with_its_size(models, photo):
    with pytest.raises(FaceTooSmallError, match=r"face is (4\d|5\d) px large, at least 64"):
        load_portrait(resized(photo, 0.45))


@pytest.mark.parametrize("name", ["cat", "coffee", "rocket", "coins", "moon", "brick", "page"])
def test_pictures_without_a_human_face(models, name):
    with pytest.raises(NoFaceError, match="no face was found; give"):
        load_portrait(getattr(data, name)())


def test_noise_and_flat_pictures(models):
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    for picture in (noise, np.zeros((300, 300, 3), np.uint8), np.zeros((1, 9000, 3), np.uint8)):
        with pytest.raises(NoFaceError):
            load_portrait(picture)
