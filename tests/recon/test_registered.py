"""Baking and assembling on a head whose texture is known."""

from dataclasses import replace

import numpy as np
import torch

from gen3dface.bake import Picture, bake
from gen3dface.cameras import rig
from gen3dface.heads.anatomy import inner_parts
from gen3dface.pipelines import MultiViewOutput, project_views
from gen3dface.raster import rasterize_uv
from gen3dface.recon import reconstruct, render_head
from gen3dface.render import render
from tests.synthetic_head import SyntheticHead, synthetic_head


def _true_views(head: SyntheticHead, size: int = 256) -> MultiViewOutput:
    cameras = rig("head360", size)
    return MultiViewOutput(*render(head.surface, head.texture, cameras), cameras, head.fit)


def test_sixteen_true_views_bake_to_the_true_texture() -> None:
    head = synthetic_head(0.0)
    views = _true_views(head)
    pictures = [Picture(i, m[0], c) for i, m, c in zip(views.images, views.masks, views.cameras, strict=True)]
    baked = bake(head.surface, pictures, torch.zeros(3, 512, 512))
    outer = head.model.regions["face"] | head.model.regions["scalp"]
    texels = rasterize_uv(head.surface.uvs, head.surface.uv_faces, 512)
    inside = texels.interpolate(outer.float()[:, None], head.surface.faces)[..., 0] > 0.99
    seen = inside & (baked.confidence > 0.3)
    assert seen.sum() > 0.8 * inside.sum()
    error = (baked.colour - head.texture).abs().mean(0)[seen]
    assert error.mean() < 0.03


def test_unseen_and_inner_texels_keep_the_base() -> None:
    head = synthetic_head(0.0)
    views = _true_views(head, 128)
    base = torch.full((3, 256, 256), 0.125)
    eyes = head.model.regions["left_eye"] | head.model.regions["right_eye"]
    picture = Picture(views.images[0], views.masks[0, 0], views.cameras[0])
    baked = bake(head.surface, [picture], base, ~eyes)
    texels = rasterize_uv(head.surface.uvs, head.surface.uv_faces, 256)
    unseen = texels.mask & (baked.confidence == 0)
    assert unseen.any()
    assert (baked.colour[:, unseen] == 0.125).all()
    on_eye = texels.interpolate(eyes.float()[:, None], head.surface.faces)[..., 0] > 0.99
    assert (baked.colour[:, on_eye] == 0.125).all()


def test_the_head_looks_like_its_photo_and_its_views() -> None:
    head = synthetic_head(0.0)
    views = _true_views(head)
    made = reconstruct(head.portrait, head.fit, views, model=head.model, texture_size=512)
    again = render_head(made, views.cameras)
    # unseen under the chin, inside the mouth and at grazing angles: the median is what a viewer sees
    errors = (again - views.images).abs().mean(1)[views.masks[:, 0] > 0.99]
    assert errors.median() < 0.02
    assert errors.mean() < 0.05


def test_a_texture_that_comes_with_the_views_is_the_base_where_its_size_fits() -> None:
    head = synthetic_head(0.0)
    views = project_views(head.portrait, head.fit, size=64, texture_size=128)
    assert views.texture is not None
    alone = replace(views, texture=None)
    made, again = (reconstruct(head.portrait, head.fit, v, texture_size=128).texture for v in (views, alone))
    np.testing.assert_array_equal(made, again)
    grey = replace(views, texture=torch.full((3, 128, 128), 0.5))
    texels = rasterize_uv(head.surface.uvs, head.surface.uv_faces, 128)
    inner = texels.interpolate(inner_parts(head.model).float()[:, None], head.surface.faces)[..., 0] > 0.99
    assert (reconstruct(head.portrait, head.fit, grey, texture_size=128).texture[inner] == 128).all()
    assert reconstruct(head.portrait, head.fit, grey, texture_size=64).texture.shape == (64, 64, 3)


def test_the_rig_is_the_models() -> None:
    head = synthetic_head(0.0)
    made = reconstruct(head.portrait, head.fit, _true_views(head, 64), model=head.model, texture_size=128)
    assert made.morph_names == head.model.expression_names
    assert made.skeleton is not None
    assert made.skeleton.names == head.model.joint_names
    torch.testing.assert_close(
        torch.from_numpy(made.vertices), head.model.mesh(head.fit.identity).vertices, atol=1e-6, rtol=0
    )
    assert {made.materials[i].name for i in made.face_materials} == {"skin", "eyes"}
