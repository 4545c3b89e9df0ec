"""From a field to a mesh: one closed surface, as many triangles as wanted."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

import fast_simplification
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from skimage.measure import marching_cubes
from torch import Tensor

from gen3dface.errors import ReconstructionError
from gen3dface.recon.distance_grid import DistanceGrid

logger = logging.getLogger(__name__)

_OFF_CORNERS = 1e-3  # grid steps that a surface keeps from the grid's corners


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh."""

    vertices: Tensor  # [V, 3] metres
    faces: Tensor  # [F, 3] int64, counter-clockwise seen from outside

    def is_closed(self) -> bool:
        """Whether every edge belongs to two triangles that run along it in opposite directions.

        Vertices at one place are one here, as they are to the programs that read the file.
        """
        _, welded = np.unique(self.vertices.numpy(), axis=0, return_inverse=True)
        first, second = directed_edges(welded.reshape(-1)[self.faces.numpy()]).astype(np.int64).T
        codes, back = first * len(self.vertices) + second, second * len(self.vertices) + first
        return len(np.unique(codes)) == len(codes) and bool(np.isin(back, codes).all())

    def volume(self) -> float:
        """Cubic metres enclosed; negative when the faces look inward."""
        a, b, c = self.vertices.double()[self.faces].unbind(1)
        return float((a * torch.linalg.cross(b, c)).sum() / 6)


def directed_edges(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """[3 F, 2] the edges of triangles [F, 3] in the direction in which these run."""
    return np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)


def extract_mesh(grid: DistanceGrid, faces: int | None = 40_000) -> Mesh:
    """The largest surface where a grid's distances are 0, closed where it meets the cube's sides.

    Marching cubes (Lewiner et al., 2003), then quadric edge collapse (Garland and Heckbert, 1997) down to `faces`
    triangles, kept only as long as it leaves the surface closed; None: all of them.

    Raises:
        ReconstructionError: there is no surface.
    """
    near = grid.values.clamp(-grid.step, grid.step)
    # a distance of 0 at a corner would put the vertices of all edges that meet there at one place
    least = _OFF_CORNERS * grid.step
    near = torch.where(near.abs() < least, least, near)
    # a layer of "outside" around the cube closes what it cuts
    values = F.pad(near[None, None], (1,) * 6, value=grid.step)[0, 0].cpu().numpy()
    if not (values < 0).any():
        raise ReconstructionError("No surface was found: the views show nothing in the volume around the head.")
    found, triangles, _, _ = marching_cubes(values, 0.0)
    vertices = (found[:, ::-1].astype(np.float64) - 1) * grid.step - grid.side / 2
    whole = _largest(vertices, triangles[:, ::-1].astype(np.int64))
    if whole.volume() < 0:
        whole = Mesh(whole.vertices, whole.faces.flip(1))
    return whole if faces is None or len(whole.faces) <= faces else _decimated(whole, faces)


def _largest(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Mesh:
    """The part with the most triangles; its vertices alone."""
    edges = directed_edges(faces)
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(vertices),) * 2)
    _, part = sparse.csgraph.connected_components(graph, directed=False)
    kept = faces[part[faces[:, 0]] == np.bincount(part[faces[:, 0]]).argmax()]
    used, renumbered = np.unique(kept, return_inverse=True)
    return Mesh(torch.from_numpy(vertices[used]).float(), torch.from_numpy(renumbered.reshape(-1, 3)))


def _decimated(mesh: Mesh, faces: int) -> Mesh:
    """About `faces` triangles; where the collapses pinch the surface, gentler ones and slightly fewer are tried."""
    for aggression, share in itertools.product((5, 3, 1), (1.0, 0.98, 0.95)):
        vertices, triangles = fast_simplification.simplify(
            mesh.vertices.numpy(),
            mesh.faces.numpy().astype(np.int32),
            target_count=int(share * faces),
            agg=aggression,
        )
        fewer = _largest(vertices.astype(np.float64), triangles.astype(np.int64))
        if fewer.is_closed():
            return fewer
    logger.warning("no decimation to %d triangles leaves the surface closed; all %d stay", faces, len(mesh.faces))
    return mesh
