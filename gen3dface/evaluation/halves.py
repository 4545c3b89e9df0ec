"""Do two halves of the views tell of the same head? (MVGBench's idea)"""

from __future__ import annotations

import torch

from gen3dface.evaluation.shape.closest import Surface
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.fit_mesh import MeshConfig
from gen3dface.recon.surface import SurfaceConfig, fit_surface

LEAST_VIEWS = 8
_CONFIG = SurfaceConfig(mesh=MeshConfig(steps=25), faces=3000)


def halves_apart(views: MultiViewOutput) -> float:
    """Mean distance in millimetres between the surfaces of every other view and of the rest.

    Both start from the same estimated head, so what is measured is what the views add to it. No truth is needed; true
    views score above zero, since no half sees everything.

    Raises:
        ReconstructionError: a half's views do not fit together.
    """
    meshes = [_surface(views, list(range(start, len(views), 2))) for start in (0, 1)]
    there, back = (_distance(a, b) for a, b in (meshes, meshes[::-1]))
    return 500 * (there + back)


def _surface(views: MultiViewOutput, rows: list[int]) -> Mesh:
    index = torch.tensor(rows)
    half = MultiViewOutput(views.tensor()[index], views.masks[index], views.cameras[index], views.head)
    return fit_surface(half, _CONFIG, progress=False).mesh


def _distance(first: Mesh, second: Mesh) -> float:
    """Mean distance in metres of the first one's vertices to the second."""
    surface = Surface(second.vertices.double().numpy(), second.faces.numpy())
    return float(surface.closest(first.vertices.double().numpy()).distances.mean())
