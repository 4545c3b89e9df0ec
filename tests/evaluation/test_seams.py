"""Textures whose seams show as much as they were made to."""

import numpy as np
import pytest
import torch

from gen3dface.evaluation.seams import seam_ratio
from gen3dface.raster import rasterize_uv
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.surface_texture import _charts
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.texture import fill_gutters
from tests.recon.scenes import egg, painted

SIZE = 1024


def _egg(step: float) -> TexturedHead:
    """The painted egg in charts, one half of the texture brighter by `step`."""
    vertices, faces = egg()
    faces, uvs, uv_faces = _charts(Mesh(vertices, faces))
    texels = rasterize_uv(uvs, uv_faces, SIZE)
    picture = fill_gutters(texels.scatter(painted(texels.gather(vertices, faces))).permute(2, 0, 1), texels.mask)
    picture = picture * 0.8
    picture[..., SIZE // 2 :] += step
    texture = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return TexturedHead(vertices.numpy(), faces.numpy(), uvs.numpy(), uv_faces.numpy(), texture.numpy())


def test_one_colour_field_in_many_charts_has_no_seams() -> None:
    assert seam_ratio(_egg(0.0)) == pytest.approx(1, abs=0.25)


def test_charts_of_other_brightness_show() -> None:
    """Where a seam joins the two halves; more brightness, more to see."""
    assert seam_ratio(_egg(0.1)) > 2
    assert seam_ratio(_egg(0.2)) > seam_ratio(_egg(0.1)) + 1


def test_one_chart_has_none() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32) / 100
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    head = TexturedHead(corners, faces, corners[:, :2] * 100, faces, np.zeros((8, 8, 3), np.uint8))
    assert np.isnan(seam_ratio(head))
