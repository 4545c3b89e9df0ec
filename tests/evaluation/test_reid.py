"""Re-ID on photos of known people, and what counts as a view with a face."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from gen3dface.errors import MissingExtraError
from gen3dface.evaluation.reid import ReID, matches
from gen3dface.training.recogniser import SAME_PERSON
from tests.evaluation.faces import DIFFERENT, SAME, SIZE, blurred, faces


@pytest.fixture(scope="module")
def reid() -> ReID:
    return ReID()


def test_one_person_is_near_and_two_are_far(reid: ReID) -> None:
    same = reid(*(faces(*names) for names in zip(*SAME, strict=True)))
    different = reid(*(faces(*names) for names in zip(*DIFFERENT, strict=True)))
    assert same.max() < 0.55 < SAME_PERSON < 0.65 < different.min()
    assert matches(np.concatenate([same, different])).tolist() == [1, 1, 0, 0, 0, 0]


def test_a_view_is_itself_and_small_views_are_enlarged(reid: ReID) -> None:
    face = faces("obama")
    assert reid(face, face)[0] < 1e-6
    small = faces("obama", side=96)
    assert reid(small, small)[0] < 1e-6
    blurred = torch.nn.functional.interpolate(small, (SIZE, SIZE), mode="bicubic").clamp(0, 1)
    assert 0.01 < reid(blurred, face)[0] < 0.4


def test_a_face_is_looked_for_in_the_truth_alone(reid: ReID) -> None:
    face, white = faces("sunak"), torch.ones(1, 3, SIZE, SIZE)
    found = reid(torch.cat([white, face]), torch.cat([face, white]))
    assert found[0] > SAME_PERSON
    assert np.isnan(found[1])
    assert np.isnan(matches(found)).tolist() == [False, True]


def test_a_face_that_may_be_none_does_not_count(reid: ReID) -> None:
    face = faces("obama")
    sure, unsure = blurred(face, 14), blurred(face, 18)
    assert np.isfinite(reid(torch.cat([face, face]), torch.cat([sure, unsure]))).tolist() == [True, False]


def test_two_faces_in_the_truth_are_none(reid: ReID) -> None:
    pair = torch.cat([faces("sunak", side=128), faces("obama", side=128)], 3)
    pair = torch.nn.functional.pad(pair, (0, 0, 64, 64), value=1.0)
    assert np.isnan(reid(pair, pair)).all()
    with pytest.raises(ValueError, match="in pairs"):
        reid(pair, pair[:0])


def test_dlib_says_the_same_where_it_is_installed(reid: ReID) -> None:
    pytest.importorskip("dlib")
    pytest.importorskip("face_recognition_models")
    made, truth = (faces(*names) for names in zip(*SAME, *DIFFERENT, strict=True))
    theirs, ours = ReID("dlib")(made, truth), reid(made, truth)
    assert matches(theirs).tolist() == matches(ours).tolist() == [1, 1, 0, 0, 0, 0]
    assert np.abs(theirs - ours).max() < 0.12


def test_a_missing_dlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingExtraError, match="pip install dlib-bin"):
        ReID("dlib")
