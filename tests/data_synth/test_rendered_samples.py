"""Samples: the same from the same seed, and true to the head that was drawn."""

import numpy as np
import pytest
import torch

from gen3dface.cameras import Cameras, orbit, rig
from gen3dface.data_synth.rendered import light_scene, render
from gen3dface.data_synth.rendered.lights import Light
from gen3dface.data_synth.rendered.people.person import random_person, scene_of
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.data_synth.rendered.samples.detector import detect_face
from gen3dface.data_synth.rendered.samples.lens import random_lens
from gen3dface.data_synth.rendered.samples.make import make_sample, sit
from gen3dface.data_synth.rendered.samples.pool import make_samples
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.errors import EstimationError
from gen3dface.estimators.regression import bundled_regressor
from gen3dface.heads import load_head_model
from gen3dface.photo.detect import FaceDetector
from gen3dface.photo.parts import BACKGROUND, FACE_SKIN, HAIR
from gen3dface.raster import rasterize
from gen3dface.similarity import best_similarity
from tests.data_synth.people_fixtures import plain_skins

SEED = 3


@pytest.fixture(scope="module")
def sample() -> TrainingSample:
    return make_sample(SEED, orbit(torch.tensor([0.0, 90.0]), torch.zeros(2), radius=1.8, focal=4.5, size=64), 64,
                       plain_skins())  # fmt: skip


def test_the_same_seed_gives_the_same_bytes(sample: TrainingSample) -> None:
    again = make_sample(SEED, sample.cameras, 64, plain_skins())
    assert again.to_members() == sample.to_members()
    other = make_sample(SEED + 1, sample.cameras, 64, plain_skins())
    assert not torch.equal(other.views, sample.views)


def test_a_sample_is_whole(sample: TrainingSample) -> None:
    assert sample.views.shape == (2, 4, 64, 64)
    assert sample.portrait.image.shape == (*sample.portrait.matte.shape, 3)
    assert {BACKGROUND, HAIR, FACE_SKIN} <= set(np.unique(sample.portrait.parts).tolist())
    assert any("CC0" in name for name in sample.licences)
    white = sample.views[:, 3] == 0
    assert (sample.views[:, :3].permute(0, 2, 3, 1)[white] == 255).all()
    assert 0.1 < (sample.views[:, 3] > 127).float().mean() < 0.8


def test_the_estimated_head_sees_the_detected_landmarks(sample: TrainingSample) -> None:
    model = load_head_model()
    bald = model.mesh(sample.head.identity, sample.head.expression, sample.head.rotations)
    xy = sample.head.camera.project(bald.landmarks())[0][0].numpy()
    off = np.linalg.norm(xy - sample.portrait.landmarks[:, :2], axis=1)
    eyes = np.linalg.norm(sample.portrait.landmarks[263, :2] - sample.portrait.landmarks[33, :2])
    assert np.median(off) < 0.03 * eyes
    assert sample.head.median_residual > 1e-3  # an estimate, not the truth


def test_true_views_line_up_with_the_estimated_head(sample: TrainingSample) -> None:
    """The true head's outline against the estimated head's in the same cameras, where hair has no say: the front."""
    model = load_head_model()
    mesh = sample.head.mesh(model)
    drawn = rasterize(mesh.vertices, mesh.faces, next(iter(sample.cameras))).mask.numpy()
    truth = sample.views[0, 3].numpy() > 127
    rows = slice(20, 44)  # eyes to mouth
    both, either = (drawn & truth)[rows].sum(), (drawn | truth)[rows].sum()
    assert both / either > 0.6


def test_similarities_are_found_and_carry_cameras() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(50, 3, generator=generator) * 0.1
    angle = torch.tensor(0.3)
    rotation = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    moved = 1.2 * points @ rotation.T + torch.tensor([0.01, -0.02, 0.03])
    found = best_similarity(points, moved, torch.ones(50))
    assert found.scale == pytest.approx(1.2, abs=1e-5)
    assert torch.allclose(found(points), moved, atol=1e-6)
    cameras = rig("head360", 128)
    seen = cameras.project(moved)[0]
    assert torch.allclose(found.carried_back(cameras).project(points)[0], seen, atol=1e-2)


def test_rendered_landmarks_lie_where_the_regression_learned() -> None:
    """Otherwise a model would be trained on heads that the estimator makes of nobody's photo."""
    portraits = [sit(seed, plain_skins(), yaw_limit=30.0).portrait for seed in range(6)]
    assert all(bundled_regressor().predict(p.landmarks, p.blendshapes) is not None for p in portraits)


def test_detected_landmarks_are_near_the_true_ones() -> None:
    sitting = sit(SEED, plain_skins(), yaw_limit=20.0)
    mesh = sitting.person.mesh(load_head_model())
    truth = sitting.lens.project(mesh.landmarks())[0][0].numpy()
    off = np.linalg.norm(sitting.portrait.landmarks[:, :2] - truth, axis=1)
    assert 0 < np.median(off) < 0.08 * np.linalg.norm(truth[263] - truth[33])


def test_a_photo_without_a_face_gives_no_sample() -> None:
    with pytest.raises(EstimationError, match="wall: no face"):
        detect_face(np.full((288, 288, 3), 128, np.uint8), "wall")


def test_lenses_keep_to_their_ranges() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        lens = random_lens(rng, 256)
        field = 2 * np.degrees(np.arctan(128 / lens.intrinsics[0, 0, 0].item()))
        assert 9.9 < field < 60.1
        assert 0.44 < lens.world_to_camera[0, 2, 3] < 2.51
        assert abs(lens.azimuths.item()) < 66
        xy, _ = lens.project(load_head_model().mesh().landmarks())
        assert ((xy[0] > -20) & (xy[0] < 276)).all(-1).float().mean() > 0.7


def test_coverage_equals_an_independent_mask() -> None:
    """A bald, shaven person: alpha is the meshes' own coverage."""
    model, rng = load_head_model(), np.random.default_rng(5)
    styles = torch.Generator().manual_seed(0)
    person = random_person(plain_skins(), model, (0.0, 0.0), rng, styles)
    scene, labels = scene_of(person, model, Light.plain(), styles)
    lit = light_scene(type(scene)(scene.surfaces, scene.light, None))
    assert len(labels) == len(lit.faces)
    camera: Cameras = orbit(torch.tensor([30.0]), torch.zeros(1), radius=1.8, focal=4.5, size=96)
    alpha = render(lit, camera, supersample=1).rgba[0, 3]
    mask = rasterize(lit.vertices, lit.faces, camera).mask
    assert ((alpha > 0.5) != mask).float().mean() < 0.004


@pytest.mark.usefixtures("skins")
def test_the_pool_gives_what_one_process_gives() -> None:
    """In the order of the seeds, from workers or without."""
    alone = [s.to_members() for s in make_samples([5, 4], 0, size=16, progress=False)]
    pooled = [s.to_members() for s in make_samples([5, 4], 1, size=16, progress=False)]
    assert alone == pooled


def test_the_detector_finds_rendered_faces(skins: tuple[Skin, ...]) -> None:
    """YuNet, in at least nine of ten random photos that are taken more or less from the front."""
    detector = FaceDetector()
    found = [detector(sit(seed, skins, yaw_limit=25.0).portrait.image) for seed in range(10)]
    assert sum(any(face.score > 0.6 for face in faces) for faces in found) >= 9
