"""Heads of other sources than ICT for `reconstruction.py`: OpenHead's, and one person's scan.

OpenHead is the topology that the package itself starts from, so its heads are the easier ones. The scan (menpo3d's
`james`) is a real face without a back: it is seen from in front alone, and its open border is not measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import trimesh
from one_scan import load_scan
from scipy.spatial import cKDTree
from textured_heads import TexturedHeadTruth, in_soft_light, near_nose, seen_from
from torch import Tensor

from gen3dface.cameras import Cameras, orbit, rig
from gen3dface.data_synth.rendered.people.skin_library import load_skins
from gen3dface.heads import load_head_model
from gen3dface.heads.anatomy import inner_colours, inner_parts
from gen3dface.render import sample_texture

_ROUNDS = 2  # of subdivision, after which colours at vertices show what the texture does
_CUT = 0.03  # metres above the bust's lower end that are not measured: it is an open edge there
_BORDER = 0.012  # metres from a scan's open border that are not measured
_NOSE_BOTTOM = 2  # of the 478 landmarks
_ARC = 60.0  # degrees to each side from which a scan is seen
_UNSEEN = ((11, 10), (-35, 14), (48, -10), (-52, 0), (25, 12), (11, -12))  # degrees


def open_head(seed: int) -> TexturedHeadTruth:
    """A neutral head of OpenHead's own statistics with one of the rendered people's skins."""
    random = np.random.default_rng([31, seed])
    model, skins = load_head_model(), load_skins()
    mesh = model.mesh(torch.from_numpy(random.normal(size=model.identity_size)).float())
    albedo = torch.from_numpy(skins[int(random.integers(len(skins)))].albedo).permute(2, 0, 1) / 255
    inner = inner_parts(model).float()[:, None]
    drawn = torch.cat([mesh.vertices, inner, inner_colours(model)], 1)
    corners, faces, uvs = _subdivided(drawn, model.faces, model.uvs, model.uv_faces)
    vertices, inner, painted = corners.split([3, 1, 3], 1)
    colours = in_soft_light(vertices, faces, torch.lerp(sample_texture(albedo, uvs), painted, inner))
    outer = seen_from(vertices, faces, rig("head360", 256)) & (inner[:, 0] == 0)
    outer &= vertices[:, 1] > vertices[:, 1].min() + _CUT
    near = near_nose(vertices, mesh.landmarks()[_NOSE_BOTTOM])
    return TexturedHeadTruth(vertices, faces, colours, (outer & near).nonzero()[:, 0], outer.nonzero()[:, 0])


def scanned_face(folder: Path) -> TexturedHeadTruth:
    """`james` of a folder as `one_scan.py` reads it, in the light of its capture."""
    scan = load_scan(folder)
    picture = torch.from_numpy(scan.texture).permute(2, 0, 1) / 255
    buffers = (torch.from_numpy(a) for a in (scan.vertices, scan.faces, scan.uvs, scan.uv_faces))
    vertices, faces, uvs = _subdivided(*buffers)
    edges = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False).edges_sorted
    pairs, times = np.unique(edges, axis=0, return_counts=True)
    border = vertices[np.unique(pairs[times == 1])].numpy()
    away = torch.from_numpy(cKDTree(border).query(vertices.numpy())[0])
    inside = seen_from(vertices, faces, scan_views(8, 256)) & (away > _BORDER)
    near = inside & near_nose(vertices, torch.from_numpy(scan.landmarks[_NOSE_BOTTOM]).float())
    colours = sample_texture(picture, uvs)
    return TexturedHeadTruth(vertices, faces, colours, near.nonzero()[:, 0], inside.nonzero()[:, 0])


def scan_views(count: int, size: int) -> Cameras:
    """`count` views of a face without a back, on an arc, by turns from a little above and below."""
    turns = torch.linspace(-_ARC, _ARC, count)
    heights = torch.where(torch.arange(count) % 2 == 0, 10.0, -10.0)
    return orbit(turns, heights, radius=1.8, focal=4.5, size=size)


def unseen_scan_views(size: int) -> Cameras:
    """Between them."""
    azimuths, elevations = torch.tensor(_UNSEEN, dtype=torch.float32).T
    return orbit(azimuths, elevations, radius=1.8, focal=4.5, size=size)


def _subdivided(corners: Tensor, faces: Tensor, uvs: Tensor, uv_faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flat triangles in four, `_ROUNDS` times: [V, D], [F, 3], and one texture coordinate a vertex [V, 2]."""
    a, f, t, g = (x.numpy() for x in (corners, faces, uvs, uv_faces))
    for _ in range(_ROUNDS):
        a, f = trimesh.remesh.subdivide(a, f)
        t, g = trimesh.remesh.subdivide(t, g)  # in the same order: it follows the faces alone
    uv = np.zeros((len(a), 2))
    uv[f.ravel()] = t[g.ravel()]
    return torch.from_numpy(a).float(), torch.from_numpy(f), torch.from_numpy(uv).float()
