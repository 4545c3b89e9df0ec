"""DECA, SMIRK and MICA with networks that say what is known: the head lands where their own equations put it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from gen3dface.errors import ConfigError, EstimationError, HeadModelError
from gen3dface.estimators import HeadFit, load_estimator
from gen3dface.estimators.crops import OUTLINE_68
from gen3dface.estimators.deca import DecaEstimator
from gen3dface.estimators.mica import MicaEstimator
from gen3dface.estimators.registry import Estimator
from gen3dface.estimators.smirk import SmirkCode, SmirkEstimator
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.heads.model import HeadMesh
from tests.estimators.fake_flame import Sight, fake_flame, flame_vertices, portrait_of, sight, surface_points

Array = NDArray[np.float64]
VERY_LONG = 2e6  # px: the camera then stands more than a kilometre away


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return fake_flame()


def weak_perspective(seen: Sight, low: Array, high: Array, size: int) -> tuple[float, float, float]:
    """(s, tx, ty) with which a crop of 224 px shows what the photo shows.

    Crop pixel (c) and photo pixel (p): c = (p - corner) 223 / size, and c = (ndc + 1) 112, ndc = (s (x + tx),
    -s (y + ty)), while p = middle + scale (x, -y).
    """
    corner = (low + high) / 2 - size / 2
    zoom = 223 / size / 112
    s = seen.scale * zoom
    tx = ((seen.middle[0] - corner[0]) * zoom - 1) / s
    ty = -((seen.middle[1] - corner[1]) * zoom - 1) / s
    return s, tx, ty


def outline_box(seen: Sight) -> tuple[Array, Array]:
    points = seen.landmarks[list(OUTLINE_68), :2].astype(np.float64)
    return points.min(0), points.max(0)


class SaysDeca:
    """A network of DECA's layout that knows the answer and looks at its input."""

    def __init__(self, seen: Sight) -> None:
        low, high = outline_box(seen)
        size = int((high - low).sum() / 2 * 1.1 * 1.25)
        self.code = np.concatenate(
            [
                seen.identity,
                np.full(50, 9.0),
                seen.expression,
                seen.pose[0],
                seen.pose[2],
                weak_perspective(seen, low, high, size),
                np.full(27, 9.0),
            ]
        )

    def __call__(self, images: Tensor) -> Tensor:
        assert images.shape == (1, 3, 224, 224) and images.dtype == torch.float32
        assert images.min() >= 0 and 0.3 < images.max() <= 1
        return torch.from_numpy(self.code).float()[None]


class SaysSmirk:
    """The same for SMIRK, whose box holds all landmarks."""

    def __init__(self, seen: Sight) -> None:
        points = seen.landmarks[:, :2].astype(np.float64)
        low, high = points.min(0), points.max(0)
        view = weak_perspective(seen, low, high, int((high - low).sum() / 2 * 1.4))
        parts = (seen.identity, seen.expression, np.full(2, 0.5), seen.pose[2], seen.pose[0], np.array(view))
        self.code = SmirkCode(*(torch.from_numpy(part).float()[None] for part in parts))

    def __call__(self, images: Tensor) -> SmirkCode:
        assert images.shape == (1, 3, 224, 224)
        assert torch.allclose(images * 255, (images * 255).round(), atol=1e-4), "SMIRK sees 8-bit pictures"
        return self.code


def deca(seen: Sight, model: HeadModel) -> Estimator:
    return DecaEstimator(SaysDeca(seen), model)


def smirk(seen: Sight, model: HeadModel) -> Estimator:
    return SmirkEstimator(SaysSmirk(seen), model)


SIZES = {deca: (100, 50), smirk: (300, 50)}


def apart(fit: HeadFit, model: HeadModel, seen: Sight) -> Array:
    """[V] px between our picture of each vertex and theirs."""
    ours = fit.camera.project(fit.mesh(model).vertices)[0][0].double().numpy()
    return np.linalg.norm(ours - seen.pixels, axis=1)


@pytest.mark.parametrize("middle", [(310.0, 250.0), (90.0, 400.0)])
@pytest.mark.parametrize("make", [deca, smirk])
def test_head_lands_where_their_equation_puts_it(
    make: Callable[[Sight, HeadModel], Estimator], middle: tuple[float, float], model: HeadModel
) -> None:
    """Through a lens so long that it sees in parallel, to a tenth of a pixel, every vertex of the head."""
    seen = sight(model, *SIZES[make], middle=middle)
    fit = make(seen, model)(portrait_of(seen, focal=VERY_LONG))
    assert apart(fit, model, seen).max() < 0.1
    assert fit.median_residual < 1e-3 and fit.confidence > 0.2
    assert torch.isfinite(fit.residual).sum() == (model.landmark_faces >= 0).sum()
    assert fit.rotations[2].numpy() == pytest.approx(seen.pose[2]) and not fit.rotations[[0, 1, 3, 4]].any()
    assert len(fit.identity) == 300 and len(fit.expression) == 100 and not fit.expression[50:].any()


