"""The mesh branch's sparse network run by spconv, an optional library with its own kernels.

Its CPU code gives wrong and changing numbers with more than one OpenMP thread (2.3.8), which is why nothing turns it
on by itself and `MeshNetwork.use_spconv` compares it with the plain PyTorch code first.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from gen3dface.errors import MissingExtraError

if TYPE_CHECKING:
    from gen3dface.models.mesh_network import MeshGeometry, MeshNetwork, SparseStage


def import_spconv() -> Any:
    """spconv's PyTorch module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import spconv.pytorch
    except ImportError as error:
        raise MissingExtraError("spconv is not installed: pip install 'gen3dface[sparse]' (or [cuda]).") from error
    return spconv.pytorch


def run_spconv(network: MeshNetwork, features: Tensor, geometry: MeshGeometry) -> Tensor:
    """What `MeshNetwork.sparse` computes, rows in the same order: [S, channels[0]] -> [S', channels[-1]]."""
    first, last = geometry.stages[0], geometry.stages[-1]
    x = import_spconv().SparseConvTensor(features, first.indices.int(), list(first.shape), first.batch)
    for index, stage in enumerate(network.stages):
        if index:
            x = _layer(cast("SparseStage", network.down[index - 1]), x, "SparseConv3d", None)
        for layer in cast(nn.ModuleList, stage):
            x = _layer(cast("SparseStage", layer), x, "SubMConv3d", f"stage{index}")
    order = last.keys(x.indices.long()).argsort()
    return x.features[order]


def _layer(layer: SparseStage, x: Any, kind: str, key: str | None) -> Any:
    """Convolution, batch norm, ReLU on one of spconv's tensors."""
    weight = layer.conv.weight.permute(0, 2, 3, 4, 1).contiguous()  # spconv's layout
    module = _convolution(kind, weight.shape[-1], weight.shape[0], key, str(weight.device))
    out = torch.func.functional_call(module, {"weight": weight}, (x,))
    return out.replace_feature(layer.norm(out.features).relu())


@functools.lru_cache(maxsize=64)
def _convolution(kind: str, inputs: int, outputs: int, key: str | None, device: str) -> Any:
    """A module without weights of its own that matter: they are passed in."""
    settings = {"indice_key": key} if key else {"stride": 2}
    return getattr(import_spconv(), kind)(inputs, outputs, 3, padding=1, bias=False, **settings).to(device)
