"""What tests of several rooms need: a small head whose every property is known, and people's skins."""

from __future__ import annotations

import numpy as np
import pytest

from gen3dface.assets import fetch
from gen3dface.data_synth.rendered.people.skin_library import Skin, load_skins
from gen3dface.errors import AssetError
from gen3dface.recon.textured_head import EYES, SKIN, Skeleton, TexturedHead


def ellipsoid(rings: int = 12, segments: int = 16) -> tuple[np.ndarray, ...]:
    """A closed surface with a UV seam: vertices are shared round the back, their UVs are not."""
    latitude = np.linspace(0.02, np.pi - 0.02, rings)
    longitude = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    theta, phi = np.meshgrid(latitude, longitude, indexing="ij")
    shape = np.stack([-np.sin(theta) * np.sin(phi), np.cos(theta), -np.sin(theta) * np.cos(phi)], axis=-1)
    vertices = (shape * (0.08, 0.12, 0.1)).reshape(-1, 3)
    u, v = np.meshgrid(np.linspace(0, 1, segments + 1), np.linspace(1, 0, rings))
    uvs = np.stack([u, v], axis=-1).reshape(-1, 2)
    faces, uv_faces = [], []
    for ring in range(rings - 1):
        for segment in range(segments):
            quad = [(ring, segment), (ring + 1, segment), (ring + 1, segment + 1), (ring, segment + 1)]
            a, b, c, d = [r * segments + s % segments for r, s in quad]
            ua, ub, uc, ud = [r * (segments + 1) + s for r, s in quad]
            faces += [[a, b, c], [a, c, d]]
            uv_faces += [[ua, ub, uc], [ua, uc, ud]]
    return vertices.astype(np.float32), np.array(faces), uvs.astype(np.float32), np.array(uv_faces)


@pytest.fixture(scope="session")
def head() -> TexturedHead:
    """Two materials, three morph targets (one of them empty), five joints, a texture with a known gradient."""
    vertices, faces, uvs, uv_faces = ellipsoid()
    height = vertices[:, 1]
    deltas = np.zeros((3, len(vertices), 3), np.float32)
    deltas[0, height < -0.05] = (0, -0.02, 0.005)
    deltas[1] = vertices * 0.1
    weights = np.zeros((len(vertices), 5), np.float32)
    weights[:, 0] = np.clip(-height * 5, 0, 1)
    weights[:, 1] = 1 - weights[:, 0]
    skeleton = Skeleton(
        names=("root", "neck", "jaw", "left_eye", "right_eye"),
        parents=(-1, 0, 1, 1, 1),
        positions=np.float32(
            [[0, -0.12, 0], [0, -0.06, -0.02], [0, -0.02, 0], [0.03, 0.02, 0.07], [-0.03, 0.02, 0.07]]
        ),
        weights=weights,
    )
    rows, columns = np.mgrid[0:64, 0:64]
    texture = np.stack([columns * 4, rows * 4, np.full_like(rows, 128)], axis=-1).astype(np.uint8)
    return TexturedHead(
        vertices=vertices,
        faces=faces,
        uvs=uvs,
        uv_faces=uv_faces,
        texture=texture,
        morph_names=("jawOpen", "cheekPuff", "tongueOut"),
        morph_deltas=deltas,
        morph_weights=np.float32([0.5, 0, 0]),
        skeleton=skeleton,
        materials=(SKIN, EYES),
        face_materials=(np.arange(len(faces)) < 40).astype(np.int64),
        confidence=texture[..., 0],
    )


@pytest.fixture(scope="session")
def skins() -> tuple[Skin, ...]:
    """The true ones, baked into the cache on first use."""
    try:
        fetch("yunet")
        return load_skins()
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
