"""Views without a photo to a head that can be animated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.data import astronaut

from gen3dface.cameras import rig
from gen3dface.estimators import estimate
from gen3dface.heads import load_head_model
from gen3dface.photo import load_portrait
from gen3dface.pipelines import MultiViewOutput, project_views
from gen3dface.recon import SurfaceConfig, TexturedHead, reconstruct_surface
from gen3dface.recon.fit_field import FieldConfig
from gen3dface.recon.fit_mesh import MeshConfig

QUICK = SurfaceConfig(
    mesh=MeshConfig(steps=40),
    field=FieldConfig(steps=60, rays=512),
    resolution=96,
    faces=10_000,
    texture_size=256,
    topology="registered",
)


@pytest.fixture(scope="module")
def views() -> MultiViewOutput:
    portrait = load_portrait(astronaut())
    return project_views(portrait, estimate(portrait), rig("head360", 128))


@pytest.fixture(scope="module", params=["mesh", "field"])
def head(views: MultiViewOutput, request: pytest.FixtureRequest) -> TexturedHead:
    return reconstruct_surface(views, replace(QUICK, method=request.param), progress=False)


def test_the_file_is_valid_and_animatable(
    head: TexturedHead, tmp_path: Path, validate_gltf: Callable[[Path], dict[str, Any]]
) -> None:
    head.export(tmp_path / "head.glb")
    report = validate_gltf(tmp_path / "head.glb")
    assert report["issues"]["numErrors"] == 0 and report["issues"]["numWarnings"] == 0
    assert len(head.morph_names) == 52 and head.skeleton is not None


def test_expressions_move_the_right_parts(head: TexturedHead) -> None:
    regions = {name: region.numpy() for name, region in load_head_model().regions.items()}
    lips, lids = head.vertices[regions["lips"]], head.vertices[regions["eyelids"]]
    jaw = head.morph_deltas[head.morph_names.index("jawOpen")][regions["lips"]]
    upper = lips[:, 1] > np.median(lips[:, 1])
    assert jaw[~upper, 1].mean() < jaw[upper, 1].mean() - 0.008  # metres: the lower lip goes down
    blink = np.abs(head.morph_deltas[head.morph_names.index("eyeBlinkLeft")][regions["eyelids"]]).sum(1)
    assert blink[lids[:, 0] > 0].max() > 0.005 > 10 * blink[lids[:, 0] < 0].max()


def test_the_texture_shows_the_views(head: TexturedHead) -> None:
    """Skin on the cheeks: neither the white behind the head nor a field's grey before training."""
    texture = head.texture.astype(float)
    face = load_head_model().regions["face"].numpy()
    corners = head.uv_faces[face[head.faces].all(1)]
    at = head.uvs[corners].mean(1)
    column, row = (np.stack([at[:, 0], 1 - at[:, 1]]) * 255).round().astype(int)
    colour = np.median(texture[row, column], 0)
    assert colour[0] - colour[2] > 25 and 90 < colour.mean() < 220
