"""Large steps over a mesh: vertices move as a smooth whole, whatever single ones are asked for.

Nicolet, Jacobson and Jakob, 2021, "Large Steps in Inverse Rendering of Geometry": instead of vertices x, the optimiser
moves u = (I + lambda L) x, L the graph's Laplacian, so that a gradient g of x becomes a step (I + lambda L)^-1 g, which
is smooth; Adam's second moment is one number for all coordinates, else it would undo that (their
`AdamUniform`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from gen3dface.recon.extraction import directed_edges

_MOMENTS = (0.9, 0.99)
_TINY = 1e-12


class LargeSteps:
    """The state of the optimiser.

    Args:
        vertices: [V, 3] to begin from. faces: [F, 3]. stiffness: lambda; more moves wider surroundings together.
    """

    def __init__(self, vertices: Tensor, faces: Tensor, stiffness: float) -> None:
        system = sparse.identity(len(vertices)) + stiffness * graph_laplacian(faces.cpu().numpy(), len(vertices))
        self._solver = splu(system.tocsc())
        self._hidden = torch.from_numpy(system @ vertices.double().cpu().numpy()).to(vertices)
        self._mean, self._square = torch.zeros_like(vertices), vertices.new_zeros(())
        self._count = 0

    def vertices(self) -> Tensor:
        """[V, 3] where they are."""
        return self._smoothed(self._hidden)

    def step(self, gradient: Tensor, rate: float) -> None:
        """Move against the vertices' gradient [V, 3] by about `rate`, a change of u."""
        smooth, (first, second) = self._smoothed(gradient), _MOMENTS
        self._count += 1
        self._mean = first * self._mean + (1 - first) * smooth
        self._square = second * self._square + (1 - second) * smooth.square().max()
        spread = (self._square / (1 - second**self._count)).sqrt() + _TINY
        self._hidden = self._hidden - rate * self._mean / (1 - first**self._count) / spread

    def _smoothed(self, values: Tensor) -> Tensor:
        return torch.from_numpy(self._solver.solve(values.double().cpu().numpy())).to(values)


def graph_laplacian(faces: NDArray[np.int64], count: int) -> sparse.csr_matrix:
    """[V, V] the number of each vertex's neighbours on the diagonal, -1 for each of them."""
    edges = directed_edges(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    near = sparse.csr_matrix((np.ones(len(both)), both.T), shape=(count, count)).sign()
    return (sparse.diags(np.asarray(near.sum(1)).ravel()) - near).tocsr()
