"""People hang together: faces, clothes, looks."""

import numpy as np
import pytest
import torch

from gen3dface.data_synth.rendered.people import skin_library
from gen3dface.data_synth.rendered.people.body import clipped, random_build, torso
from gen3dface.data_synth.rendered.people.expressions import follow_lids, random_expression, random_gaze
from gen3dface.data_synth.rendered.people.eyes import random_iris_angle
from gen3dface.data_synth.rendered.people.hairdo import random_hairdo
from gen3dface.data_synth.rendered.people.makehuman_skin import people_data
from gen3dface.data_synth.rendered.people.traits import Traits, random_identity, random_traits
from gen3dface.estimators.regression import bundled_regressor
from gen3dface.heads import load_head_model


def test_clipping_a_square_leaves_the_area_below_the_line() -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 8))
    vertices = np.column_stack([x.ravel(), y.ravel(), np.zeros(64)])
    a = (np.arange(7)[:, None] * 8 + np.arange(7)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 9], -1), np.stack([a, a + 9, a + 8], -1)])
    cut, cut_faces = clipped(vertices, faces, vertices[:, 0] + 0.5 * vertices[:, 1] - 0.61)
    p, q, r = (cut[cut_faces[:, k]] for k in range(3))
    signed = np.cross(q - p, r - p)[:, 2] / 2
    # below x + y / 2 = 0.61 lies a trapezoid with sides 0.61 and 0.11 at y = 0 and 1
    assert signed.sum() == pytest.approx((0.61 + 0.11) / 2, abs=1e-9)
    assert (signed > 0).all()


def test_the_torso_continues_the_bust_and_faces_outward() -> None:
    model = load_head_model()
    points = model.template.double().numpy()
    vertices, faces = torso(points, model.collar.numpy(), random_build(0.5, 0, np.random.default_rng(0)))
    assert np.array_equal(vertices[: len(model.collar)], points[model.collar.numpy()])
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals, middle = np.cross(b - a, c - a), (a + b + c) / 3
    outward = (normals * (middle - [0, -0.35, -0.03])).sum(1)
    assert (outward > 0).mean() > 0.97


def test_identities_follow_their_traits() -> None:
    readout = people_data()["readout"][0]
    men, women = (
        [
            readout @ random_identity(Traits(male, 40, 0.3, 0.1, 0.1, 0.0), np.random.default_rng(seed))
            for seed in range(8)
        ]
        for male in (1.0, 0.0)
    )
    assert min(men) > max(women)


def test_identities_stay_near_the_population() -> None:
    prior = bundled_regressor().population()
    rng = np.random.default_rng(0)
    strange = [np.mean(prior.standardise(random_identity(random_traits(rng), rng)) ** 2) for _ in range(40)]
    assert np.mean(strange) < 1.3 and max(strange) < 2.0


def test_irises_are_of_one_size_whatever_the_heads() -> None:
    """11.7 mm across, +- 4 % (Ruefer et al. 2005), measured on eyeballs that grow with their heads."""
    model, rng = load_head_model(), np.random.default_rng(0)
    eye, face = model.regions["left_eye"], model.regions["face"]
    radii, sizes = [], []
    for _ in range(60):
        identity = random_identity(random_traits(rng), rng)
        angle = random_iris_angle(model, identity, rng)
        vertices = model.mesh(torch.from_numpy(identity).float()).vertices
        low, high = vertices[eye].amin(0), vertices[eye].amax(0)
        radii.append(((high - low)[:2].mean() / 2).item() * np.sin(np.radians(angle)))
        sizes.append((vertices[face] - vertices[face].mean(0)).norm(dim=1).mean().item())
    assert np.mean(radii) == pytest.approx(0.00585, rel=0.02)
    assert 0.02 < np.std(radii) / np.mean(radii) < 0.06
    assert abs(np.corrcoef(radii, sizes)[0, 1]) < 0.4
    assert np.std(sizes) / np.mean(sizes) > 0.03


def test_expressions_are_weights_and_often_calm() -> None:
    names = load_head_model().expression_names
    drawn = np.stack([random_expression(names, np.random.default_rng(seed)) for seed in range(300)])
    assert (drawn >= 0).all() and (drawn <= 1).all()
    assert 0.25 < (drawn.max(1) < 0.4).mean() < 0.65
    smiles = drawn[:, [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]]
    cheeks = drawn[:, [names.index("cheekSquintLeft"), names.index("cheekSquintRight")]]
    smiling = smiles.min(1) > 0.4
    assert smiling.sum() > 10 and (cheeks[smiling].min(1) > 0.15).all()
    assert (drawn[:, names.index("eyeBlinkLeft")] > 0.4).mean() < 0.08


def test_lids_follow_the_eyes() -> None:
    names = load_head_model().expression_names
    looked = follow_lids(np.zeros(len(names)), names, yaw=20.0, pitch=10.0)
    assert looked[names.index("eyeLookOutLeft")] > 0.4 and looked[names.index("eyeLookInRight")] > 0.4
    assert looked[names.index("eyeLookDownLeft")] > 0.2 and looked[names.index("eyeLookUpLeft")] == 0


def test_most_gazes_meet_the_camera() -> None:
    drawn = np.array([random_gaze(np.random.default_rng(s), (12.0, -5.0)) for s in range(200)])
    assert 0.6 < (np.abs(drawn - [12, -5]).max(1) < 5).mean() < 0.85


def test_women_have_no_beards() -> None:
    rng, styles = np.random.default_rng(0), torch.Generator().manual_seed(0)
    woman = Traits(0.1, 30, 0.2, 0.1, 0.1, 0.0)
    assert {random_hairdo(woman, True, rng, styles).facial.beard for _ in range(20)} == {"none"}


def test_only_the_portraits_for_training_are_sources() -> None:
    assert sorted(skin_library.PORTRAITS) == [1, 2, 3, 4, 5, 6, 7]
    assert all(source.name == f"openpeople_{n:02d}" for n, source in skin_library.PORTRAITS.items())


def test_baking_opens_no_portrait_that_is_kept_for_tests(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    opened = []

    def skip(*_args, **_kwargs):
        return None

    monkeypatch.setattr(skin_library, "example_photo", lambda name: opened.append(name))
    monkeypatch.setattr(skin_library, "load_portrait", skip)
    monkeypatch.setattr(skin_library, "portrait_skin", lambda *_: torch.full((3, 512, 512), 0.3))
    monkeypatch.setattr(skin_library, "fetch", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        skin_library.bake_skins(tmp_path / "skins")
    assert opened == [f"openpeople_{n:02d}" for n in range(1, 8)]
    assert not (tmp_path / "skins").exists()
