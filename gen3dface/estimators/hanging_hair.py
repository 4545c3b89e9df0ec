"""Hair that hangs below the ears: a closed curtain round the neck, as wide as the matte says.

One photo shows the curtain's front to the left and right of the neck. A grid over the frontal plane takes those cells;
cells between them, hidden by neck and face, are filled behind the neck. Two depth layers make it a solid: the back one
runs in an arch from ear to ear behind the skull, the front one stands at the ears and, over the shoulders, before them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.heads import HeadMesh, HeadModel
from gen3dface.photo import Portrait
from gen3dface.photo.parts import HAIR
from gen3dface.raster import rasterize
from gen3dface.render import Surface, sample_image

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_CELL = 0.005  # metres
_HALF_WIDTH, _BOTTOM = 0.2, -0.2  # metres: the volume's side and floor
_SMALLEST = 0.0012  # square metres a side, under which nothing hangs
_AHEAD, _THICK = 0.015, 0.02  # metres: the front layer before the ears, and a layer's thickness behind the neck
_OVERLAP = 0.12  # metres that the curtain reaches up into the hair of the scalp
_CLEAR = 0.016  # metres between hair and body
_ROUND = 0.025  # metres over which the curtain's edge is rounded
_STRIP = 0.2  # of the texture's height
_FAR = 50.0  # metres: a camera so far that its picture is as good as parallel


@dataclass(frozen=True)
class HangingHair:
    """A closed mesh of hair, in the head's frame."""

    vertices: Tensor  # [H, 3] metres
    faces: Tensor  # [G, 3] int64, counter-clockwise from outside
    uvs: Tensor  # [T, 2] in 0..1, charts of its own: front on the left half, back on the right
    uv_faces: Tensor  # [G, 3] int64; the rim between the layers takes the front's colours

    def added_to(self, head: Surface) -> Surface:
        """One surface of both; the hair's chart takes the lowest strip of the texture, the head's the rest."""
        count = len(head.vertices)
        scale = self.uvs.new_tensor([1.0, 1 - _STRIP])
        chart = self.uvs * self.uvs.new_tensor([1.0, 0.96 * _STRIP])
        return Surface(
            torch.cat([head.vertices, self.vertices]),
            torch.cat([head.faces, self.faces + count]),
            torch.cat([head.uvs * scale + scale.new_tensor([0, _STRIP]), chart]),
            torch.cat([head.uv_faces, self.uv_faces + len(head.uvs)]),
        )


def hanging_hair(portrait: Portrait, mesh: HeadMesh, camera: Cameras, model: HeadModel) -> HangingHair | None:
    """The hair that a photo shows below the ears, or None where none hangs.

    Args:
        mesh: the fitted head in the photo's pose, with the outline of its hair. camera: the photo's.
    """
    ears = mesh.vertices[model.regions["ears"]]
    grid = _Grid.over(float(ears[:, 1].mean()) + _OVERLAP)
    shown = _hanging(_shown(portrait, mesh, camera, model, grid, float(ears[:, 2].mean())))
    if shown is None:
        return None
    hidden = _between(shown)
    region = scipy.ndimage.gaussian_filter((shown | hidden).astype(float), 1.0) > 0.5
    front, back = _layers(region, shown, mesh, model, grid, float(ears[:, 2].mean()))
    plane = float(ears[:, 2].mean()) + _AHEAD
    return _solid(region, front, back, grid, camera.centers[0].double().numpy(), plane)


@dataclass(frozen=True)
class _Grid:
    """Points (x, y) of the frontal plane, row 0 at the top; x grows toward the subject's left."""

    x: Floats  # [R, C]
    y: Floats  # [R, C]

    @classmethod
    def over(cls, top: float) -> _Grid:
        columns = np.arange(-_HALF_WIDTH, _HALF_WIDTH + _CELL / 2, _CELL)
        x, y = np.meshgrid(columns, np.arange(top, _BOTTOM - _CELL, -_CELL))
        return cls(x, y)

    def points(self, z: Floats | float) -> Tensor:
        """World points [R * C, 3] at depth z."""
        stacked = np.stack([self.x, self.y, np.broadcast_to(z, self.x.shape)], -1)
        return torch.from_numpy(stacked).float().reshape(-1, 3)


