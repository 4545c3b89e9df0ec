"""Pictures -> detected landmarks: shards of training samples, resumable, each sample from its own seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from estimator_training import hair, picture, scene, skins
from estimator_training.scene import Subject
from gen3dface.heads import HeadModel
from gen3dface.photo.landmarks import FaceLandmarker, FaceRegion
from gen3dface.raster import rasterize

SHARD = 250
PRESENCE = 0.5


class Sampler(Protocol):
    """Makes one training sample from a seed, or None where no face is found."""

    def sample(self, seed: int) -> dict[str, NDArray] | None: ...


@dataclass
class Studio:
    """Draws subjects of one head model and reads their landmarks."""

    model: HeadModel
    skins: list[NDArray[np.uint8]]
    spread: float = 1.0
    max_yaw: float = 42.0

    def sample(self, seed: int) -> dict[str, NDArray] | None:
        """One training sample, or None when the network finds no face."""
        rng = np.random.default_rng(seed)
        subject = scene.random_subject(self.model, rng, self.spread, self.max_yaw)
        image, truth = self.draw(subject, rng)
        jitter = np.column_stack([truth, np.zeros(len(truth))]) + rng.normal(0, 4, (1, 3))
        found = self.landmarker(image, FaceRegion.from_landmarks(jitter.astype(np.float32)))
        if found.presence < PRESENCE:
            return None
        return {
            "identity": subject.identity.numpy(),
            "expression": subject.expression.numpy(),
            "world_to_camera": subject.camera.world_to_camera[0].numpy(),
            "intrinsics": subject.camera.intrinsics[0].numpy(),
            "truth": truth.astype(np.float32),
            "landmarks": found.points,
            "blendshapes": self.landmarker.blendshapes(found),
        }

    def draw(self, subject: Subject, rng: np.random.Generator) -> tuple[picture.Picture, NDArray[np.float64]]:
        """uint8 [S, S, 3] and where the 478 landmarks truly are, [478, 2] px."""
        model, camera = self.model, subject.camera
        mesh = model.mesh(subject.identity, subject.expression, subject.rotations)
        truth = camera.project(mesh.landmarks())[0][0].numpy().astype(np.float64)
        colour = hair.random_colour(rng)
        share = hair.scalp_share(self._rest, self._ears_bottom, self._forehead, rng) * self._may_grow
        texture = skins.paint(self.skins[rng.integers(len(self.skins))], self._texels, self._eye_texels, colour, rng)
        normals = picture.mesh_normals(mesh.vertices, model.faces)
        swollen = mesh.vertices + torch.from_numpy(normals * (share * rng.uniform(0, 0.02))[:, None]).float()
        vertices, faces = swollen, model.faces
        count = len(vertices)
        if rng.random() < 0.35:
            shell, shell_faces = hair.curtain(rng, float(vertices[:, 1].max()) + 0.008)
            vertices = torch.cat([vertices, torch.from_numpy(shell).float()])
            faces = torch.cat([faces, torch.from_numpy(shell_faces) + count])
        extra = len(vertices) - count
        fragments = rasterize(vertices, faces, camera, cull_back=True)
        cover = np.concatenate([share, np.ones(extra)]) * float(rng.random() < 0.85)
        cover[count:] = 1
        streak = 1 + rng.normal(0, 0.25, len(vertices))
        attributes = np.column_stack([picture.mesh_normals(vertices, faces), cover, streak, self._gloss(extra)])
        drawn = picture.interpolate(fragments, attributes, faces)
        uv_faces = torch.cat([model.uv_faces, model.uv_faces.new_zeros(len(faces) - len(model.faces), 3)])
        skin = picture.sample_texture(fragments, model.uvs, uv_faces, texture)
        albedo = np.clip(skin + drawn[..., 3:4] * (np.clip(colour * drawn[..., 4:5], 0, 1) - skin), 0, 1)
        shown = picture.shade(fragments, albedo, drawn[..., :3], camera, drawn[..., 5], rng)
        composed = picture.compose(shown, fragments.mask.numpy(), picture.background(scene.SIZE, rng))
        return picture.spoil(composed, rng), truth

    def _gloss(self, extra: int) -> NDArray[np.float64]:
        eyes = (self.model.regions["left_eye"] | self.model.regions["right_eye"]).numpy()
        return np.concatenate([np.where(eyes, 3.0, 1.0), np.ones(extra)])

    @cached_property
    def landmarker(self) -> FaceLandmarker:
        return FaceLandmarker(threads=1)

    @cached_property
    def _rest(self) -> NDArray[np.float64]:
        return self.model.template.numpy().astype(np.float64)

    @cached_property
    def _forehead(self) -> float:
        return float(self.model.mesh().landmarks()[10, 1])

    @cached_property
    def _ears_bottom(self) -> float:
        return float(self.model.template[self.model.regions["ears"], 1].min())

    @cached_property
    def _may_grow(self) -> NDArray[np.float64]:
        """[V] 1 on skin that may carry hair: neither ears nor eyes nor mouth."""
        bare = torch.zeros(len(self._rest), dtype=torch.bool)
        for region in (
            "ears",
            "eye_sockets",
            "mouth_interior",
            "teeth",
            "tongue",
            "left_eye",
            "right_eye",
            "neck",
            "shoulders",
        ):
            bare |= self.model.regions[region]
        return (~bare).numpy().astype(np.float64)

    @cached_property
    def _texels(self) -> NDArray[np.int32]:
        return skins.landmark_texels(self.model, len(self.skins[0]))

    @cached_property
    def _eye_texels(self) -> NDArray[np.bool_]:
        size = len(self.skins[0])
        eyes = self.model.regions["left_eye"] | self.model.regions["right_eye"]
        chosen = eyes[self.model.faces].all(1)
        points = np.column_stack([self.model.uvs[:, 0], 1 - self.model.uvs[:, 1]]) * size
        mask = np.zeros((size, size), np.uint8)
        for triangle in self.model.uv_faces[chosen].numpy():
            skins.cv2.fillConvexPoly(mask, np.round(points[triangle]).astype(np.int32), 1)
        return mask.astype(bool)


def make_shards(studio: Sampler, folder: Path, count: int, first_seed: int) -> None:
    """Write `count` attempts as npz shards of at most SHARD samples; shards that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in tqdm(range(0, count, SHARD), desc="shards", unit="shard"):
        path = folder / f"{first_seed + start:08d}.npz"
        if path.exists():
            continue
        seeds = range(first_seed + start, first_seed + min(start + SHARD, count))
        samples = [s for s in map(studio.sample, tqdm(seeds, leave=False, unit="picture")) if s is not None]
        part = path.with_suffix(".part.npz")
        np.savez(part, **{name: np.stack([s[name] for s in samples]) for name in samples[0]})
        part.rename(path)


def load_shards(folder: Path) -> dict[str, NDArray]:
    """All samples of a folder, in seed order."""
    shards = [dict(np.load(path, allow_pickle=False)) for path in sorted(folder.glob("[0-9]*[0-9].npz"))]
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}
