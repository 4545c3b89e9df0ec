"""The shipped OpenHead: its arrays, its anatomy and its prior."""

import io
from contextlib import suppress
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from gen3dface.cameras import orbit
from gen3dface.errors import HeadModelError
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.heads.open_head import read_open_head
from gen3dface.raster import rasterize

RIGHT_IRIS, LEFT_IRIS, CHIN, NOSE_TIP, LEFT_CHEEK, RIGHT_CHEEK = 468, 473, 152, 4, 454, 234
UPPER_LIP_INNER, LOWER_LIP_INNER = 13, 14
# Upper and lower lid of the subject's left and right eye
LIDS = {"Left": (386, 374), "Right": (159, 145)}
LID_RINGS = {
    "left_eye": [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
    "right_eye": [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
}
FLIP = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head_model("openhead")


@pytest.fixture(scope="module")
def samples(head: HeadModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([head.sample(generator) for _ in range(200)])


def expression(head: HeadModel, **coefficients: float) -> torch.Tensor:
    vector = torch.zeros(len(head.expression_names))
    for name, value in coefficients.items():
        vector[head.expression_names.index(name)] = value
    return vector


def test_file_is_small_and_needs_no_pickle():
    file = resources.files("gen3dface.heads") / "data" / "open_head.npz"
    content = file.read_bytes()
    assert len(content) <= 6_000_000
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)


def test_shapes(head: HeadModel):
    v = len(head.template)
    assert 4000 <= v <= 6000
    assert 80 <= head.identity_size <= 120
    assert len(head.expression_names) == 52
    assert head.joint_names == ("root", "neck", "jaw", "left_eye", "right_eye")
    assert head.landmark_faces.shape == (478,) and head.landmark_barycentric.shape == (478, 3)
    assert head.faces.max() == v - 1 and head.uv_faces.max() == len(head.uvs) - 1
    assert all(mask.shape == (v,) and mask.dtype == torch.bool and mask.any() for mask in head.regions.values())
    assert all(t.dtype == torch.float32 for t in (head.template, head.identity_basis, head.uvs, head.skinning_weights))


def test_zero_pose_and_coefficients_are_the_template(head: HeadModel):
    k, e, j = head.identity_size, 52, 5
    mesh = head.mesh(torch.zeros(k), torch.zeros(e), torch.zeros(j, 3))
    torch.testing.assert_close(mesh.vertices, head.template)
    torch.testing.assert_close(mesh.joints, head.joints)


def test_batch_equals_single(head: HeadModel, samples: torch.Tensor):
    turns = 0.1 * torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(2))
    smile = expression(head, mouthSmileLeft=1.0).expand(3, -1)
    batch = head.mesh(samples[:3], smile, turns)
    for i in range(3):
        one = head.mesh(samples[i], smile[i], turns[i])
        torch.testing.assert_close(batch.vertices[i], one.vertices)
        torch.testing.assert_close(batch.landmarks()[i], one.landmarks())
        torch.testing.assert_close(batch.normals()[i], one.normals(), atol=1e-3, rtol=0)


def test_weights_sum_to_one(head: HeadModel):
    torch.testing.assert_close(head.skinning_weights.sum(1), torch.ones(len(head.template)))
    assert (head.skinning_weights >= 0).all()


def test_mirror_is_an_involution_and_everything_follows_it(head: HeadModel):
    m = head.mirror
    assert torch.equal(m[m], torch.arange(len(m)))
    torch.testing.assert_close(head.template[m] * FLIP, head.template, atol=1e-6, rtol=0)
    sides = [0, 1, 2, 4, 3]
    torch.testing.assert_close(head.skinning_weights[m][:, sides], head.skinning_weights, atol=0.01, rtol=0)
    for name, mask in head.regions.items():
        other = {"left_eye": "right_eye", "right_eye": "left_eye"}.get(name, name)
        assert torch.equal(mask[m], head.regions[other]), name
    mirrored = torch.sort(m[head.faces][:, [0, 2, 1]], 1)[0]
    assert set(map(tuple, mirrored.tolist())) == set(map(tuple, torch.sort(head.faces, 1)[0].tolist()))


def test_expressions_mirror_each_other(head: HeadModel):
    for i, name in enumerate(head.expression_names):
        swapped = name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")
        other = head.expression_basis[head.expression_names.index(swapped)]
        torch.testing.assert_close(other[head.mirror] * FLIP, head.expression_basis[i], atol=2e-6, rtol=0)


def test_identity_components_are_symmetric_or_antisymmetric(head: HeadModel):
    for component in head.identity_basis:
        flipped = component[head.mirror] * FLIP
        error = min((flipped - component).abs().max(), (flipped + component).abs().max())
        assert error < 1e-5


def test_faces_look_outward(head: HeadModel):
    mesh = head.mesh()
    for eye, joint in (("left_eye", 3), ("right_eye", 4)):
        mask = head.regions[eye]
        outward = mesh.vertices[mask] - mesh.joints[joint]
        assert ((mesh.normals()[mask] * outward).sum(-1) > 0).all()
    scalp = head.regions["scalp"]
    centre = torch.tensor([0.0, 0.02, 0.0])
    assert ((mesh.normals()[scalp] * (mesh.vertices[scalp] - centre)).sum(-1) > 0).float().mean() > 0.97


def test_subject_left_is_positive_x(head: HeadModel):
    assert head.joints[3, 0] > 0 > head.joints[4, 0]
    landmarks = head.mesh().landmarks()
    assert landmarks[LEFT_IRIS, 0] > 0 > landmarks[RIGHT_IRIS, 0]


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_blink_closes_its_own_eye_alone(head: HeadModel, side: str):
    def opening(points: torch.Tensor, which: str) -> float:
        upper, lower = LIDS[which]
        return float(points[upper, 1] - points[lower, 1])

    rest = head.mesh().landmarks()
    closed = head.mesh(expression=expression(head, **{f"eyeBlink{side}": 1.0})).landmarks()
    other = "Right" if side == "Left" else "Left"
    assert opening(rest, side) > 0.006
    assert opening(closed, side) < 0.25 * opening(rest, side)
    assert opening(closed, other) == pytest.approx(opening(rest, other), abs=1e-5)


def test_jaw_open_lowers_the_chin_and_parts_the_lips(head: HeadModel):
    rest = head.mesh().landmarks()
    for opened in (
        head.mesh(expression=expression(head, jawOpen=1.0)).landmarks(),
        head.mesh(rotations=torch.tensor([[0.0] * 3, [0.0] * 3, [0.3, 0.0, 0.0], [0.0] * 3, [0.0] * 3])).landmarks(),
    ):
        assert rest[CHIN, 1] - opened[CHIN, 1] > 0.01
        assert opened[UPPER_LIP_INNER, 1] - opened[LOWER_LIP_INNER, 1] > 0.012
        assert (opened[NOSE_TIP] - rest[NOSE_TIP]).norm() < 0.002


def test_look_left_turns_both_pupils_to_positive_x(head: HeadModel):
    rest = head.mesh().landmarks()
    looked = head.mesh(expression=expression(head, eyeLookOutLeft=1.0, eyeLookInRight=1.0)).landmarks()
    assert (looked[[LEFT_IRIS, RIGHT_IRIS], 0] - rest[[LEFT_IRIS, RIGHT_IRIS], 0] > 0.003).all()


def test_eye_joint_turns_the_eyeball_in_place(head: HeadModel):
    turn = torch.zeros(5, 3)
    turn[3, 1] = 0.4
    turned, rest = head.mesh(rotations=turn), head.mesh()
    mask = head.regions["left_eye"]
    before = (rest.vertices[mask] - rest.joints[3]).norm(dim=-1)
    after = (turned.vertices[mask] - turned.joints[3]).norm(dim=-1)
    torch.testing.assert_close(before, after)
    torch.testing.assert_close(turned.vertices[~mask], rest.vertices[~mask])


def test_landmarks_mirror_and_lie_where_they_should(head: HeadModel):
    points = head.mesh().landmarks()
    assert points.isfinite().all()
    torch.testing.assert_close(points[LEFT_CHEEK] * FLIP, points[RIGHT_CHEEK], atol=5e-4, rtol=0)
    distance = torch.cdist(points, points * FLIP)
    assert distance.min(1).values.max() < 1.5e-3  # every landmark has a mirror partner
    for start, eye, joint in ((468, "right_eye", 4), (473, "left_eye", 3)):
        assert head.regions[eye][head.faces[head.landmark_faces[start : start + 5]]].all()
        pupil = points[start] - head.joints[joint]
        assert torch.rad2deg(torch.atan2(pupil[:2].norm(), pupil[2])) < 6
    inside = head.regions["mouth_interior"] | head.regions["eye_sockets"]
    assert not inside[head.faces[head.landmark_faces[:468]]].all(-1).any()


def test_uvs_fill_the_square_without_folds(head: HeadModel):
    assert head.uvs.min() >= 0 and head.uvs.max() <= 1
    a, b, c = head.uvs[head.uv_faces].unbind(1)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).all()
    assert 0.5 < area.sum() / 2 < 1
    face = head.regions["face"][head.faces].all(1)
    assert area[face].sum() / 2 > 0.15


