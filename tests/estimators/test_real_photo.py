"""The whole estimator on scikit-image's astronaut: a smiling face, seen almost from the front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from gen3dface.errors import EstimationError
from gen3dface.estimators.default import estimate_bald, population_prior
from gen3dface.estimators.together import estimate_bald_together
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo import Portrait, load_portrait


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return load_portrait(astronaut())


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def test_it_fits_the_astronaut(portrait: Portrait, model: HeadModel) -> None:
    fit = estimate_bald(portrait, model)
    weights = dict(zip(model.expression_names, fit.expression.tolist(), strict=True))
    assert fit.median_residual < 0.015
    assert fit.confidence > 0.9
    assert min(weights["mouthSmileLeft"], weights["mouthSmileRight"]) > 0.4
    assert max(weights["eyeBlinkLeft"], weights["eyeBlinkRight"]) < 0.3
    standardised = population_prior(model).standardise(fit.identity.numpy().astype(np.float64))
    assert np.sqrt((standardised**2).mean()) < 0.8  # nobody is a caricature
    assert np.abs(standardised).max() < 3
    assert fit.camera.azimuths.abs().item() < 10
    assert 0.5 < fit.camera.centers.norm().item() < 4
    assert (fit.visibility[model.regions["face"]] > 0).float().mean() > 0.5
    assert (fit.visibility[model.regions["tongue"]] > 0).float().mean() < 0.2  # behind the teeth


def test_a_picture_turned_on_its_side_gives_the_same_head(portrait: Portrait, model: HeadModel) -> None:
    turned = load_portrait(np.ascontiguousarray(np.rot90(astronaut())))
    one, two = estimate_bald(portrait, model), estimate_bald(turned, model)
    apart = (one.neutral_mesh(model).vertices - two.neutral_mesh(model).vertices)[model.regions["face"]]
    assert 1000 * apart.norm(dim=-1).mean() < 1.5
    assert two.median_residual < 0.02


def test_a_photo_and_itself_turned_are_one_person(portrait: Portrait, model: HeadModel) -> None:
    turned = load_portrait(np.ascontiguousarray(np.rot90(astronaut())))
    one, two = estimate_bald_together([portrait, turned], model)
    assert torch.equal(one.identity, two.identity)
    assert max(one.median_residual, two.median_residual) < 0.02
    alone = estimate_bald(portrait, model).uncertainty
    assert alone is not None and one.uncertainty is not None
    assert (one.uncertainty.identity <= alone.identity + 1e-4).all()
    assert 0.5 < alone.rotation.max() < 15


def test_no_photo_is_no_person(model: HeadModel) -> None:
    with pytest.raises(EstimationError, match="one photo or more"):
        estimate_bald_together([], model)


def test_a_known_focal_length_is_kept(portrait: Portrait, model: HeadModel) -> None:
    fit = estimate_bald(portrait, model, focal=2500.0)
    from_exif = estimate_bald(replace(portrait, focal=2500.0), model)
    assert torch.equal(from_exif.camera.intrinsics, fit.camera.intrinsics)
    assert fit.camera.intrinsics[0, 0, 0].item() == pytest.approx(2500, rel=0.05)


def test_scrambled_landmarks_are_refused(portrait: Portrait, model: HeadModel) -> None:
    scrambled = np.random.default_rng(0).permutation(portrait.landmarks)
    with pytest.raises(EstimationError):
        estimate_bald(replace(portrait, landmarks=scrambled), model)
