"""ICT-FaceKit Light (USC Institute for Creative Technologies, MIT) from the folder of OBJ files that it comes as.

`FaceXModel` holds `generic_neutral_mesh.obj`, `identity000.obj` and on, and one file an expression, in centimetres.
Vertex ranges and the 68 landmarks are those of its README.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import checked, reading, to_float, to_index
from gen3dface.heads.landmark_files import no_landmarks, read_landmarks
from gen3dface.heads.model import HeadModel
from gen3dface.heads.obj import ObjMesh, read_obj, read_obj_vertices
from gen3dface.heads.open_head import load_open_head
from gen3dface.heads.regions import EYES, completed
from gen3dface.heads.topology import cylindrical_uvs, lowest_loop, mirror_vertices

VERTICES = 26_719
SKIN_END = 11_248  # face, head, neck
EYEBALLS = {"left_eye": (21_451, 23_021), "right_eye": (23_021, 24_591)}
_PARTS = {"eye_sockets": (13_294, 14_062), "mouth_interior": (11_248, 13_294), "tongue": (14_062, 17_039)}
_TEETH = (17_039, 21_451)
_LAST_SOLID = 24_591  # beyond are cards and films that a plain renderer cannot show: tears, shadows, lashes
_CENTIMETRE = 0.01
_NEUTRAL, _IDENTITY = "generic_neutral_mesh.obj", re.compile(r"identity\d{3}\.obj")
_JOINED = ("browInnerUp", "cheekPuff")  # one shape in ARKit, two here
# MediaPipe's landmark -> vertex, of ICT's 68: those within 2 mm of where a detector's points fell on renders of the
# mean head (not the contour, which slides), and the eyes' outer corners (33, 263; 3 mm), which give a face its scale
_LANDMARKS = {
    197: 4527, 4: 4857, 97: 2075, 2: 1147, 326: 4269, 33: 1507, 160: 1542, 158: 1537, 133: 1528,
    153: 1518, 144: 1511, 362: 3742, 385: 3751, 387: 3756, 263: 3721, 373: 3725, 380: 3732, 61: 5708, 37: 2081, 0: 0,
    267: 4275, 291: 6213, 17: 5518, 91: 5841, 81: 5711, 13: 5533, 311: 6216, 402: 6470, 14: 5517, 178: 5966,
}  # fmt: skip

Array = NDArray[Any]


def read_ict(folder: str | Path, *, landmarks: str | Path | None = None) -> HeadModel:
    """The head model in ICT-FaceKit's folder, or in its `FaceXModel`; in metres, all 26,719 vertices in their order.

    Args:
        landmarks: where MediaPipe's landmarks lie (default: 30 of them, from ICT's own 68).

    Raises:
        HeadModelError: a file is missing, damaged, or of another topology.
    """
    folder = Path(folder)
    inner = folder if (folder / _NEUTRAL).is_file() else folder / "FaceXModel"
    with reading(folder):
        if not (inner / _NEUTRAL).is_file():
            raise HeadModelError(f"it holds no {_NEUTRAL}; give the folder of ICT-FaceKit")
        mesh = read_obj(inner / _NEUTRAL)
        if len(mesh.vertices) != VERTICES:
            raise HeadModelError(f"{_NEUTRAL} has {len(mesh.vertices)} vertices, ICT-FaceKit's has {VERTICES}")
        return checked(_model(mesh, _identity(inner, mesh), *_expressions(inner, mesh), landmarks))


def _identity(folder: Path, mesh: ObjMesh) -> Array:
    paths = sorted(path for path in folder.glob("identity*.obj") if _IDENTITY.fullmatch(path.name))
    return np.stack([_offsets(path, mesh) for path in paths]) if paths else np.zeros((0, VERTICES, 3), np.float32)


def _expressions(folder: Path, mesh: ObjMesh) -> tuple[tuple[str, ...], Array]:
    """ARKit's names and offsets [E, V, 3]; shapes that ARKit has not follow under names of the same kind."""
    found: dict[str, Array] = {}
    for path in sorted(folder.glob("*.obj")):
        if path.name != _NEUTRAL and not path.name.startswith("identity"):
            name = arkit_name(path.stem)
            found[name] = found.get(name, 0) + _offsets(path, mesh)
    return tuple(found), np.stack(list(found.values())) if found else np.zeros((0, VERTICES, 3), np.float32)


