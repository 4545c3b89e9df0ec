"""The sparse convolution against torch's dense one."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.errors import MissingExtraError
from gen3dface.models.mesh_network import MeshNetwork, mesh_geometry
from gen3dface.models.sparse_conv import (
    SparseConv3d,
    Voxels,
    strided_voxels,
    submanifold_table,
    to_dense,
    unique_voxels,
    voxel_mean,
)
from tests.models.small import ellipsoid, randomised

SHAPES = [(4, 6, 5), (7, 3, 8)]


def full_grid(shape: tuple[int, int, int], batch: int = 2) -> Voxels:
    axes = [torch.arange(n) for n in (batch, *shape)]
    return Voxels(torch.cartesian_prod(*axes), shape, batch)


def some_voxels(shape: tuple[int, int, int], share: float, batch: int = 2) -> Voxels:
    everything = full_grid(shape, batch)
    keep = torch.rand(len(everything.indices), generator=torch.Generator().manual_seed(1)) < share
    return Voxels(everything.indices[keep], shape, batch)


def dense_at(dense: Tensor, voxels: Voxels) -> Tensor:
    row, z, y, x = voxels.indices.unbind(1)
    return dense[row, :, z, y, x]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_submanifold_equals_dense_convolution_at_active_voxels(shape: tuple[int, int, int], share: float) -> None:
    voxels, layer = some_voxels(shape, share), SparseConv3d(3, 5)
    features = torch.randn(len(voxels.indices), 3)
    dense = F.conv3d(to_dense(features, voxels), layer.weight, padding=1)
    torch.testing.assert_close(
        layer(features, submanifold_table(voxels)), dense_at(dense, voxels), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_strided_equals_dense_convolution_and_reaches_what_it_can(shape: tuple[int, int, int], share: float) -> None:
    voxels, layer = some_voxels(shape, share), SparseConv3d(3, 5)
    features = torch.randn(len(voxels.indices), 3)
    out, table = strided_voxels(voxels)
    dense = F.conv3d(to_dense(features, voxels), layer.weight, stride=2, padding=1)
    assert out.shape == tuple(dense.shape[2:])
    torch.testing.assert_close(to_dense(layer(features, table), out), dense, atol=1e-5, rtol=1e-5)
    reached = F.conv3d(to_dense(torch.ones(len(features), 1), voxels), torch.ones(1, 1, 3, 3, 3), stride=2, padding=1)
    assert to_dense(torch.ones(len(out.indices), 1), out).equal((reached > 0).float())


def test_no_voxels_at_all() -> None:
    none = Voxels(torch.zeros(0, 4, dtype=torch.long), (4, 4, 4), 1)
    out, table = strided_voxels(none)
    assert len(out.indices) == 0
    assert SparseConv3d(2, 3)(torch.zeros(0, 2), table).shape == (0, 3)


def test_gradients_are_those_of_the_dense_convolution() -> None:
    voxels, layer = some_voxels((4, 4, 4), 0.5), SparseConv3d(2, 3)
    found, expected = (torch.randn(len(voxels.indices), 2).requires_grad_() for _ in range(2))
    expected.data.copy_(found.data)
    layer(found, submanifold_table(voxels)).square().sum().backward()
    assert layer.weight.grad is not None
    of_weight, layer.weight.grad = layer.weight.grad, None
    dense = F.conv3d(to_dense(expected, voxels), layer.weight, padding=1)
    dense_at(dense, voxels).square().sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(of_weight, layer.weight.grad, atol=1e-4, rtol=1e-4)


def test_points_of_one_voxel_give_their_mean() -> None:
    points = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 2, 3], [1, 1, 2, 3]])
    voxels, owner = unique_voxels(points, (4, 4, 4), 2)
    assert voxels.indices.tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [1, 1, 2, 3]]
    mean = voxel_mean(torch.tensor([[1.0], [7.0], [4.0], [9.0]]), owner, 3)
    assert mean.flatten().tolist() == [7.0, 2.5, 9.0]


def test_spconv_agrees_or_is_refused() -> None:
    """With spconv at hand it must give the plain code's numbers (one thread); without, asking for it is an error."""
    network = MeshNetwork(4, (8, 8, 16))
    randomised(network)
    if importlib.util.find_spec("spconv") is None:
        with pytest.raises(MissingExtraError, match="sparse"):
            network.use_spconv()
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        geometry = mesh_geometry(ellipsoid(), 0.01, 4, 0.4)
        features = torch.randn(len(geometry.stages[0].indices), 8)
        plain = network.sparse(features, geometry)
        network.use_spconv()
        torch.testing.assert_close(network.sparse(features, geometry), plain, atol=1e-4, rtol=1e-4)
        network.use_spconv(False)
        assert network.sparse(features, geometry).equal(plain)
    finally:
        torch.set_num_threads(threads)
