"""Multi-resolution hash encoding: features of points from grids of growing resolution, whose corners share a table."""

from __future__ import annotations

import importlib.util
import math

import torch
from torch import Tensor, nn

_PRIMES = (1, 2_654_435_761, 805_459_861)  # the paper's, eq. 4


class HashEncoding(nn.Module):
    """Müller et al., 2022, "Instant Neural Graphics Primitives with a Multiresolution Hash Encoding", section 3.

    Level l has N_l = floor(N_min b^l) cells a side. The corners of a level that fits its table have a row each; finer
    levels share rows by a spatial hash. Points carry no gradient: normals are taken as finite differences.

    Args:
        levels, features: L levels with F features each. log2_rows: of the table of each level.
        coarsest, finest: N_min and N_max, cells a side.
        compiled: on the CPU, use numba's loops (`hash_kernels`) instead of PyTorch; None: where numba is installed.
    """

    origin: Tensor
    cells: Tensor
    factors: Tensor

    def __init__(
        self,
        levels: int = 8,
        features: int = 2,
        log2_rows: int = 16,
        coarsest: int = 16,
        finest: int = 256,
        compiled: bool | None = None,
    ) -> None:
        super().__init__()
        self.compiled = bool(importlib.util.find_spec("numba")) if compiled is None else compiled
        growth = math.exp(math.log(finest / coarsest) / max(levels - 1, 1))
        cells = [math.floor(coarsest * growth**level + 1e-6) for level in range(levels)]
        self.features, self.rows = features, 1 << log2_rows
        self.dense = sum((n + 1) ** 3 <= self.rows for n in cells)  # the first levels
        sizes = [(n + 1) ** 3 if level < self.dense else self.rows for level, n in enumerate(cells)]
        self.register_buffer("cells", torch.tensor(cells), persistent=False)
        self.register_buffer("origin", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)
        strides = [(1, n + 1, (n + 1) ** 2) for n in cells[: self.dense]]
        factors = torch.tensor([*strides, *[_PRIMES] * (levels - self.dense)])  # [L, 3] of a corner's coordinates
        self.register_buffer("factors", factors, persistent=False)
        self.table = nn.Parameter(torch.empty(sum(sizes), features).uniform_(-1e-4, 1e-4))  # section 3
        self.width = levels * features

    def forward(self, points: Tensor) -> Tensor:
        """Features [P, L F] of points [P, 3] in 0..1; what lies beyond takes the nearest point's."""
        points = points.detach()
        if self.compiled and points.device.type == "cpu":
            from gen3dface.recon.hash_kernels import encode

            return encode(points.contiguous(), self.table, self.cells, self.origin, self.dense, self.rows)
        scaled = points.clamp(0, 1)[:, None] * self.cells[:, None]  # [P, L, 3]
        low = torch.minimum(scaled.floor(), self.cells[:, None] - 1.0)
        weights = _corners(1 - scaled + low, scaled - low, torch.mul)
        rows = self._rows(low.long()) + self.origin[:, None]
        found = self.table.index_select(0, rows.flatten())  # of all levels at once; its gradient is added in place
        return (found.unflatten(0, weights.shape) * weights[..., None]).sum(2).flatten(1)

    def _rows(self, low: Tensor) -> Tensor:
        """Rows [P, L, 8] within each level's part of the table of the cells whose lower corners are [P, L, 3]."""
        first = low * self.factors
        last, dense = first + self.factors, self.dense
        whole = _corners(first[:, :dense], last[:, :dense], torch.add)
        hashed = _corners(first[:, dense:], last[:, dense:], torch.bitwise_xor) & (self.rows - 1)
        return torch.cat([whole, hashed], 1)


def _corners(low: Tensor, high: Tensor, combine: object) -> Tensor:
    """One value [..., 8] for each corner of a cell from those of its lower and upper sides [..., 3]."""
    x, y, z = torch.stack([low, high], -1).unbind(-2)  # [..., 2] each
    assert callable(combine)
    plane = combine(x[..., :, None], y[..., None, :]).flatten(-2)
    corners: Tensor = combine(plane[..., :, None], z[..., None, :]).flatten(-2)
    return corners
