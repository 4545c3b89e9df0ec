"""The mesh branch as formulas in float64: sparse convolutions as dense ones with the inactive voxels held at zero."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conversion.reference_geometry import cube, interpolate, unproject
from tests.conversion.reference_maths import Weights, view_encoder

VOXEL = 0.005
WIDTHS = (16, 32, 64)


_FAR = (17, 21, 15)  # the last voxel (z, y, x)


def vertices(w: Weights, count: int, batch: int = 1) -> Tensor:
    """[batch, count, 3], no two in one voxel and none near a voxel's border."""
    heads = []
    for row in range(batch):
        inner = torch.randperm(16 * 20 * 14, generator=w.generator)[: count - 2]
        zyx = torch.stack([inner // (20 * 14), inner // 14 % 20, inner % 14], -1) + 1.0
        zyx += 0.4 * (torch.rand(zyx.shape, generator=w.generator) - 0.5)
        corners = torch.stack([torch.zeros(3), torch.tensor(_FAR) + 0.1])
        heads.append((torch.cat([corners, zyx]) * VOXEL).flip(-1) - 0.04 + 0.01 * row)
    return torch.stack(heads)


def mesh_branch(w: Weights, x: dict[str, Tensor], image: int, size: int, prefix: str = "") -> dict[str, Tensor]:
    """Noisy latents [B, N, 4, h, h] to a volume [B, 64, V, V, V], with what lies between."""
    inner = w.under(prefix)
    rows = zip(x["x"], x["t_embed"], x["v_embed"], x["target_RT"], x["target_K"], x["vertices"], strict=True)
    encoded, at_vertices, fused, volumes = [], [], [], []
    boxes = [_box(v) for v in x["vertices"]]
    shape = tuple(max(b[2][a] for b in boxes) for a in range(3))
    for latents, t, v, poses, ks, points in rows:
        count = len(latents)
        features = view_encoder(
            inner.under("target_encoder."), latents.double(), t.double().expand(count, -1), v.double(), 16, 16
        )["output"]
        seen, _ = unproject(features, poses, ks[:, :3, :3], image, size)
        read = torch.stack([interpolate(s, (points.double() + 0.5) * (size - 1)) for s in seen])
        name = "smpl_feature_extractor.conv0"
        weight, bias = inner.get(f"{name}.weight", (16, 16, 1), 0.25), inner.get(f"{name}.bias", (16,), 0.3)
        mixed = torch.stack([weight[:, :, 0] @ r + bias[:, None] for r in read]).mean(0)
        coordinates, low, _ = _box(points)
        stages = sparse_network(inner.under("xyzc_net."), mixed, coordinates, shape)
        places = (cube(size).flip(-1) - low) / VOXEL / torch.tensor(shape) * 2 - 1
        sides = torch.tensor(stages["dense"].shape[1:])
        index = ((places + 1) / 2 * (sides - 1)).flip(-1)
        volumes.append(interpolate(stages["dense"], index).unflatten(-1, [size] * 3))
        encoded.append(features)
        at_vertices.append(read)
        fused.append(mixed)
    found = {"encoder": encoded, "vertex_features": at_vertices, "fused_vertex_features": fused, "volume": volumes}
    return {name: torch.stack(values) for name, values in found.items()} | {
        "coord": torch.stack([b[0] for b in boxes]),
        "out_sh": torch.tensor([shape] * len(boxes)),
    }


def _box(points: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Voxels [P, 3] (z, y, x), lowest corner [3], and the grid's shape: a multiple of four above the extent."""
    zyx = points.flip(-1)
    low, high = zyx.amin(0), zyx.amax(0)
    extent = ((high - low) / VOXEL).ceil().long().tolist()
    return ((zyx - low) / VOXEL).round().long(), low.double(), tuple(n // 4 * 4 + 4 for n in extent)


def sparse_network(w: Weights, features: Tensor, coordinates: Tensor, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """features [16, P] at voxels [P, 3] -> {"dense": [64, D / 4, H / 4, W / 4]}."""
    z, y, x = coordinates.unbind(-1)
    grid, active = features.new_zeros(16, *shape), features.new_zeros(1, *shape)
    grid[:, z, y, x], active[:, z, y, x] = features, 1.0
    for stage, width in enumerate(WIDTHS):
        if stage:
            grid = F.conv3d(grid[None], _kernel(w, f"down{stage - 1}.0", len(grid), width), stride=2, padding=1)[0]
            active = (F.max_pool3d(active[None], 3, 2, 1)[0] > 0).to(grid)
            grid = _norm(w, f"down{stage - 1}.1", grid) * active
        for layer in range(2 + (stage == 2)):
            grid = F.conv3d(grid[None], _kernel(w, f"conv{stage}.{3 * layer}", width, width), padding=1)[0]
            grid = _norm(w, f"conv{stage}.{3 * layer + 1}", grid) * active
    return {"dense": grid}


def _kernel(w: Weights, name: str, inputs: int, outputs: int) -> Tensor:
    stored = w.get(f"{name}.weight", (outputs, 3, 3, 3, inputs), (inputs * 8) ** -0.5)
    return stored.permute(0, 4, 1, 2, 3)


def _norm(w: Weights, name: str, grid: Tensor) -> Tensor:
    """Batch norm by its running statistics, then ReLU."""
    count = len(grid)
    mean, spread = w.get(f"{name}.running_mean", (count,), 0.2), w.get(f"{name}.running_var", (count,), 0.1, 1.0)
    w.tensors.setdefault(f"{w.prefix}{name}.num_batches_tracked", torch.tensor(3))
    scaled = (grid - mean[:, None, None, None]) / (spread[:, None, None, None] + 1e-3).sqrt()
    return w.affine(name, scaled[None], 1)[0].relu()
