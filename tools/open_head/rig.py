"""Joints, skinning weights and ARKit expressions of the head."""

from __future__ import annotations

import numpy as np

from open_head.identity import best_rotation, flip
from open_head.makehuman import FACE_UNITS, FloatArray, MakeHumanData
from open_head.topology import HeadTopology

JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")
JOINT_PARENTS = (-1, 0, 1, 1, 1)

# MakeHuman has three neck bones and a head; here one neck joint turns all of them, the lower ones in part.
NECK_SHARE = {"neck01": 0.15, "neck02": 0.5, "neck03": 0.85}


def joint_cubes(data: MakeHumanData) -> list[list[str]]:
    """MakeHuman's joint cubes whose mean is each joint."""
    return [
        ["joint-neck"],  # base of the neck
        ["joint-neck", "joint-head"],  # the middle of the neck, where it bends
        ["joint-mouth"],  # MakeHuman's jaw bone turns about this point, level with the ears
        ["helper-l-eye"],
        ["helper-r-eye"],
    ]


def joints_of(data: MakeHumanData, base: FloatArray) -> FloatArray:
    """Joints [..., 5, 3] of base vertices or offsets [..., 19158, 3]; linear."""
    groups = data.vertex_groups
    return np.stack(
        [np.mean([base[..., groups[cube], :].mean(-2) for cube in cubes], axis=0) for cubes in joint_cubes(data)],
        axis=-2,
    )


def skinning_weights(data: MakeHumanData, topology: HeadTopology) -> FloatArray:
    """[V, 5] from MakeHuman's default rig, rows summing to 1 and mirror-symmetric."""
    parents = data.bone_parents()
    columns = np.zeros((len(data.base.vertices), len(JOINT_NAMES)))
    for bone, weights in data.bone_weights().items():
        chain = _ancestors(bone, parents)
        if "jaw" in chain:
            columns[:, 2] += weights
        elif "head" in chain:
            columns[:, 1] += weights
        else:
            share = NECK_SHARE.get(bone, 0.0)
            columns[:, 1] += share * weights
            columns[:, 0] += (1 - share) * weights
    columns /= np.maximum(columns.sum(1, keepdims=True), 1e-9)
    # `evaluate` blends columns as if they were coordinates; eyeballs are set apart.
    padded = np.pad(columns, ((0, 0), (0, 1)))
    blended = np.concatenate([topology.evaluate(padded[:, :3]), topology.evaluate(padded[:, 3:])], axis=1)
    weights = blended[:, : len(JOINT_NAMES)]
    weights[topology.parts["left_eye"]] = np.eye(5)[3]
    weights[topology.parts["right_eye"]] = np.eye(5)[4]
    mirrored = weights[topology.mirror][:, [0, 1, 2, 4, 3]]
    weights = (weights + mirrored) / 2
    return weights / weights.sum(1, keepdims=True)


def _ancestors(bone: str, parents: dict[str, str]) -> list[str]:
    chain = [bone]
    while parents.get(chain[-1]):
        chain.append(parents[chain[-1]])
    return chain


def expression_names(data: MakeHumanData) -> list[str]:
    """The 52 ARKit names in alphabetical order."""
    return data.files_in(FACE_UNITS, ".target")


def expressions(data: MakeHumanData, topology: HeadTopology, names: list[str]) -> FloatArray:
    """Offsets [52, V, 3] dm, made exactly mirror-symmetric between left and right."""
    raw = {name: topology.evaluate(data.face_unit(name)) for name in names}
    for name in names:
        if name.startswith("eyeLook"):
            side = "left_eye" if name.endswith("Left") else "right_eye"
            raw[name][topology.parts[side]] = _eye_turn(data, topology, name)
    return np.stack([(raw[name] + flip(raw[opposite(name)], topology.mirror)) / 2 for name in names])


def opposite(name: str) -> str:
    """The expression on the other side; a symmetric one is its own."""
    if name.endswith("Left"):
        return name[:-4] + "Right"
    if name.endswith("Right"):
        return name[:-5] + "Left"
    return name


def _eye_turn(data: MakeHumanData, topology: HeadTopology, name: str) -> FloatArray:
    """Offsets of an eyeball [E, 3] that turn it as the eye's helper turns."""
    frame = topology.eyes[0 if name.endswith("Left") else 1]
    rest = data.base.vertices[frame.helper]
    moved = rest + data.face_unit(name)[frame.helper]
    rest, moved = rest - rest.mean(0), moved - moved.mean(0)
    turn = best_rotation((rest.T @ moved)[None])[0]
    radius = np.linalg.norm(rest, axis=1).mean()
    return radius * (frame.sphere @ turn - frame.sphere)
