"""Faces cut out by five points."""

import numpy as np
import pytest

from gen3dface.evaluation.face_chip import face_chip, flat_similarity

PLACES = np.array([[30.0, 30.0], [70.0, 30.0], [50.0, 50.0], [35.0, 70.0], [65.0, 70.0]])


def test_a_similarity_is_found_and_fits_best() -> None:
    random = np.random.default_rng(0)
    points, angle = random.normal(size=(5, 2)), 0.7
    turn = 1.8 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = flat_similarity(points, points @ turn.T + [3, -4])
    assert np.allclose(found, np.column_stack([turn, [3, -4]]))
    noisy = points @ turn.T + random.normal(size=(5, 2))
    a, b, c, d = (lambda m: (m[0, 0], m[1, 0], m[0, 2], m[1, 2]))(flat_similarity(points, noisy))
    # the same as linear least squares in (a, b, c, d) of x' = a x - b y + c, y' = b x + a y + d
    x, y = points.T
    zero, one = np.zeros(5), np.ones(5)
    rows = np.vstack([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    assert np.allclose((a, b, c, d), np.linalg.lstsq(rows, noisy.T.ravel(), rcond=None)[0])


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.7, 9.0])
def test_points_come_to_their_places(scale: float) -> None:
    """A disc at the first point of a picture `scale` as large as the chip, at an odd size."""
    side = round(100 * scale) + 1
    rows, columns = np.mgrid[:side, :side] + 0.5
    points = PLACES * scale
    disc = (np.hypot(columns - points[0, 0], rows - points[0, 1]) < 6 * scale) * np.uint8(255)
    chip = face_chip(np.repeat(disc[..., None], 3, 2), points.astype(np.float32), PLACES, 100)
    assert chip.shape == (100, 100, 3)
    rows, columns = np.mgrid[:100, :100] + 0.5
    weight = chip[..., 0].astype(float)
    centre = [(weight * grid).sum() / weight.sum() for grid in (columns, rows)]
    assert centre == pytest.approx([30, 30], abs=0.2)
    assert weight.sum() / 255 == pytest.approx(disc.sum() / 255 / scale**2, rel=0.05)


def test_a_large_picture_is_averaged_and_not_picked_from() -> None:
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    chip = face_chip(stripes, PLACES * 8, PLACES, 100)
    assert np.abs(chip[5:-5, 5:-5].astype(int) - 128).max() <= 2