def test_collar_is_one_open_loop_at_the_bottom(head: HeadModel):
    edges = torch.cat([head.faces[:, [0, 1]], head.faces[:, [1, 2]], head.faces[:, [2, 0]]]).tolist()
    used = {tuple(edge) for edge in edges}
    loop = head.collar.tolist()
    assert len(set(loop)) == len(loop)
    for a, b in zip(loop, loop[1:] + loop[:1], strict=True):
        assert ((a, b) in used) != ((b, a) in used)
    assert head.template[head.collar, 1].max() < -0.1
    assert head.template.abs().max() < 0.21  # the bust fits the 0.4 m volume


def test_origin_is_the_heads_centre(head: HeadModel):
    crown, chin = head.template[:, 1].max(), head.mesh().landmarks()[CHIN, 1]
    back = head.template[head.regions["scalp"], 2].min()
    root_of_nose = head.mesh().landmarks()[168, 2]
    assert abs(crown + chin) / 2 < 0.005
    assert abs(back + root_of_nose) / 2 < 0.012


def test_samples_have_human_measures(head: HeadModel, samples: torch.Tensor):
    mesh = head.mesh(samples)
    millimetres = {
        "interpupillary": (mesh.joints[:, 3] - mesh.joints[:, 4]).norm(dim=-1) * 1000,
        "bizygomatic": (mesh.landmarks()[:, LEFT_CHEEK] - mesh.landmarks()[:, RIGHT_CHEEK]).norm(dim=-1) * 1000,
        "menton_vertex": (mesh.vertices[..., 1].amax(1) - mesh.landmarks()[:, CHIN, 1]) * 1000,
    }
    # Adults' mean and twice the pooled spread of the ANSUR survey.
    for name, (low, high) in {
        "interpupillary": (55, 72),
        "bizygomatic": (120, 158),
        "menton_vertex": (195, 255),
    }.items():
        values = millimetres[name]
        inside = ((values > low) & (values < high)).float().mean()
        assert inside > 0.95, (name, values.min(), values.mean(), values.max())
    assert millimetres["interpupillary"].mean() == pytest.approx(63.5, abs=2)
    assert millimetres["menton_vertex"].mean() == pytest.approx(225, abs=8)


