"""The recogniser against dlib itself, and the loss that is made from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gen3dface.cameras import Cameras, orbit, rig
from gen3dface.examples import example_photo
from gen3dface.heads import load_head_model
from gen3dface.pipelines.prepared import Prepared
from gen3dface.training.identity import IdentityLoss, face_chips, shows_face
from gen3dface.training.recogniser import CHIP, SAME_PERSON, FaceRecogniser

# thousandths, by dlib 20.0.1's compute_face_descriptor with its own weights, of the chip below
DLIB = """
-61 61 65 -72 -157 -25 -10 -147 102 -128 235 -38 -311 -24 34 169 -163 -170 -149 -85 27 32 13 59 -240 -286 -68
-89 -11 -47 -14 69 -85 30 82 103 -17 -133 138 -66 -254 -24 53 222 219 -76 27 -92 139 -273 18 82 76 108 63 -147
48 253 -314 -32 62 -133 4 -111 171 148 -191 -131 156 -215 -48 61 -126 -192 -304 -16 421 216 -183 -58 -37 6 31 40
-71 -32 -114 51 198 -36 29 307 40 -19 58 106 -142 -16 -96 36 -72 -126 71 107 -136 213 -26 16 -35 -15 -31 -73 152
-288 73 192 87 161 -15 52 -67 -76 -180 -31 56 -82 44 53
"""
EYES = torch.tensor([0.0, 0.0, 0.08])


@pytest.fixture(scope="module")
def recogniser() -> FaceRecogniser:
    return FaceRecogniser()


def _chip(name: str, box: tuple[int, int, int, int]) -> Tensor:
    """[1, 3, 150, 150] of a face."""
    with Image.open(example_photo(name)) as photo:
        face = photo.convert("RGB").crop(box).resize((CHIP, CHIP), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].float() / 255


def _head(views: Cameras) -> Prepared:
    """The astronaut before the first camera of `head360`."""
    photo = F.interpolate(_chip("astronaut", (150, 40, 300, 190)), (32, 32), mode="area")[0]
    return Prepared(photo, torch.ones(1, 32, 32), rig("head360", 32)[[0]], views, load_head_model().template)


def test_it_says_what_dlib_says(recogniser: FaceRecogniser) -> None:
    """To the precision of weights kept in a byte."""
    found = recogniser(_chip("astronaut", (179, 65, 269, 175)))[0].numpy()
    assert np.linalg.norm(found - np.array(DLIB.split(), float) / 1000) < 0.05 < SAME_PERSON / 10
    assert np.linalg.norm(found) > 1


def test_the_chip_holds_the_eyes_where_the_recogniser_wants_them() -> None:
    """Bright dots at the eyes' outer corners, seen upright and by a camera that lies on its side."""
    upright = orbit(torch.zeros(1), torch.zeros(1), radius=1.8, focal=4.5, size=512)
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    lying = Cameras(turn @ upright.world_to_camera, upright.intrinsics, 512, 512)
    corners = EYES + torch.tensor([[-0.04512, 0.0, 0.0], [0.04512, 0.0, 0.0]])
    for camera in (upright, lying):
        picture = torch.zeros(1, 3, 512, 512)
        for x, y in camera.project(corners)[0][0].floor().long().tolist():
            picture[..., y - 1 : y + 2, x - 1 : x + 2] = 1
        chip = face_chips(picture, camera, EYES)[0, 0]
        for half, wanted in ((chip[:, :75], 37), (chip[:, 75:], 111 - 75)):
            row, column = np.unravel_index(int(half.argmax()), half.shape)
            assert abs(row - 46) <= 3 and abs(column - wanted) <= 3


def test_which_views_show_the_face() -> None:
    shown = shows_face(rig("head360", 32))
    assert shown.nonzero()[:, 0].tolist() == [0, 1, 2, 3, 4, 12, 13, 14, 15]
    assert not shows_face(rig("orbit48", 32))[:16].any(), "from far below"


def test_the_loss_is_zero_for_the_photo_itself_and_leads_back_to_it() -> None:
    loss, head = IdentityLoss(), _head(rig("head360", 32)[[0, 8]])
    same = torch.stack([head.image, torch.ones(3, 32, 32)])[None]
    noise = 0.2 * torch.randn(same.shape, generator=torch.Generator().manual_seed(0))
    other = (same + noise).clamp(0, 1).requires_grad_(True)
    assert loss(same, [head]).item() < 1e-6
    apart = loss(other, [head])
    assert apart.item() > 0.01
    (gradient,) = torch.autograd.grad(apart, [other])
    assert gradient[0, 0].any() and not gradient[0, 1].any(), "the back shows no face"
    assert loss(other - 0.02 * gradient / gradient.norm(), [head]).item() < apart.item()
    behind = replace(head, views=rig("head360", 32)[[7, 8]])
    assert loss(other, [behind]).item() == 0
