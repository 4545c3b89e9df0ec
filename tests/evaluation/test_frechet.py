"""FID and KID against closed forms, plain loops and, where it is installed, torchmetrics; the network's preparation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from gen3dface.evaluation.frechet import Inception, _prepared, frechet_distance, kernel_distance


def _whitened(count: int, size: int, seed: int) -> NDArray:
    """[count, size] with mean exactly 0 and covariance exactly 1."""
    x = np.random.default_rng(seed).normal(size=(count, size))
    x -= x.mean(0)
    return np.asarray(x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T)


def test_fid_of_gaussians_is_the_closed_form() -> None:
    a, b = _whitened(400, 5, 0), _whitened(300, 5, 1)
    first, second, shift = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 2, 1, 7, 5]), np.array([1.0, 0, -2, 0, 0.5])
    expected = (shift**2).sum() + ((first - second) ** 2).sum()  # diagonal covariances: (s - t)^2 each
    assert frechet_distance(a * first, b * second + shift) == pytest.approx(expected)


def test_fid_of_a_set_with_itself_shifted_and_against_the_matrix_root() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(size=(60, 8)) @ random.normal(size=(8, 8)), random.normal(size=(90, 8))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.arange(8.0)) == pytest.approx(140)
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = np.trace(sqrtm(covariances[0] @ covariances[1])).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum(np.trace(c) for c in covariances) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_fid_of_fewer_pictures_than_features() -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(size=(6, 40)), random.normal(size=(9, 40))
    turn = np.linalg.qr(random.normal(size=(40, 40)))[0]
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b))
    with pytest.raises(ValueError, match="two pictures"):
        frechet_distance(a[:1], b)


def test_fid_of_two_halves_of_one_set_is_small_beside_another_set() -> None:
    random = np.random.default_rng(4)
    one, other = random.normal(size=(2000, 6)), random.normal(size=(1000, 6)) * 1.5
    halves = frechet_distance(one[:1000], one[1000:])
    assert 0 < halves < 0.05
    assert frechet_distance(one[:1000], other) == pytest.approx(6 * 0.25, rel=0.15)


def _kid_by_loops(a: NDArray, b: NDArray) -> float:
    def k(x: NDArray, y: NDArray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    n, m = len(a), len(b)
    same = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    same += sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return same - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


def test_kid_is_the_unbiased_discrepancy() -> None:
    random = np.random.default_rng(5)
    a, b = random.normal(size=(12, 7)), random.normal(size=(12, 7)) + 0.5
    mean, spread = kernel_distance(a, b, subsets=3)
    assert mean == pytest.approx(_kid_by_loops(a, b))
    assert spread == pytest.approx(0, abs=1e-12)  # every subset is the whole set
    with pytest.raises(ValueError, match="cannot be drawn"):
        kernel_distance(a, b, subset_size=13)


def test_kid_of_one_population_is_nought_on_average_and_of_two_is_not() -> None:
    random = np.random.default_rng(6)
    one, two, other = random.normal(size=(400, 4)), random.normal(size=(400, 4)), random.normal(size=(400, 4)) + 1
    mean, spread = kernel_distance(one, two, subsets=50, subset_size=100)
    assert abs(mean) < 0.05 and 0 < spread < 0.2
    assert kernel_distance(one, other, subsets=50, subset_size=100)[0] > 1
    assert kernel_distance(one, two, seed=1, subset_size=50) == kernel_distance(one, two, seed=1, subset_size=50)


class _First(torch.nn.Module):
    """Stands for the network: a picture's first row."""

    num_features = 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0, 0, :6].double()


def test_both_are_torchmetrics_where_that_is_installed() -> None:
    of_fid, of_kid = (pytest.importorskip(f"torchmetrics.image.{name}") for name in ("fid", "kid"))
    random = np.random.default_rng(7)
    a, b = random.normal(size=(50, 6)), random.normal(size=(50, 6)) * 2 + 1
    fid = of_fid.FrechetInceptionDistance(feature=_First(), normalize=False, input_img_size=(3, 8, 8))
    kid = of_kid.KernelInceptionDistance(feature=_First(), subsets=2, subset_size=50)
    for metric in (fid.set_dtype(torch.float64), kid):
        for values, real in ((a, True), (b, False)):
            metric.update(torch.nn.functional.pad(torch.from_numpy(values)[:, None, None], (0, 2, 0, 7)), real=real)
    assert fid.compute().item() == pytest.approx(frechet_distance(a, b), rel=1e-4)
    assert kid.compute()[0].item() == pytest.approx(kernel_distance(a, b)[0], rel=1e-4)


def test_pictures_are_resized_as_tensorflow_1_did() -> None:
    ramp = torch.arange(256).float().byte().expand(1, 3, 256, 256)
    row = _prepared(ramp)[0, 0, 0] * 128 + 128
    expected = np.minimum(np.arange(299) * 256 / 299, 255)  # output pixel i at i * in / out, the border repeated
    assert row.numpy() == pytest.approx(expected, abs=1e-3)
    assert torch.equal(_prepared(ramp.mT), _prepared(ramp).mT)
    exact = torch.randint(0, 256, (1, 3, 299, 299), generator=torch.Generator().manual_seed(0)).byte()
    assert torch.equal(_prepared(exact), (exact.float() - 128) / 128)


def test_the_network_gives_2048_features_and_sees_bytes() -> None:
    random = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    network = Inception()
    found = network(random)
    assert found.shape == (2, 2048) and (found >= 0).all()  # averages of rectified values
    assert np.array_equal(network((random * 255).round().byte()), found)
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert network(random[:0]).shape == (0, 2048)
