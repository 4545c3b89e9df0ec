"""Pictures of ICT heads with known shape: portrait skins, random light, pose and distance.

A skin is a portrait's colours, taken at ICT's vertices after a landmark fit, mirrored where unseen, without most of
the portrait's own shading. Eyes are painted. Every picture follows from its seed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from ict_heads import EYEBALLS, FACE, SKIN
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from gen3dface.assets import fetch
from gen3dface.cameras import Cameras
from gen3dface.estimators.default import estimate_bald
from gen3dface.heads import HeadModel, vertex_normals
from gen3dface.photo.detect import FaceDetector
from gen3dface.photo.landmarks import FaceLandmarker, FaceLandmarks
from gen3dface.photo.matte import PersonMatter
from gen3dface.photo.portrait import PhotoModels, Portrait, load_portrait
from gen3dface.raster import rasterize

Array = NDArray[np.float64]
SIZE = 640  # px
_SEEN = 0.35  # least cosine at which a vertex takes its colour from the portrait


@dataclass(frozen=True)
class Sitter:
    """A picture and what is true of it."""

    identity: Array  # [K] coefficients of ICT
    vertices: Array  # [V, 3] metres: the neutral head, without pose or expression
    landmarks: Array  # [478, 3] metres, NaN where unknown
    yaw: float  # degrees
    distance: float  # metres
    camera: Cameras
    draw: Callable[[], NDArray[np.uint8]]

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """[SIZE, SIZE, 3], drawn when first asked for."""
        return self.draw()


class _NoMatte(PersonMatter):
    """The shape does not ask for the matte; leaving it out halves the time."""

    def __call__(
        self, image: NDArray[np.uint8], face: FaceLandmarks, others: Sequence[FaceLandmarks] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        return np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.uint8)


def face_networks() -> PhotoModels:
    """For load_portrait: all that the shape depends on; the matte comes out empty."""
    return PhotoModels(FaceDetector(), FaceLandmarker(), _NoMatte())


def openpeople_skins(ict: HeadModel, people: Sequence[str]) -> list[Array]:
    """The skins of OpenPeople's portraits, P001 to P010."""
    with zipfile.ZipFile(fetch("openpeople")) as archive:
        names = [f"openpeople/data/curated/{person}/assets/studio_portrait.jpg" for person in people]
        portraits = [load_portrait(archive.read(name)) for name in names]
    return [portrait_skin(portrait, ict) for portrait in portraits]


def portrait_skin(portrait: Portrait, ict: HeadModel) -> Array:
    """[V, 3] albedo in 0..1, display-referred."""
    fit = estimate_bald(portrait, ict)
    mesh = fit.mesh(ict)
    xy = fit.camera.project(mesh.vertices)[0][0].numpy()
    sigma = max(fit.camera.intrinsics[0, 0, 0].item() / fit.camera.centers[0].norm().item() * 0.0005, 0.5)
    smooth = cv2.GaussianBlur(portrait.image, (0, 0), sigma)
    colour = cv2.remap(smooth, xy[None, :, 0].astype(np.float32) - 0.5, xy[None, :, 1].astype(np.float32) - 0.5, 1)[0]
    seen = (fit.visibility.numpy() > _SEEN) & _is_skin(xy, portrait)
    seen[FACE[1] :] = False
    skin = _delight(colour.astype(np.float64) / 255, mesh.normals().numpy(), seen)
    return _paint_eyes(_fill(skin, seen, ict.template.numpy()), ict)


def _is_skin(xy: Array, portrait: Portrait) -> NDArray[np.bool_]:
    at = np.clip(np.floor(xy).astype(int), 0, [portrait.width - 1, portrait.height - 1])
    return portrait.parts[at[:, 1], at[:, 0]] == 3


def _delight(colour: Array, normals: Array, seen: NDArray[np.bool_]) -> Array:
    """Divide by most of the smooth light that order-2 harmonics explain."""
    x, y, z = normals.T.astype(np.float64)
    basis = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y], -1)
    linear = colour**2.2
    weights, *_ = np.linalg.lstsq(basis[seen], linear[seen].mean(-1), rcond=None)
    light = np.clip(basis @ weights, 0.25 * np.median(basis[seen] @ weights), None)
    return np.clip(linear / (light / np.median(light[seen]))[:, None] ** 0.85, 0, 1) ** (1 / 2.2)


