"""Skinning against SciPy's rotations and a plain loop."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gen3dface.heads.skinning import joint_transforms, rotation_matrices, skin

PARENTS = (-1, 0, 1, 1, 1)
angles = st.floats(-4.0, 4.0, allow_nan=False, width=32)


@settings(max_examples=60, deadline=None)
@given(st.tuples(angles, angles, angles))
def test_rotation_matrices_agree_with_scipy(vector):
    expected = Rotation.from_rotvec(vector).as_matrix()
    actual = rotation_matrices(torch.tensor(vector, dtype=torch.float64))
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-9)


def test_rotation_gradient_is_finite_at_zero():
    vector = torch.zeros(3, requires_grad=True)
    rotation_matrices(vector)[1, 0].backward()  # d R_yx / dz = 1
    torch.testing.assert_close(vector.grad, torch.tensor([0.0, 0.0, 1.0]))


def test_skinning_agrees_with_homogeneous_matrices_joint_by_joint():
    rng = np.random.default_rng(0)
    vertices, joints = rng.normal(size=(40, 3)), rng.normal(size=(5, 3))
    weights = rng.dirichlet(np.ones(5), size=40)
    vectors = rng.normal(size=(5, 3))
    world = []
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = Rotation.from_rotvec(vectors[j]).as_matrix()
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    expected = np.zeros((40, 3))
    for j in range(5):
        back = np.eye(4)
        back[:3, 3] = -joints[j]
        moved = np.c_[vertices, np.ones(40)] @ (world[j] @ back).T
        expected += weights[:, j : j + 1] * moved[:, :3]

    transforms = joint_transforms(rotation_matrices(torch.tensor(vectors)), torch.tensor(joints), PARENTS)
    actual = skin(torch.tensor(vertices), torch.tensor(weights), transforms)
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-10)


def test_batches_equal_singles():
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(2, 3, 5, 3, generator=generator)
    joints, vertices = torch.randn(5, 3, generator=generator), torch.randn(7, 3, generator=generator)
    weights = torch.rand(7, 5, generator=generator)
    whole = skin(vertices, weights, joint_transforms(rotation_matrices(vectors), joints.expand(2, 3, 5, 3), PARENTS))
    for i in range(2):
        for k in range(3):
            one = skin(vertices, weights, joint_transforms(rotation_matrices(vectors[i, k]), joints, PARENTS))
            torch.testing.assert_close(whole[i, k], one)
