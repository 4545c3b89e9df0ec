"""The peers' geometry and mesh branch, run as ours on a fixture's inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.conversion.fixtures import Fixture, Recorder
from gen3dface.conversion.parity_modules import Outputs, loaded
from gen3dface.conversion.volume_keys import blocks_in, encoder_keys, mesh_keys
from gen3dface.models.feature_volume import FeatureVolume
from gen3dface.models.grids import frustum_depths, frustum_points, sample_views, sample_volume, view_grid, volume_points
from gen3dface.models.mesh_network import MeshGeometry, MeshNetwork, voxelize
from gen3dface.models.sparse_conv import to_dense, voxel_mean

SYNC_CENTER = 1.5  # middle of SyncDreamer's rays
VOXEL = 0.005  # of Morphable Diffusion, in its units


def cameras(fixture: Fixture, poses: str, intrinsics: str, batch: int) -> tuple[Tensor, Tensor]:
    """Poses [B, N, 3, 4] and intrinsics [B, N, 3, 3], whether or not the fixture has a batch axis."""
    found = {**fixture.weights, **fixture.inputs}
    pose, k = found[poses], found[intrinsics][..., :3, :3]
    if pose.ndim == 3:
        pose, k = pose.expand(batch, -1, -1, -1), k.expand(batch, -1, -1, -1)
    return pose, k


def volume_unprojection(fixture: Fixture) -> Outputs:
    features, args = fixture.inputs["features"], fixture.arguments
    size = args["spatial_volume_size"]
    pose, k = cameras(fixture, "poses", "K", len(features))
    points = volume_points(size, 1.0)
    grid = view_grid(points, pose, k, args["input_image_size"], features.shape[-1], "integer")
    volume = sample_views(features, grid).flatten(1, 2).unflatten(-1, [size] * 3)
    kept = fixture.outputs["grid"].shape[1]
    return {"grid": grid[:, :kept].unflatten(2, [size] * 3), "volume": volume}


def frustum_volume_sync(fixture: Fixture) -> Outputs:
    return _frustum_volume(fixture, SYNC_CENTER)


def frustum_volume_morphable(fixture: Fixture) -> Outputs:
    return _frustum_volume(fixture, None)


def _frustum_volume(fixture: Fixture, center: float | None) -> Outputs:
    args, chosen = fixture.arguments, fixture.inputs["target_indices"]
    pose, k = cameras(fixture, "poses", "K", len(chosen))
    rows = torch.arange(len(chosen))[:, None]
    pose, k = pose[rows, chosen], k[rows, chosen]
    size = fixture.outputs["xyz"].shape[-1]
    depths = frustum_depths(pose, args["frustum_volume_depth"], 1.0, center)
    points = frustum_points(pose, k, depths, args["input_image_size"], size, "integer").flatten(0, 1)
    volume = fixture.inputs["spatial_volume"].repeat_interleave(chosen.shape[1], 0)
    return {
        "xyz": points.permute(0, 4, 1, 2, 3),
        "depth": depths.flatten(0, 1)[:, None, :, None, None],
        "features": sample_volume(volume, points * 2),
    }


def crop(name: str, volume: Tensor) -> Outputs:
    """The part of a volume [B, C, D, H, W] that is not zero, as the fixtures keep it."""
    filled = (volume != 0).any(0).any(0).nonzero()
    low, high = filled.amin(0), filled.amax(0) + 1
    box = volume[:, :, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return {f"{name}_crop": box, f"{name}_crop_start": low, f"{name}_shape": torch.tensor(volume.shape)}


def mesh_branch(fixture: Fixture) -> Outputs:
    args, x = fixture.arguments, fixture.inputs
    module = FeatureVolume(
        latent_channels=x["x"].shape[2],
        encoder_channels=fixture.outputs["encoder"].shape[2],
        time_dim=args["time_dim"],
        view_dim=x["v_embed"].shape[-1],
        volume_size=args["spatial_volume_size"],
        side=1.0,
        pixel_centers="integer",
        voxel_size=VOXEL,
        mesh_channels=mesh_widths(fixture),
    )
    assert module.mesh is not None
    entries = encoder_keys(module.encoder, "encoder.", "target_encoder.") + mesh_keys(module.mesh, "mesh.")
    loaded(module, fixture, entries)
    pose, k = cameras(fixture, "target_RT", "target_K", len(x["x"]))
    geometry = module.geometry(pose, k, args["input_image_size"], x["x"].shape[-1], x["vertices"])
    # one view a call, as the peer does: another batch size takes other kernels, and the tolerance is close
    views = [slice(i, i + 1) for i in range(x["x"].shape[1])]
    encoded = torch.cat([module.encode(x["x"][:, i], x["t_embed"], x["v_embed"][:, i]) for i in views], 1)
    at_vertices = module.at_vertices(module.unproject(encoded, geometry), geometry)
    coordinates, low, shape = voxelize(x["vertices"], VOXEL)
    outputs = {
        "encoder": encoded,
        "vertex_features": at_vertices,
        "fused_vertex_features": module.mesh.fused(at_vertices).transpose(1, 2),
        "coord": coordinates,
        "bounds": torch.stack([low.flip(-1), x["vertices"].amax(1)], 1),
        "out_sh": torch.tensor(shape).expand(len(low), -1),
    }
    volume = module(x["x"], x["t_embed"], x["v_embed"], geometry)
    assert geometry.mesh is not None
    return {**outputs, **_sparse_stages(module.mesh, at_vertices, geometry.mesh), **crop("volume", volume)}


def mesh_widths(fixture: Fixture, prefix: str = "") -> tuple[int, ...]:
    """Widths of the sparse network's stages, from its weights."""
    return tuple(fixture.weights[f"{prefix}xyzc_net.conv{i}.0.weight"].shape[0] for i in range(3))


def _sparse_stages(mesh: MeshNetwork, at_vertices: Tensor, geometry: MeshGeometry) -> Outputs:
    """Every stage of the sparse network, for the first row of the batch."""
    places = {f"conv{i}": f"stages.{i}.{blocks_in(stage) - 1}" for i, stage in enumerate(mesh.stages)}
    places |= {f"down{i}": f"down.{i}" for i in range(len(mesh.down))}
    features = mesh.fused(at_vertices).flatten(0, 1)
    with Recorder(mesh, places) as seen:
        last = mesh.sparse(voxel_mean(features, geometry.owner, len(geometry.stages[0].indices)), geometry)
    outputs = {"dense.0": to_dense(last, geometry.stages[-1])[:1]}
    for name, found in seen.found.items():
        voxels = geometry.stages[int(name[-1]) + name.startswith("down")].indices
        mine = voxels[:, 0] == 0
        outputs[f"sparse.{name}.features"] = found[mine]
        outputs[f"sparse.{name}.indices"] = voxels[mine, 1:]
    return outputs
