"""A folder laid out as FaceScape's, of a rendered head whose cameras are known, in other units and another frame."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen3dface.cameras import Cameras, orbit
from gen3dface.errors import DataError, NoFaceError
from gen3dface.photo import Portrait
from gen3dface.render import render
from gen3dface.training.facescape import (
    HELD_OUT_EXPRESSION,
    TEST_IDENTITIES,
    TRAIN_IDENTITIES,
    FaceScape,
    PhotoTools,
)
from tests.synthetic_head import SyntheticHead, synthetic_head

AZIMUTHS = (-120.0, -80.0, -35.0, -10.0, 15.0, 38.0, 70.0)
SIZE = 96
UNIT = 0.004  # metres a unit of the capture


def _cameras() -> Cameras:
    azimuths = torch.tensor(AZIMUTHS)
    return orbit(azimuths, torch.linspace(-10, 20, len(azimuths)), radius=1.2, focal=2.8, size=SIZE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Identity 1 with two captures (one of them held out), identity 122 with one; camera 0 is not valid."""
    root = tmp_path_factory.mktemp("facescape")
    head, cameras = synthetic_head(20.0), _cameras()
    images, _ = render(head.surface, head.texture, cameras, supersample=1)
    # the capture's frame: x_face = R (scale x) + t, with the face's units in millimetres
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    turn = turn * torch.linalg.det(turn).sign()
    scale, shift = 1000 * UNIT, torch.tensor([3.0, -8.0, 12.0])
    params: dict[str, object] = {}
    for i, camera in enumerate(cameras):
        w2c = camera.world_to_camera[0].double()
        w2c[:3, 3] *= 1000  # millimetres
        rotation = w2c[:3, :3] @ turn.double()
        translation = (w2c[:3, :3] @ shift.double() + w2c[:3, 3]) / scale
        params |= {
            f"{i}_K": camera.intrinsics[0].tolist(),
            f"{i}_Rt": torch.cat([rotation, translation[:, None]], 1).tolist(),
            f"{i}_distortion": [0.0] * 5,
            f"{i}_valid": i > 0,
        }
    frames: dict[str, dict[str, object]] = {}
    for identity, expression in ((1, 1), (1, HELD_OUT_EXPRESSION), (122, 2)):
        folder = root / str(identity) / f"{expression}_name"
        folder.mkdir(parents=True)
        for i, image in enumerate(images):
            pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / f"{i}.jpg", quality=95)
        (folder / "params.json").write_text(json.dumps(params))
        frames.setdefault(str(identity), {})[str(expression)] = [scale, torch.cat([turn, shift[:, None]], 1).tolist()]
    (root / "Rt_scale_dict.json").write_text(json.dumps(frames))
    return root


def _tools(head: SyntheticHead) -> PhotoTools:
    """What a perfect detector, estimator and matter would say; they know a photo by the rendering it resembles."""
    cameras = _cameras()
    images, masks = render(head.surface, head.texture, cameras, supersample=1)
    known = (images * 255).permute(0, 2, 3, 1).numpy()

    def which(image: np.ndarray) -> int:
        return int(np.abs(known - image).mean((1, 2, 3)).argmin())

    def portrait(image: np.ndarray) -> Portrait:
        i = which(image)
        if abs(AZIMUTHS[i]) > 60:
            raise NoFaceError("turned away")
        xy, _ = cameras[i].project(head.fit.mesh(head.model).landmarks())
        points = np.concatenate([np.nan_to_num(xy[0].numpy()), np.zeros((478, 1), np.float32)], 1)
        matte, empty = masks[i, 0].numpy(), np.zeros(image.shape[:2], np.uint8)
        return Portrait(image, (0, 0, 9, 9), 1.0, points.astype(np.float32), np.zeros(52, np.float32), matte, empty)

    def fit(photo: Portrait, focal: float) -> object:
        assert focal == pytest.approx(2.8 * SIZE)
        return replace(head.fit, camera=cameras[which(photo.image)])

    return PhotoTools(portrait, fit, lambda image, face: masks[which(image), 0].numpy())  # type: ignore[arg-type]


def test_the_folds_are_the_protocol_s() -> None:
    assert len(TRAIN_IDENTITIES) == 323 and len(TEST_IDENTITIES) == 36
    assert not TRAIN_IDENTITIES & TEST_IDENTITIES
    assert {122, 212, 326, 359} <= TEST_IDENTITIES and {1, 121, 325} <= TRAIN_IDENTITIES


def test_a_fold_holds_its_captures(root: Path) -> None:
    train, test = FaceScape(root), FaceScape(root, "test")
    assert train.keys == ["facescape-001-01"]  # expression 6 is held out
    assert test.keys == ["facescape-122-02"]
    assert train.data_hash != test.data_hash


def test_the_cameras_come_into_the_head_s_frame(root: Path) -> None:
    """The true rig, metres and all, from a capture in units of 4 mm, turned and shifted."""
    head = synthetic_head(20.0)
    sample = FaceScape(root, size=32, tools=_tools(head))[0]
    assert sample.views.shape == (6, 4, 32, 32)  # the valid ones within 90 degrees
    expected = _cameras()[list(range(1, 7))]
    torch.testing.assert_close(sample.cameras.world_to_camera, expected.world_to_camera, atol=2e-3, rtol=0)
    assert abs(sample.head.camera.azimuths.item()) <= 40
    images, masks = render(head.surface, head.texture, sample.cameras)
    apart = (sample.views[:, :3].float() / 255 - images).abs().mean()
    assert apart < 0.03
    agree = ((sample.views[:, 3:] > 127) == (masks > 0.5)).float().mean()
    assert agree > 0.98


def test_the_same_capture_gives_the_same_sample(root: Path) -> None:
    tools = _tools(synthetic_head(20.0))
    first, second = (FaceScape(root, size=32, tools=tools)[0] for _ in range(2))
    assert first.to_members() == second.to_members()


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Rt_scale_dict\.json"):
        FaceScape(tmp_path)
    (tmp_path / "Rt_scale_dict.json").write_text("{}")
    with pytest.raises(DataError, match="holds no"):
        FaceScape(tmp_path)
    folder = tmp_path / "7" / "1_neutral"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps({"0_K": [1.0]}))
    (folder / "0.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="facescape-007-01"):
        FaceScape(tmp_path)[0]
    (tmp_path / "Rt_scale_dict.json").write_text(json.dumps({"7": {"1": [1.0, np.eye(4).tolist()]}}))
    with pytest.raises(DataError, match="calibration"):
        FaceScape(tmp_path)[0]