def _fill(skin: Array, seen: NDArray[np.bool_], template: NDArray[np.float32]) -> Array:
    """Unseen vertices take the nearest seen one's colour, on this side or mirrored; off the face, plain skin."""
    both = np.concatenate([template[seen], template[seen] * [-1, 1, 1]])
    distance, nearest = cKDTree(both).query(template)
    out = np.concatenate([skin[seen], skin[seen]])[nearest]
    plain = np.median(skin[seen], 0)
    share = np.clip((distance - 0.008) / 0.02, 0, 1)[:, None]
    out = out * (1 - share) + plain * share
    out[slice(*FACE)][seen[slice(*FACE)]] = skin[slice(*FACE)][seen[slice(*FACE)]]
    return out


def _paint_eyes(skin: Array, ict: HeadModel) -> Array:
    for name, span in EYEBALLS.items():
        ball = ict.template[slice(*span)].numpy() - ict.joints[ict.joint_names.index(name)].numpy()
        angle = np.degrees(np.arctan2(np.hypot(ball[:, 0], ball[:, 1]), ball[:, 2]))
        rings = np.array([[0.04, 0.04, 0.04], [0.35, 0.22, 0.12], [0.93, 0.9, 0.88]])
        skin[slice(*span)] = rings[np.digitize(angle, [11, 29])]
    low = SKIN[1]
    mouth = np.arange(low, EYEBALLS["left_eye"][0])
    skin[mouth] = [0.5, 0.2, 0.2]
    skin[ict.regions["teeth"].numpy()] = [0.9, 0.87, 0.8]
    return skin


def draw_sitter(
    ict: HeadModel, skins: list[Array], yaw_range: tuple[float, float], seed: int, expression: float = 0.0
) -> Sitter:
    """A random head with a yaw of the given magnitude (degrees), pitch within 12, roll within 10.

    expression: largest weight of the up to three expression shapes that are on (0: neutral).
    """
    rng = np.random.default_rng([7, seed])
    identity = torch.from_numpy(rng.normal(size=ict.identity_size)).float()
    weights = _random_weights(ict, expression, rng)
    yaw = rng.choice([-1, 1]) * rng.uniform(*yaw_range)
    camera, distance = _camera(yaw, rng)
    skin = skins[rng.integers(len(skins))]
    return _sitter(ict, identity, weights, skin, yaw, camera, distance, rng)


def draw_photos(
    ict: HeadModel, skins: list[Array], yaw_ranges: Sequence[tuple[float, float]], seed: int, expression: float = 0.0
) -> list[Sitter]:
    """The person of `draw_sitter`'s seed in several pictures, each under its own light, from its own distance, with
    its own expression, at a yaw (degrees, signed) within its own range."""
    person = np.random.default_rng([7, seed])
    identity = torch.from_numpy(person.normal(size=ict.identity_size)).float()
    skin = skins[person.integers(len(skins))]
    photos = []
    for number, span in enumerate(yaw_ranges):
        rng = np.random.default_rng([7, seed, number])
        weights, yaw = _random_weights(ict, expression, rng), rng.uniform(*span)
        camera, distance = _camera(yaw, rng)
        photos.append(_sitter(ict, identity, weights, skin, yaw, camera, distance, rng))
    return photos


def _random_weights(ict: HeadModel, largest: float, rng: np.random.Generator) -> torch.Tensor:
    weights = torch.zeros(len(ict.expression_names))
    weights[rng.choice(len(weights) - 1, 3, replace=False)] = torch.from_numpy(rng.uniform(0, largest, 3)).float()
    return weights


