"""Which of several faces is meant, on pictures of two people."""

import numpy as np
import pytest
import torch

from gen3dface.errors import NoFaceError
from gen3dface.evaluation.faces import face_at, largest_face, surest_face
from gen3dface.evaluation.identity import IdentityEmbedder
from gen3dface.photo.detect import UPRIGHT, DetectedFace, FaceDetector, overlap
from tests.evaluation.faces import face_bytes


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def two_faces() -> np.ndarray:
    """Sunak, 200 px a side, on the left; Obama, 100 px, on the right; 300 px of white between."""
    picture = np.full((256, 640, 3), 255, np.uint8)
    picture[28:228, 20:220], picture[78:178, 520:620] = face_bytes("sunak", 200), face_bytes("obama", 100)
    return picture


def test_the_face_at_a_place_is_not_the_largest(detector: FaceDetector) -> None:
    picture = two_faces()
    left, right = largest_face(detector, picture), detector(picture)[-1]
    assert left.box[2] < 220 and right.box[0] > 520
    near = DetectedFace((right.box[0] + 4, right.box[1], right.box[2] + 4, right.box[3]), right.points + 4, 0.7)
    assert face_at(detector, picture, near).box == right.box
    empty = DetectedFace((330, 100, 400, 190), right.points - 200, 0.7)
    assert face_at(detector, picture, empty) is empty


def test_the_surest_face_of_a_view(detector: FaceDetector) -> None:
    """A face that is blurred away by half is larger here, and less sure."""
    picture = two_faces()
    rows = torch.from_numpy(picture[:, :320]).permute(2, 0, 1)[None].float()
    coarse = torch.nn.functional.interpolate(rows, scale_factor=1 / 14, mode="area")
    picture[:, :320] = torch.nn.functional.interpolate(coarse, (256, 320), mode="bilinear")[0].permute(1, 2, 0).byte()
    assert largest_face(detector, picture).box[2] < 230
    best = surest_face(detector, picture)
    assert best is not None and best.box[0] > 520
    white = np.full((128, 128, 3), 255, np.uint8)
    assert surest_face(detector, white) is None
    with pytest.raises(NoFaceError):
        largest_face(detector, white)


def test_heads_of_views_are_upright_and_photos_need_not_be(detector: FaceDetector) -> None:
    lying = np.ascontiguousarray(np.rot90(face_bytes("obama", 200)))
    upright = FaceDetector(turns=UPRIGHT)
    assert len(detector(lying)) == 1 and not upright(lying)
    assert overlap(upright(two_faces())[0].box, detector(two_faces())[0].box) > 0.9


def test_a_recogniser_looks_at_the_face_that_it_is_given(detector: FaceDetector) -> None:
    embed, picture = IdentityEmbedder(), two_faces()
    obama = embed(face_bytes("obama", 200))
    assert embed(picture, detector(picture)[-1]) @ obama > 0.6 > 0.363 > embed(picture) @ obama


def test_overlap_of_boxes() -> None:
    assert overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert overlap((0, 0, 1, 1), (2, 0, 3, 1)) == 0