@pytest.mark.parametrize("start", range(0, 12, 4))
def test_eyeballs_show_only_between_their_lids(head: HeadModel, samples: torch.Tensor, start: int):
    camera = orbit(torch.zeros(1), torch.zeros(1), radius=1.0, focal=4.0, size=320)
    for identity in samples[start : start + 4]:
        mesh = head.mesh(identity)
        seen = rasterize(mesh.vertices, mesh.faces, camera)
        lids, _ = camera.project(mesh.landmarks())
        for side, ring in LID_RINGS.items():
            on_ball = head.regions[side][mesh.faces[:, 0]][seen.face.clamp(min=0)] & seen.mask
            opening = Image.new("L", (320, 320))
            ImageDraw.Draw(opening).polygon([(float(x), float(y)) for x, y in lids[0, ring]], fill=1)
            allowed = binary_dilation(np.asarray(opening), iterations=2)  # 1.6 mm
            assert on_ball.sum() > 40
            assert (on_ball.numpy() & ~allowed).sum() < 0.06 * on_ball.sum()


def test_samples_depend_on_the_generator_alone(head: HeadModel):
    a, b = (head.sample(torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(head.sample(torch.Generator().manual_seed(7), scale=0.0), torch.zeros(head.identity_size))


def test_identity_prior_is_rigid_free(head: HeadModel):
    """No component turns or moves the skull: the best rigid motion explains little of it."""
    skull = head.regions["skull"]
    points = head.template[skull] - head.template[skull].mean(0)
    for component in head.identity_basis[:20]:
        shift = component[skull].mean(0)
        spin = torch.linalg.cross(points, component[skull]).mean(0) / (points**2).sum(-1).mean()
        size = component[skull].norm(dim=-1).mean()
        assert shift.norm() < 0.25 * size + 2e-5
        assert spin.norm() * points.norm(dim=-1).mean() < 0.25 * size + 2e-5


def test_wrong_input_says_what_is_wrong(head: HeadModel):
    with pytest.raises(HeadModelError, match=r"identity \[\.\.\., 100\]"):
        head.mesh(identity=torch.zeros(99))
    with pytest.raises(HeadModelError, match="rotations"):
        head.mesh(rotations=torch.zeros(3))
    with pytest.raises(HeadModelError, match="no head model named 'nobody'"):
        load_head_model("nobody")


@pytest.mark.parametrize("damage", [b"", b"not an archive", None])
def test_a_damaged_file_is_refused(damage: bytes | None):
    content = (resources.files("gen3dface.heads") / "data" / "open_head.npz").read_bytes()
    with pytest.raises(HeadModelError, match="damaged"):
        read_open_head(io.BytesIO(content[: len(content) // 2] if damage is None else damage))


def test_no_changed_byte_raises_anything_else():
    """In the zip's directory, where a byte may name another compression, a password or another file."""
    content = (resources.files("gen3dface.heads") / "data" / "open_head.npz").read_bytes()
    random, directory = np.random.default_rng(0), content.index(b"PK\x01\x02")
    for place in [*range(directory, directory + 46), *random.integers(0, len(content), 10)]:
        changed = bytearray(content)
        changed[place] ^= int(random.integers(1, 256))
        with suppress(HeadModelError):  # a byte of no consequence may change
            read_open_head(io.BytesIO(changed))
