"""Do a texture's seams show? Colours across the borders of its charts against colours inside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from gen3dface.recon.textured_head import TexturedHead

_REACH = 1.0e-3  # metres to either side of an edge at which its colours are compared


def seam_ratio(head: TexturedHead) -> float:
    """How much more colours change across seams than across other edges: 1 where seams cannot be seen.

    Each edge between two triangles is looked at 1 mm to its left and to its right, so that both kinds are asked for the
    same change over the same way. Means over lengths; NaN for a head without seams.
    """
    first, second, length = _edges(head)
    seam = _apart(head, first, second)
    if not seam.any():
        return float("nan")
    change = np.abs(_beside(head, first) - _beside(head, second)).mean(1)
    across, inside = (np.average(change[which], weights=length[which]) for which in (seam, ~seam))
    return float(across / max(inside, 1e-9))


def _edges(head: TexturedHead) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Two (triangle, corner) pairs [E, 2] of each shared edge, which runs from that corner on, and lengths [E]."""
    _, welded = np.unique(head.vertices, axis=0, return_inverse=True)
    ends = np.stack([head.faces, np.roll(head.faces, -1, 1)], -1).reshape(-1, 2)
    ids = np.sort(welded.reshape(-1)[ends], 1)
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    same = np.flatnonzero((ids[order][1:] == ids[order][:-1]).all(1))
    a, b = order[same], order[same + 1]
    length = np.linalg.norm(head.vertices[ends[a, 0]] - head.vertices[ends[a, 1]], axis=1)
    return np.stack(np.divmod(a, 3), 1), np.stack(np.divmod(b, 3), 1), length.astype(np.float64)


def _apart(head: TexturedHead, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[E] whether an edge's two triangles lie at different places of the texture."""
    corners = [
        np.sort(np.stack([head.uv_faces[f, c], head.uv_faces[f, (c + 1) % 3]], 1), 1) for f, c in (first.T, second.T)
    ]
    places = [head.uvs[c].round(6) for c in corners]
    same = (places[0] == places[1]).all((1, 2)) | (places[0] == places[1][:, ::-1]).all((1, 2))
    found: NDArray[np.bool_] = ~same
    return found


def _beside(head: TexturedHead, half: NDArray[np.int64]) -> NDArray[np.float64]:
    """[E, 3] the colours in 0..255 beside the middles of edges, inside their triangles."""
    face, corner = half.T
    a, b, c = (head.vertices[head.faces[face, (corner + i) % 3]].astype(np.float64) for i in range(3))
    middle = (a + b) / 2
    share = np.minimum(_REACH / np.maximum(np.linalg.norm(c - middle, axis=1), 1e-9), 0.5)[:, None]
    u, v, w = (head.uvs[head.uv_faces[face, (corner + i) % 3]] for i in range(3))
    at = (u + v) / 2 * (1 - share) + w * share
    height, width = head.texture.shape[:2]
    where = np.stack([(1 - at[:, 1]) * height - 0.5, at[:, 0] * width - 0.5])
    channels = [map_coordinates(head.texture[..., i].astype(float), where, order=1, mode="nearest") for i in range(3)]
    return np.stack(channels, 1)