def arkit_name(name: str) -> str:
    """`eyeBlink_L` -> `eyeBlinkLeft`; the halves of shapes that are one in ARKit get its name."""
    stem, _, side = name.rpartition("_")
    if side not in ("L", "R") or not stem:
        return name
    return stem if stem in _JOINED else stem + {"L": "Left", "R": "Right"}[side]


def _offsets(path: Path, mesh: ObjMesh) -> Array:
    """[V, 3] float32 metres from the neutral head."""
    vertices = read_obj_vertices(path)
    if vertices.shape != mesh.vertices.shape:
        raise HeadModelError(f"{path.name} has {len(vertices)} vertices, {_NEUTRAL} {VERTICES}")
    return ((vertices - mesh.vertices) * _CENTIMETRE).astype(np.float32)


def _model(
    mesh: ObjMesh, identity: Array, names: tuple[str, ...], expressions: Array, landmarks: str | Path | None
) -> HeadModel:
    own = mesh.vertices * _CENTIMETRE
    origin = np.mean([own[slice(*span)].mean(0) for span in EYEBALLS.values()], 0) - np.array(EYES)
    template, solid = own - origin, (mesh.faces < _LAST_SOLID).all(1)
    faces = mesh.faces[solid]
    uvs, uv_faces = cylindrical_uvs(template, faces) if mesh.uv_faces is None else (mesh.uvs, mesh.uv_faces[solid])
    joints, joint_basis, weights = _skeleton(template, identity)
    places = _landmarks(faces) if landmarks is None else read_landmarks(Path(landmarks), len(faces))
    placed = to_float(template)
    return HeadModel(
        name="ict",
        version="light",
        licence="MIT",
        template=placed,
        faces=to_index(faces),
        identity_basis=to_float(identity),
        expression_basis=to_float(expressions),
        expression_names=names,
        joint_names=("root", "neck", *EYEBALLS),
        joint_parents=(-1, 0, 1, 1),
        joints=to_float(joints),
        joint_basis=to_float(joint_basis),
        skinning_weights=to_float(weights),
        uvs=to_float(uvs),
        uv_faces=to_index(uv_faces),
        landmark_faces=places[0],
        landmark_barycentric=places[1],
        regions=completed(_regions(), placed),
        mirror=to_index(mirror_vertices(template)),
        collar=to_index(lowest_loop(template, faces[(faces < SKIN_END).all(1)])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def _skeleton(template: Array, identity: Array) -> tuple[Array, Array, Array]:
    """Joints [4, 3], their basis [K, 4, 3] and weights [V, 4] of root, neck and the eyeballs, which turn stiffly.

    ICT has no skeleton. The neck's joint, and how skin follows it, are the bundled head's.
    """
    head = load_open_head()
    nearest = cKDTree(head.template.numpy()).query(template)[1]
    rest = head.skinning_weights.numpy()[nearest, head.joint_names.index("root")]
    joints, basis, weights = np.zeros((4, 3)), np.zeros((len(identity), 4, 3)), np.zeros((len(template), 4))
    joints[:2] = head.joints[:2].numpy()
    weights[:, 0] = np.where(np.arange(len(template)) < SKIN_END, rest, 0)
    weights[:, 1] = 1 - weights[:, 0]
    for j, span in enumerate(EYEBALLS.values(), start=2):
        ball = slice(*span)
        joints[j], basis[:, j], weights[ball] = template[ball].mean(0), identity[:, ball].mean(1), np.eye(4)[j]
    return joints, basis, weights


def _landmarks(faces: Array) -> tuple[Tensor, Tensor]:
    """The landmarks that are vertices, each as a corner of one of its triangles."""
    places, barycentric = no_landmarks()
    for landmark, vertex in _LANDMARKS.items():
        at = np.argwhere(faces == vertex)
        if len(at):
            places[landmark] = int(at[0, 0])
            barycentric[landmark, int(at[0, 1])] = 1.0
    return places, barycentric


def _regions() -> dict[str, Tensor]:
    index = torch.arange(VERTICES)
    spans = {**_PARTS, "teeth": _TEETH, **EYEBALLS}
    return {name: (index >= low) & (index < high) for name, (low, high) in spans.items()}
