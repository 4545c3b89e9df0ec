"""Which views count for identity."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gen3dface.cameras import rig
from gen3dface.estimators import estimate
from gen3dface.evaluation.cases import Case
from gen3dface.evaluation.comparison import Compared
from gen3dface.evaluation.identity import SAME_PERSON
from gen3dface.evaluation.protocol import EvalConfig
from gen3dface.evaluation.scores import Judge
from gen3dface.examples import example_photo
from gen3dface.photo import load_portrait
from gen3dface.pipelines.output import MultiViewOutput
from tests.evaluation.faces import blurred, faces
from tests.pipelines.needs import need_assets

PROTOCOL = {"systems": [{"kind": "truth"}], "sets": [{"kind": "rendered", "heads": 1}], "measures": ["identity"]}


@pytest.fixture(scope="module")
def case() -> Case:
    need_assets()
    portrait = load_portrait(example_photo("obama"))
    return Case("obama", portrait, estimate(portrait), rig("head360", 256)[:3])


def identities(case: Case, made: Tensor, truth: Tensor | None) -> np.ndarray:
    masks = torch.ones(len(made), 1, 256, 256)
    pairs = Compared(made, masks, case.cameras.azimuths, truth, None if truth is None else masks)
    judge = Judge(EvalConfig.model_validate(PROTOCOL))
    return judge(case, MultiViewOutput(made, masks, case.cameras, case.head), pairs).views["identity"]


def test_views_count_whose_truth_shows_a_face(case: Case) -> None:
    """Whatever the made view shows: a face or, where the true one has it, something without a face."""
    face, white = faces("obama"), torch.ones(1, 3, 256, 256)
    truth = torch.cat([face, blurred(face, 14), blurred(face, 18)])
    found = identities(case, torch.cat([face, white, face]), truth)
    assert found[0] > 0.8 and found[1] < SAME_PERSON and np.isnan(found[2])


def test_without_truth_views_count_in_which_a_face_is_found(case: Case) -> None:
    face, white = faces("obama"), torch.ones(1, 3, 256, 256)
    found = identities(case, torch.cat([face, white, blurred(face, 18)]), None)
    assert found[0] > 0.8 and np.isnan(found[1:]).all()
