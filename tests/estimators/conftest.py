"""The bundled head and its landmarks, which most tests of estimators fit."""

import pytest

from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.heads import HeadModel, load_head_model


@pytest.fixture(scope="session")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="session")
def landmarks(model: HeadModel) -> LandmarkModel:
    return LandmarkModel.from_head(model)
