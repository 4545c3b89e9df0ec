"""A generator's head as a mesh, where its density crosses a level, and as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import trimesh
from skimage.measure import marching_cubes
from torch import Tensor
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.ply import export_ply

from gen3dface.data_synth.panohead.generator import Generator
from gen3dface.errors import ConfigError, EstimationError
from gen3dface.files import write_atomically
from gen3dface.similarity import Similarity

SUFFIXES = (".glb", ".ply")
LEVEL = 10.0  # of the density before its softplus: opaque within a hundredth of the cube's side
_CHUNK = 1 << 18  # points looked up together


@torch.no_grad()
def head_mesh(
    generator: Generator, planes: Tensor, placed: Similarity, resolution: int = 256, level: float = LEVEL
) -> tuple[Tensor, Tensor]:
    """Vertices [V, 3] in metres in the estimated head's frame, and faces [F, 3], by marching cubes.

    Args:
        planes: [1, ...] of one identity. placed: from the generator's world to the head's, as in `HeadSampler`.
        resolution: grid points a side of the generator's cube.

    Raises:
        EstimationError: the density nowhere crosses the level.
    """
    config = generator.config.rendering
    axis = (torch.arange(resolution) + 0.5) / resolution * config.side - config.side / 2
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(1, -1, 3)
    parts = [generator.points(planes, part.to(planes.device))[1][0, :, 0].cpu() for part in points.split(_CHUNK, 1)]
    density = torch.cat(parts)
    if config.crop is not None:
        density[(points[0, :, ::2].abs() > config.crop).any(1)] = -1e3
    grid = density.view(resolution, resolution, resolution).numpy()
    if not grid.min() < level < grid.max():
        raise EstimationError(f"The density lies between {grid.min():.1f} and {grid.max():.1f}: no surface at {level}.")
    vertices, faces, _, _ = marching_cubes(grid, level, spacing=(config.side / resolution,) * 3)
    there = torch.from_numpy(vertices.copy()).float() + axis[0]
    # density grows inward, so marching cubes' triangles have to be turned to face outward
    return placed(there), torch.from_numpy(np.ascontiguousarray(faces[:, ::-1]).astype(np.int64))


def write_mesh(vertices: Tensor, faces: Tensor, path: Path) -> None:
    """Write a mesh with smooth normals, in the format that the suffix names.

    Raises:
        ConfigError: another suffix than `SUFFIXES`. OutputError: it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"A mesh is written as {' or '.join(SUFFIXES)}, not as '{path.name}'.")
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    content = export_glb(mesh, include_normals=True) if suffix == ".glb" else export_ply(mesh, vertex_normal=True)
    write_atomically(path, content)