def _shown(
    portrait: Portrait, mesh: HeadMesh, camera: Cameras, model: HeadModel, grid: _Grid, ear_depth: float
) -> Mask:
    """Cells [R, C] where the photo shows hair beside the face."""
    xy, _ = camera.project(grid.points(ear_depth + _AHEAD))
    hair = torch.from_numpy((portrait.parts == HAIR) & (portrait.matte > 0.5)).float()
    face = model.regions["face"][mesh.faces].all(-1)
    scale = min(1.0, 512 / max(camera.height, camera.width))
    small = camera.resized(round(camera.height * scale), round(camera.width * scale))
    before = rasterize(mesh.vertices, mesh.faces[face], small).mask.float()
    on_hair = sample_image(hair[None], xy[0])[:, 0] > 0.5
    on_face = sample_image(before[None], xy[0] * scale)[:, 0] > 0.5
    inside = ((xy[0] > 0) & (xy[0] < xy.new_tensor([camera.width, camera.height]))).all(-1)
    return (on_hair & ~on_face & inside).numpy().reshape(grid.x.shape)


def _hanging(shown: Mask) -> Mask | None:
    """The parts that reach up to the ears and are large enough; below the picture's edge hair goes on as it was."""
    opened = scipy.ndimage.binary_opening(shown, iterations=1)
    below = round(_OVERLAP / _CELL) + 4  # rows down to just under the ears
    labels, count = scipy.ndimage.label(opened)
    keep = np.zeros_like(shown)
    for part in range(1, count + 1):
        mine = labels == part
        if mine[:below].any() and mine[below:].sum() * _CELL**2 > _SMALLEST:
            keep |= mine
    return keep if keep.any() else None


def _between(shown: Mask) -> Mask:
    """Cells between the left and the right curtain, row by row; none in rows where only one side hangs."""
    hidden = np.zeros_like(shown)
    middle = shown.shape[1] // 2
    for row, cells in enumerate(shown):
        left, right = np.flatnonzero(cells[:middle]), np.flatnonzero(cells[middle:])
        if len(left) and len(right):
            hidden[row, left[0] : middle + right[-1] + 1] = True
    return hidden & ~shown


def _layers(
    region: Mask, shown: Mask, mesh: HeadMesh, model: HeadModel, grid: _Grid, ear_depth: float
) -> tuple[Floats, Floats]:
    """Front and back depth [R, C] of the curtain, metres, rounded off at its edge."""
    skull = mesh.vertices[model.regions["scalp"] | model.regions["skull"]]
    rear = float(skull[(skull[:, 1] < grid.y[0, 0]), 2].min()) + _CLEAR / 2
    half = np.array([np.abs(x[r]).max() if r.any() else _HALF_WIDTH for x, r in zip(grid.x, region, strict=True)])
    across = np.clip(np.abs(grid.x) / (scipy.ndimage.gaussian_filter1d(half, 2)[:, None] + _CELL), 0, 1)
    back = (ear_depth - _THICK) + (rear - ear_depth + _THICK) * np.sqrt(1 - across**2)
    body_front, body_back = _body(mesh, grid)
    # the top edge starts inside the hair of the scalp and comes out of it by the ears
    under = np.clip((grid.y[0, 0] - grid.y) / _OVERLAP, 0, 1)
    clear = _CLEAR * (2 * under - 1)
    behind = np.where(np.isfinite(body_back), body_back - clear, ear_depth - 2 * _THICK)
    above = np.clip(1 - 1.6 * under, 0, 1)  # there the skull decides
    back = np.where(np.isfinite(body_back), np.minimum(back, behind), back) * (1 - above) + behind * above
    before = np.maximum(ear_depth + _AHEAD, np.where(np.isfinite(body_front), body_front + _CLEAR, -np.inf))
    front = np.where(shown, before, back + _THICK)
    front = _blurred(front, region, 1.2)
    back = _blurred(back, region, 2.0)
    below = np.pad(np.pad(region, ((0, 1), (1, 1)), mode="edge"), ((1, 0), (0, 0)))  # an edge at the top, not below
    inward = (scipy.ndimage.distance_transform_edt(below)[1:-1, 1:-1] - 1) * _CELL  # 0 at the outermost vertices
    swell = np.sqrt(np.clip(inward / _ROUND, 0.01, 1))
    centre = (front + back) / 2
    return centre + (front - centre) * swell, centre + (back - centre) * swell


