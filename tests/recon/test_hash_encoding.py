"""The hash encoding against closed forms, and its two ways against each other."""

import pytest
import torch

from gen3dface.recon.hash_encoding import HashEncoding

KERNELS = [False, pytest.param(True, marks=pytest.mark.skipif(not HashEncoding().compiled, reason="needs numba"))]


@pytest.mark.parametrize("compiled", KERNELS)
def test_a_linear_table_gives_a_linear_function(compiled: bool) -> None:
    """Trilinear interpolation has no error on it; corners with a row each do not share."""
    encoding = HashEncoding(levels=2, coarsest=3, finest=7, compiled=compiled)
    assert encoding.dense == 2
    slope = torch.tensor([2.0, -3.0, 0.5])
    rows = []
    for cells in (3, 7):
        line = torch.arange(cells + 1) / cells
        z, y, x = torch.meshgrid(line, line, line, indexing="ij")
        rows.append(torch.stack([x, y, z], -1).reshape(-1, 3) @ slope)
    with torch.no_grad():
        encoding.table[:, 0] = torch.cat(rows)
        encoding.table[:, 1] = 1
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    points = torch.cat([points, torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0.5, 0]])])
    found = encoding(points).reshape(-1, 2, 2)
    torch.testing.assert_close(found[..., 0], (points @ slope)[:, None].expand(-1, 2))
    torch.testing.assert_close(found[..., 1], torch.ones(len(points), 2))


def test_rows_of_hashed_levels_are_the_paper_s() -> None:
    """Eq. 4, written out for one corner."""
    encoding = HashEncoding(levels=1, log2_rows=10, coarsest=64, finest=64, compiled=False)
    assert encoding.dense == 0
    x, y, z = 13, 40, 57
    row = (x * 1 ^ y * 2_654_435_761 ^ z * 805_459_861) % 1024
    with torch.no_grad():
        encoding.table.zero_()
        encoding.table[row] = 1
    corner = torch.tensor([[x, y, z]]) / 64
    torch.testing.assert_close(encoding(corner), torch.ones(1, 2))


@pytest.mark.skipif(not HashEncoding().compiled, reason="needs numba")
def test_compiled_loops_equal_their_plain_twin() -> None:
    """Values and the table's gradient, dense and hashed levels, points beyond the cube too."""
    fast = HashEncoding(levels=5, log2_rows=12, coarsest=8, finest=64, compiled=True)
    plain = HashEncoding(levels=5, log2_rows=12, coarsest=8, finest=64, compiled=False)
    assert 0 < fast.dense < 5
    with torch.no_grad():
        fast.table.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        plain.table.copy_(fast.table)
    random = torch.Generator().manual_seed(2)
    points = torch.rand(500, 3, generator=random) * 1.2 - 0.1
    pull = torch.rand(500, 10, generator=random)
    a, b = fast(points), plain(points)
    torch.testing.assert_close(a, b)
    grads = [torch.autograd.grad(out, e.table, pull)[0] for out, e in ((a, fast), (b, plain))]
    torch.testing.assert_close(*grads)