@pytest.mark.parametrize("middle", [(310.0, 250.0), (90.0, 400.0)])
def test_usual_lens_differs_by_perspective_alone(middle: tuple[float, float], model: HeadModel) -> None:
    """A point d nearer than the face's middle and r beside it moves by d / (depth - d) r, and a face off the axis is
    stretched by 1 / cos of its angle."""
    seen = sight(model, 100, 50, middle=middle)
    fit = deca(seen, model)(portrait_of(seen))
    mesh = fit.mesh(model)
    camera = fit.camera
    focal, place = camera.intrinsics[0, 0, 0].item(), camera.to_camera(mesh.landmarks())[0].double()
    known = place[torch.isfinite(place).all(1)]
    depth = known[:, 2].mean().item()
    assert depth == pytest.approx(focal / seen.scale, rel=2e-3)  # one metre there has as many pixels as in theirs
    assert 0.4 < depth < 3
    points = camera.to_camera(mesh.vertices)[0].double().numpy()
    middle_ray = known.mean(0).numpy() / depth
    off_axis = np.hypot(1, np.linalg.norm(middle_ray[:2])) - 1
    nearer = np.abs(points[:, 2] - depth)
    beside = np.linalg.norm(points[:, :2] - points[:, 2:] * middle_ray[:2], axis=1)
    allowed = seen.scale * (beside + nearer * off_axis) * (nearer / (depth - nearer) + 2 * off_axis) + 0.5
    assert (apart(fit, model, seen) < allowed).all()
    assert fit.median_residual < 0.03


def test_known_lens_is_kept(model: HeadModel) -> None:
    """EXIF's focal length counts for much more than the usual distance to a face."""
    seen = sight(model, 100, 50)
    fit = deca(seen, model)(portrait_of(seen, focal=3000.0))
    assert fit.camera.intrinsics[0, 0, 0].item() == pytest.approx(3000, rel=0.01)
    assert fit.camera.intrinsics[0, :2, 2].tolist() == [320, 256]


def test_a_face_beside_the_middle_is_seen_from_where_it_is(model: HeadModel) -> None:
    """The crop shows a frontal face: its camera's ray meets it frontally, wherever in the photo it is."""
    seen = sight(model, 100, 50, turn=(0, 0, 0), middle=(90.0, 400.0))
    fit = deca(seen, model)(portrait_of(seen))
    known = fit.mesh(model).landmarks()
    ray = fit.camera.centers[0] - known[torch.isfinite(known).all(1)].mean(0)
    assert np.degrees(np.arccos((ray / ray.norm())[2].item())) < 0.1


def test_turned_head_is_seen_from_the_other_side(model: HeadModel) -> None:
    """FLAME turns its face to the subject's left by 0.3 rad about y: our camera sees it from its right."""
    seen = sight(model, 100, 50, turn=(0, 0.3, 0), middle=(320.0, 256.0))
    fit = deca(seen, model)(portrait_of(seen, focal=VERY_LONG))
    assert fit.camera.azimuths.item() == pytest.approx(np.degrees(-0.3), abs=0.2)


def test_neutral_head_has_a_closed_mouth(model: HeadModel) -> None:
    seen = sight(model, 100, 50)
    fit = deca(seen, model)(portrait_of(seen))
    rest = model.mesh(fit.identity).vertices + fit.offsets
    assert torch.allclose(fit.neutral_mesh(model).vertices, rest)
    assert (fit.mesh(model).vertices - rest).norm(dim=-1).max() > 0.003


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "2023"}, "FLAME 2020"),
        ({"name": "openhead"}, "FLAME 2020"),
        ({"landmark_faces": torch.full((478,), -1)}, "landmarks"),
    ],
)
def test_other_heads_are_refused(change: dict[str, object], message: str, model: HeadModel) -> None:
    with pytest.raises(HeadModelError, match=message):
        DecaEstimator(lambda images: images, replace(model, **change))  # type: ignore[arg-type]


def test_short_heads_are_refused() -> None:
    with pytest.raises(HeadModelError, match="300 identity"):
        SmirkEstimator(lambda images: images, fake_flame("2020", 120, 60))  # type: ignore[arg-type, return-value]


