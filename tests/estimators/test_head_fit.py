"""HeadFit: packaging, visibility, confidence, saving."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gen3dface.cameras import orbit
from gen3dface.errors import CameraError, EstimationError, HeadModelError, OutputError
from gen3dface.estimators import HeadFit
from gen3dface.estimators.confidence import confidence
from gen3dface.estimators.default import head_fit
from gen3dface.estimators.hanging_hair import HangingHair
from gen3dface.estimators.landmark_fit import fit_landmarks
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.priors import LensPrior
from gen3dface.estimators.uncertainty import Uncertainty
from gen3dface.estimators.visibility import vertex_visibility
from gen3dface.heads import HeadModel
from tests.estimators.synthetic import Scene, draw

HEIGHT, WIDTH = 1200, 1000
CENTRE = np.array([WIDTH, HEIGHT]) / 2


def _fit(scene: Scene, landmarks: LandmarkModel, model: HeadModel, noise: float = 0.0) -> HeadFit:
    """noise: px, of the inter-ocular distance of about 210 px."""
    shaken = scene.pixels + np.random.default_rng(0).normal(size=scene.pixels.shape) * noise
    return head_fit(fit_landmarks(landmarks, shaken, LensPrior(3000.0, 0.03)), landmarks, model, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def fit(landmarks: LandmarkModel, model: HeadModel) -> HeadFit:
    return _fit(draw(landmarks, model, 1, yaw=25, gaze=(0.1, 0.0), spread=0.4), landmarks, model)


def test_the_camera_sees_the_mesh_where_the_landmarks_were(
    fit: HeadFit, landmarks: LandmarkModel, model: HeadModel
) -> None:
    scene = draw(landmarks, model, 1, yaw=25, gaze=(0.1, 0.0), spread=0.4)
    seen = fit.camera.project(fit.mesh(model).landmarks())[0][0].numpy()
    apart = np.linalg.norm(seen - scene.pixels - CENTRE, axis=-1)
    assert np.median(apart) < 1.0
    # the residual is this very distance over the distance between the eyes
    unit = apart / fit.residual.numpy()
    assert np.percentile(unit, 95) / np.percentile(unit, 5) < 1.1
    assert fit.camera.azimuths.item() == pytest.approx(-25, abs=2)


def test_residual_is_measured_as_if_from_the_front(landmarks: LandmarkModel, model: HeadModel) -> None:
    lengths = [
        fit_landmarks(landmarks, draw(landmarks, model, 1, yaw=yaw).pixels, LensPrior(3000.0, 0.03)).interocular
        for yaw in (0, 50)
    ]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.05)


def test_confidence_falls_with_noise_and_hopeless_landmarks_are_refused(
    landmarks: LandmarkModel, model: HeadModel
) -> None:
    scene = draw(landmarks, model, 2, spread=0.4)
    trust = [_fit(scene, landmarks, model, noise).confidence for noise in (0.0, 6.0, 12.0)]
    assert trust[0] > 0.95  # a random OpenHead is a little strange among people
    assert trust[0] > trust[1] > trust[2] > 0
    with pytest.raises(EstimationError, match="No head fits"):
        _fit(scene, landmarks, model, 60.0)


def test_confidence_values() -> None:
    plain = np.zeros(100)
    assert confidence(0.005, plain, 0) == 1
    assert confidence(0.10, plain, 0) == 0
    assert confidence(np.sqrt(0.001), plain, 0) == pytest.approx(0.5)
    assert confidence(0.005, plain, -90) == pytest.approx(0.3)
    assert confidence(0.005, np.full(100, 2.0), 0) == pytest.approx(np.exp(-1.5))


def test_visibility_from_the_side(model: HeadModel) -> None:
    mesh = model.mesh()
    camera = orbit(torch.tensor([90.0]), torch.zeros(1), radius=1.8, focal=4.0, size=600)
    seen = vertex_visibility(mesh, camera)
    left = model.regions["ears"] & (model.template[:, 0] > 0)
    right = model.regions["ears"] & (model.template[:, 0] < 0)
    assert (seen[left] > 0).float().mean() > 0.3
    assert (seen[right] > 0).float().mean() < 0.01
    assert (seen[model.regions["tongue"]] > 0).float().mean() < 0.01
    assert seen.min() >= 0 and seen.max() <= 1


def test_what_lies_outside_the_picture_is_not_visible(model: HeadModel) -> None:
    camera = orbit(torch.zeros(1), torch.zeros(1), radius=1.8, focal=4.0, size=600)
    seen = vertex_visibility(model.mesh(), camera.cropped(300, 0, 600, 300))
    assert (seen[model.template[:, 0] < -0.002] == 0).all()
    assert (seen[model.regions["face"] & (model.template[:, 0] > 0.002)] > 0).float().mean() > 0.5


def test_saving_keeps_everything(fit: HeadFit, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit.safetensors")
    again = HeadFit.load(tmp_path / "fit.safetensors")
    for field in fields(fit):
        one, two = getattr(fit, field.name), getattr(again, field.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(torch.nan_to_num(one, -1), torch.nan_to_num(two, -1)), field.name
    assert torch.equal(again.camera.intrinsics, fit.camera.intrinsics)
    assert torch.equal(again.camera.world_to_camera, fit.camera.world_to_camera)
    assert (again.camera.height, again.camera.width, again.confidence) == (HEIGHT, WIDTH, fit.confidence)
    assert (again.model_name, again.model_version) == (fit.model_name, fit.model_version)


def test_the_same_fit_is_saved_as_the_same_bytes(fit: HeadFit, tmp_path: Path) -> None:
    fit.save(tmp_path / "0")
    for number in range(1, 9):
        fit.save(tmp_path / f"{number}")
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1
    (tmp_path / "plain").touch()
    assert (tmp_path / "0").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_cannot_be_written_is_an_output_error(fit: HeadFit, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="cannot write"):
        fit.save(tmp_path / "taken" / "fit.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 8, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fit.safetensors"
    path.write_bytes(content)
    with pytest.raises(EstimationError):
        HeadFit.load(path)
    with pytest.raises(EstimationError):
        HeadFit.load(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offsets", torch.zeros(7, 3)),
        ("offsets", torch.zeros(7)),
        ("rotations", torch.zeros(5, 4)),
        ("identity", torch.full((100,), torch.nan)),
        ("rotations", torch.full((5, 3), torch.inf)),
        ("residual", torch.full((478,), torch.inf)),
        ("residual", torch.zeros(477)),
        ("visibility", torch.zeros(9, dtype=torch.int64)),
        ("confidence", torch.nan),
    ],
)
def test_what_cannot_be_is_refused_by_name(fit: HeadFit, tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(EstimationError, match=name):
        replace(fit, **{name: value})
    fit.save(tmp_path / "fit.safetensors")
    with safe_open(str(tmp_path / "fit.safetensors"), "pt") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / "fit.safetensors") | {name: torch.as_tensor(value)}
    save_file(tensors, tmp_path / "fit.safetensors", metadata)
    with pytest.raises(EstimationError, match=name):
        HeadFit.load(tmp_path / "fit.safetensors")


def test_a_camera_that_is_not_finite_is_refused(fit: HeadFit) -> None:
    nowhere = replace(fit.camera, world_to_camera=torch.full((1, 4, 4), torch.nan))
    with pytest.raises(CameraError, match="world_to_camera"):
        replace(fit, camera=nowhere)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("faces", torch.tensor([[0, 1, 3]])),
        ("uv_faces", torch.tensor([[0, -1, 2]])),
        ("faces", torch.tensor([[0.0, 1.0, 2.0]])),
        ("vertices", torch.full((3, 3), torch.nan)),
    ],
)
def test_hair_whose_parts_do_not_fit_is_refused(fit: HeadFit, name: str, value: torch.Tensor) -> None:
    triangle = torch.arange(3)[None]
    hair = HangingHair(torch.zeros(3, 3), triangle, torch.zeros(3, 2), triangle)
    assert replace(fit, hair=hair).hair is hair
    with pytest.raises(EstimationError, match=name):
        replace(fit, hair=replace(hair, **{name: value}))


def test_another_models_coefficients_are_refused(fit: HeadFit, model: HeadModel) -> None:
    with pytest.raises(HeadModelError, match="belongs to head model"):
        replace(fit, model_version="0.0").mesh(model)


def test_uncertainty_is_saved_and_files_of_before_are_read(fit: HeadFit) -> None:
    assert fit.uncertainty is None
    known = replace(fit, uncertainty=Uncertainty(torch.tensor([1.0, 2.0, 3.0]), torch.rand(len(fit.identity))))
    loaded = HeadFit.from_bytes(known.to_bytes()).uncertainty
    assert loaded is not None and known.uncertainty is not None
    assert torch.equal(loaded.rotation, known.uncertainty.rotation)
    assert torch.equal(loaded.identity, known.uncertainty.identity)
    assert HeadFit.from_bytes(fit.to_bytes()).uncertainty is None


def test_uncertainty_that_cannot_be_is_refused(fit: HeadFit) -> None:
    with pytest.raises(EstimationError, match="no standard deviations"):
        Uncertainty(torch.tensor([1.0, -1.0, 1.0]), torch.ones(3))
    with pytest.raises(EstimationError, match="rotation is"):
        Uncertainty(torch.ones(2), torch.ones(3))
    with pytest.raises(EstimationError, match="of 3 coefficients"):
        replace(fit, uncertainty=Uncertainty(torch.ones(3), torch.ones(3)))