def _sitter(
    ict: HeadModel,
    identity: torch.Tensor,
    weights: torch.Tensor,
    skin: Array,
    yaw: float,
    camera: Cameras,
    distance: float,
    rng: np.random.Generator,
) -> Sitter:
    seated = seat_eyes(ict)
    neutral, posed = seated.mesh(identity), seated.mesh(identity, weights)
    return Sitter(
        identity.numpy().astype(np.float64),
        neutral.vertices.numpy().astype(np.float64),
        neutral.landmarks().numpy().astype(np.float64),
        float(yaw),
        distance,
        camera,
        lambda: _render(posed.vertices, ict, skin, camera, rng),
    )


def seat_eyes(ict: HeadModel) -> HeadModel:
    """Let the eyeballs follow the lids rigidly, so that random identities do not push them through."""
    basis = ict.identity_basis.clone()
    for name, span in EYEBALLS.items():
        centre = ict.joints[ict.joint_names.index(name)] + torch.tensor([0, 0, 0.012])
        lids = ((ict.template - centre).norm(dim=-1) < 0.016).nonzero()[:, 0]
        basis[:, slice(*span)] = basis[:, lids[lids < FACE[1]]].mean(1, keepdim=True)
    template = ict.template.clone()
    for span in EYEBALLS.values():
        template[slice(*span), 2] -= 0.0006
    return replace(ict, identity_basis=basis, template=template)


def _camera(yaw: float, rng: np.random.Generator) -> tuple[Cameras, float]:
    turned = Rotation.from_euler("zxy", [rng.uniform(-10, 10), rng.uniform(-12, 12), yaw], degrees=True).as_matrix()
    distance = float(np.exp(rng.uniform(np.log(0.5), np.log(2.5))))
    focal = rng.uniform(0.4, 0.6) * SIZE * distance / 0.2
    transform = np.eye(4)
    transform[:3, :3] = np.diag([1.0, -1, -1]) @ turned
    transform[:3, 3] = [*rng.uniform(-0.03, 0.03, 2), distance]
    intrinsics = np.array([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]])
    return Cameras(*(torch.from_numpy(m)[None].float() for m in (transform, intrinsics)), SIZE, SIZE), distance


def _render(vertices: torch.Tensor, ict: HeadModel, skin: Array, camera: Cameras, rng: np.random.Generator) -> NDArray:
    fragments = rasterize(vertices, ict.faces, camera)
    normals = vertex_normals(vertices, ict.faces)
    tinted = np.clip(skin * np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.04, 3)), 0, 1)
    values = torch.cat([normals, torch.from_numpy(tinted).float()], -1)
    drawn = fragments.interpolate(values, ict.faces).numpy().astype(np.float64)
    n = drawn[..., :3] @ camera.rotations[0].numpy().T.astype(np.float64)
    n /= np.linalg.norm(n, axis=-1, keepdims=True) + 1e-9
    light = _light(n, rng)
    shown = drawn[..., 3:] ** 2.2 * light
    mask = fragments.mask.numpy()
    shown *= (rng.uniform(0.4, 0.6) / np.median(shown[mask]) ** (1 / 2.2)) ** 2.2
    soft = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 0.8)[..., None]
    behind = rng.random(3) * np.linspace(rng.uniform(0.5, 1), 1, SIZE)[:, None, None]
    out = np.clip(shown, 0, 1) ** (1 / 2.2) * soft + (1 - soft) * behind
    out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.0)) + rng.normal(0, 0.01, out.shape)
    return (np.clip(out, 0, 1) * 255).astype(np.uint8)


def _light(n: Array, rng: np.random.Generator) -> Array:
    """Ambient from above plus one key light up to 70 degrees off the camera's axis; n [.., 3] in camera axes."""
    azimuth, elevation = rng.uniform(-70, 70), rng.uniform(-10, 60)
    key = Rotation.from_euler("xy", [elevation, azimuth], degrees=True).apply([0, 0, -1.0])
    ambient = 0.45 - 0.15 * n[..., 1] - 0.1 * n[..., 2]
    colour = np.exp(rng.normal(0, 0.06, 3))
    return ambient[..., None] + rng.uniform(0.3, 0.9) * np.clip(n @ key, 0, None)[..., None] * colour
