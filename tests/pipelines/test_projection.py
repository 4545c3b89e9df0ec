"""The projection baseline on a head whose looks are known from every side."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gen3dface.cameras import rig
from gen3dface.pipelines import project_views
from gen3dface.pipelines.appearance import photo_texture, vertex_parts
from gen3dface.pipelines.hair_detail import _quilt, hair_detail
from gen3dface.raster import rasterize
from gen3dface.render import box_mean, render
from tests.synthetic_head import SyntheticHead, synthetic_head


def _error_where(head: SyntheticHead, view: int, region: str, side: float = 0.0) -> float:
    """Mean absolute error of a view inside a region of the head (on the side where x * side > 0)."""
    camera = rig("head360", 192)[view]
    made = project_views(head.portrait, head.fit, camera).images
    truth, _ = render(head.surface, head.texture, camera)
    inside = head.model.regions[region] & (head.surface.vertices[:, 0] * side >= 0)
    seen = rasterize(head.surface.vertices, head.surface.faces, camera, cull_back=True)
    chosen = seen.interpolate(inside.float()[:, None], head.surface.faces)[..., 0] > 0.99
    assert chosen.sum() > 200
    return (made - truth)[0].abs().mean(0)[chosen].mean().item()


def test_the_seen_face_comes_back() -> None:
    assert _error_where(synthetic_head(0.0), 0, "face") < 0.02
    assert _error_where(synthetic_head(0.0), 1, "face") < 0.04


@pytest.mark.parametrize(("azimuth", "view", "hidden"), [(40.0, 14, -1.0), (-40.0, 2, 1.0)])
def test_the_far_side_is_the_mirrored_near_side(azimuth: float, view: int, hidden: float) -> None:
    head = synthetic_head(azimuth)
    error = _error_where(head, view, "face", hidden)
    wrong = (head.texture - head.texture.mean((1, 2), keepdim=True)).abs().mean().item()
    assert error < 0.5 * wrong  # far below what a mean colour would score


def test_views_share_one_head_and_a_white_background() -> None:
    head = synthetic_head(0.0)
    views = project_views(head.portrait, head.fit, size=64)
    assert len(views) == 16
    _, masks = render(head.surface, head.texture, rig("head360", 64))
    assert torch.equal(views.masks, masks)
    empty = (views.masks == 0).expand_as(views.images)
    assert (views.images[empty] == 1).all()


def test_confidence_says_what_was_seen() -> None:
    head = synthetic_head(40.0)
    made = photo_texture(head.portrait, head.fit.camera, head.surface, head.model, size=256)
    back = _texel_mean(head, made.confidence, head.surface.vertices[:, 2] < -0.05)
    near = _texel_mean(head, made.confidence, head.model.regions["face"] & (head.surface.vertices[:, 0] > 0.02))
    far = _texel_mean(head, made.confidence, head.model.regions["face"] & (head.surface.vertices[:, 0] < -0.05))
    assert near > 0.6
    assert back < 0.05
    assert back < far <= 0.5


def _texel_mean(head: SyntheticHead, image: Tensor, vertices: Tensor) -> float:
    from gen3dface.raster import rasterize_uv

    texels = rasterize_uv(head.surface.uvs, head.surface.uv_faces, image.shape[-1])
    inside = texels.interpolate(vertices.float()[:, None], head.surface.faces)[..., 0] > 0.99
    return image[inside].mean().item()


def test_parts_come_from_the_photo() -> None:
    head = synthetic_head(0.0)
    shares = vertex_parts(head.portrait, head.fit.camera, head.surface, head.model)
    torch.testing.assert_close(shares.sum(1), torch.ones(len(shares)))
    assert (shares[head.model.regions["face"], 3] > 0.9).all()  # the photo is all skin
    assert (shares[head.model.regions["left_eye"], 0] == 1).all()


def test_quilted_strands_keep_their_contrast_and_meet_behind_the_head() -> None:
    noise = np.random.default_rng(1).normal(size=(200, 200)).astype(np.float32)
    corners = np.argwhere(np.ones((160, 160)))
    quilt = _quilt(noise, corners, 36, np.random.default_rng(2))
    assert abs(quilt.std().item() - 1) < 0.05  # the weights' squares sum to 1 under the root
    smooth = box_mean(torch.from_numpy(noise), 4).numpy()
    quilt = _quilt(smooth, corners, 36, np.random.default_rng(2))
    step = (quilt[:, 1:] - quilt[:, :-1]).abs().mean()
    assert (quilt[:, 0] - quilt[:, -1]).abs().mean() < 1.3 * step


def test_a_photo_without_hair_gives_no_strands() -> None:
    head = synthetic_head(0.0)
    factors = hair_detail(head.portrait, head.fit.camera, head.surface.vertices)
    assert torch.equal(factors, torch.ones_like(factors))