def _body(mesh: HeadMesh, grid: _Grid) -> tuple[Floats, Floats]:
    """Depth [R, C] of the head's nearest surface seen from the front and from the back, NaN beside it."""
    found = []
    for facing in (1.0, -1.0):
        intrinsics = torch.tensor([[_FAR / _CELL, 0, 0.5], [0, _FAR / _CELL, 0.5], [0, 0, 1]])
        pose = torch.eye(4)
        pose[:3, :3] = torch.diag(torch.tensor([facing, -1.0, -facing]))
        pose[:3, 3] = torch.tensor([_HALF_WIDTH, grid.y[0, 0], _FAR])
        camera = Cameras(pose[None], intrinsics[None], *grid.x.shape)
        depth = facing * (_FAR - rasterize(mesh.vertices, mesh.faces, camera).depth.double().numpy())
        found.append(np.where(np.isfinite(depth), depth, np.nan)[:, :: int(facing)])
    return found[0], found[1]


def _blurred(values: Floats, region: Mask, sigma: float) -> Floats:
    """Gaussian blur inside a region alone."""
    weight = scipy.ndimage.gaussian_filter(region.astype(float), sigma) + 1e-6
    return scipy.ndimage.gaussian_filter(values * region, sigma) / weight


def _solid(region: Mask, front: Floats, back: Floats, grid: _Grid, eye: Floats, plane: float) -> HangingHair | None:
    """Both layers as triangles, stitched along their common edge.

    Cells were found on the plane z = `plane`; each vertex moves to its depth along the photo's ray (from `eye`, [3]),
    so that the photo still sees it where its cell was.
    """
    quads = region[:-1, :-1] & region[1:, :-1] & region[:-1, 1:] & region[1:, 1:]
    if not quads.any():
        return None
    index = np.arange(region.size).reshape(region.shape)
    corners = [index[:-1, :-1][quads], index[1:, :-1][quads], index[1:, 1:][quads], index[:-1, 1:][quads]]
    a, b, c, d = corners  # upper left (toward the subject's right), lower left, lower right, upper right
    facing = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    rim = _rim(facing, region.size)
    layers = np.concatenate([facing, facing[:, ::-1] + region.size])
    faces, uv_faces = np.concatenate([layers, rim]), np.concatenate([layers, rim % region.size])
    width, height = 2 * _HALF_WIDTH, grid.y[0, 0] - grid.y[-1, 0]
    u, v = (grid.x + _HALF_WIDTH) / width, (grid.y - grid.y[-1, 0]) / height
    vertices = np.concatenate([np.stack([grid.x, grid.y, z], -1).reshape(-1, 3) for z in (front, back)])
    reach = (vertices[:, 2:] - eye[2]) / (plane - eye[2])
    vertices[:, :2] = eye[:2] + (vertices[:, :2] - eye[:2]) * reach
    vertices = _without_steps(vertices, _open_edges(facing), region.size)
    uvs = np.concatenate([np.stack([0.01 + 0.48 * u + shift, v], -1).reshape(-1, 2) for shift in (0.0, 0.5)])
    (vertices, faces), (uvs, uv_faces) = _compact(vertices, faces), _compact(uvs, uv_faces)
    return HangingHair(
        torch.from_numpy(vertices).float(),
        torch.from_numpy(faces),
        torch.from_numpy(uvs).float(),
        torch.from_numpy(uv_faces),
    )


def _compact(values: Floats, indices: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Only the rows that are used, and the indices into them."""
    used, renumbered = np.unique(indices, return_inverse=True)
    return values[used], renumbered.reshape(indices.shape)


def _open_edges(facing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Directed edges [E, 2] that only one triangle has."""
    edges = np.concatenate([facing[:, [0, 1]], facing[:, [1, 2]], facing[:, [2, 0]]])
    all_edges = {(p, q) for p, q in edges.tolist()}
    return np.array([(p, q) for p, q in edges.tolist() if (q, p) not in all_edges])


def _rim(facing: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """Triangles between the layers along the open edges of the front one."""
    p, q = _open_edges(facing).T
    return np.concatenate([np.stack([q, p, p + shift], -1), np.stack([q, p + shift, q + shift], -1)])


def _without_steps(vertices: Floats, edges: NDArray[np.int64], shift: int, rounds: int = 4) -> Floats:
    """The outline, a staircase of cells, drawn smooth in both layers by averaging each vertex with its neighbours."""
    out = vertices.copy()
    for _ in range(rounds):
        total, count = np.zeros_like(out[:shift]), np.zeros(shift)
        for here, there in (edges.T, edges.T[::-1]):
            np.add.at(total, here, out[there])
            np.add.at(count, here, 1)
        rim = count > 0
        mean = total[rim, :2] / count[rim, None]
        for layer in (0, shift):
            out[layer + np.flatnonzero(rim), :2] = (out[layer + np.flatnonzero(rim), :2] + mean) / 2
    return out