def test_nonsense_of_a_network_is_refused(model: HeadModel) -> None:
    seen = sight(model, 100, 50)
    portrait = portrait_of(seen)
    code = SaysDeca(seen).code
    for place, value, message in (
        (5, np.nan, "belong to no head"),
        (160, 1e20, "belong to no head"),
        (204, -np.inf, "belong to no head"),
        (206, -1.0, "saw no head"),
        (207, np.nan, "saw no head"),
    ):
        broken = code.copy()
        broken[place] = value
        with pytest.raises(EstimationError, match=message):
            DecaEstimator(lambda images, said=broken: torch.from_numpy(said)[None], model)(portrait)
    shifted = code.copy()
    shifted[207] += 0.03  # metres
    with pytest.raises(EstimationError, match="misses this photo"):
        DecaEstimator(lambda images: torch.from_numpy(shifted)[None], model)(portrait)


def test_mica_keeps_its_shape_and_finds_pose_and_expression(model: HeadModel) -> None:
    """Landmarks of a known head through a known pinhole camera; the network says its shape alone."""
    model = with_few_landmarks(model)
    rng = np.random.default_rng(5)
    identity, expression = rng.normal(size=300), np.zeros(100)
    expression[:20] = rng.normal(size=20)
    jaw, focal, depth = 0.15, 1200.0, 0.9
    pose = np.zeros((5, 3))
    pose[2, 0] = jaw
    vertices = flame_vertices(model, identity, expression, pose)
    head_to_camera = np.diag([1.0, -1, -1]) @ Rotation.from_rotvec((0.1, 0.35, 0.05)).as_matrix()
    local = vertices @ head_to_camera.T + [0.02, -0.03, depth]
    pixels = focal * local[:, :2] / local[:, 2:] + [320, 256]
    landmarks = surface_points(model, np.c_[pixels, local[:, 2]]).astype(np.float32)

    def network(images: Tensor) -> Tensor:
        assert images.shape == (1, 3, 112, 112) and -1 <= images.min() < images.max() <= 1
        return torch.from_numpy(identity).float()[None]

    fit = MicaEstimator(network, model)(replace(portrait_of(sight(model, 1, 1), focal=focal), landmarks=landmarks))
    assert np.allclose(fit.identity.numpy(), identity, atol=1e-6)
    ours = fit.camera.project(fit.mesh(model).vertices)[0][0].double().numpy()
    face = model.regions["face"].numpy()
    assert np.median(np.linalg.norm(ours - pixels, axis=1)[face]) < 1.0  # of some 250 that the face is wide
    assert fit.median_residual < 0.01
    found = fit.camera.rotations[0].double().numpy()
    assert np.degrees(Rotation.from_matrix(found @ head_to_camera.T).magnitude()) < 2
    middle = fit.camera.to_camera(fit.mesh(model).joints[3:])[0, :, 2].mean().item()
    assert middle == pytest.approx(local[model.regions["left_eye"].numpy(), 2].mean(), rel=0.03)  # the size is known
    assert fit.rotations[2, 0].item() == pytest.approx(jaw, abs=0.05)


def with_few_landmarks(model: HeadModel) -> HeadModel:
    """Every fourth landmark and the eyes' corners, about as many as FLAME's own embedding has."""
    kept = torch.zeros(478, dtype=torch.bool)
    kept[::4] = kept[[33, 263, 468, 473, 1, 61, 291]] = True
    return replace(model, landmark_faces=torch.where(kept, model.landmark_faces, -1))


def test_estimators_are_found_by_name(model: HeadModel) -> None:
    assert load_estimator().model is load_head_model()
    assert load_estimator("default", head=model).model is model
    with pytest.raises(ConfigError, match="choose one of default, deca, smirk, mica"):
        load_estimator("3ddfa")
    with pytest.raises(ConfigError, match="FLAME 2020"):
        load_estimator("deca", "deca_model.tar")
    with pytest.raises(ConfigError, match="no checkpoint"):
        load_estimator("default", "deca_model.tar")


def test_landmarks_of_the_head_are_where_the_fit_says(model: HeadModel) -> None:
    """The residual is the distance of projected and detected landmarks over the eyes' outer corners' distance."""
    seen = sight(model, 100, 50, turn=(0, 0, 0))
    moved = seen.landmarks.copy()
    moved[1, 0] += 12
    fit = deca(seen, model)(replace(portrait_of(seen, focal=VERY_LONG), landmarks=moved))
    mesh: HeadMesh = fit.mesh(model)
    eyes = mesh.landmarks()[[33, 263]]
    distance = (eyes[0] - eyes[1]).norm().item() * seen.scale
    assert fit.residual[1].item() == pytest.approx(12 / distance, rel=0.01)
