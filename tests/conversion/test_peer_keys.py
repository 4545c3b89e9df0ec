"""The names and shapes of the public checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gen3dface.conversion.kinds import Source
from gen3dface.conversion.ldm_keys import CONV_IN, import_ldm
from gen3dface.conversion.peer_keys import IGNORED, export_peer, import_peer, import_start, peer_keys
from gen3dface.errors import CheckpointError
from gen3dface.models.build import Models, build_models
from tests.conversion.peers import FIXTURES, REASON

WITH_VOLUME = {
    "extends": "morphable-diffusion",
    "conditioner": {"volume_config": {"dense_channels": [64, 128, 256, 512]}},
}
PEERS: list[tuple[str, Any]] = [
    ("syncdreamer", "syncdreamer"),
    ("morphable_facescape", "morphable-diffusion"),
    ("morphable_facescape_spatialvol", WITH_VOLUME),
]
# the same structures at a size that a test can fill with numbers
TINY: dict[str, Any] = {
    "vae": {"block_out_channels": [32, 32, 32, 32]},
    "image_encoder": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 768,
    },
    "conditioner": {"volume_config": {"time_dim": 16}, "frustum_channels": [8, 16, 24, 32]},
    "unet": {
        "volume_channels": [8, 16, 24, 32],
        "unet_config": {"block_out_channels": [32, 32, 32, 32], "cross_attention_dim": 768},
    },
}


ZERO123: dict[str, Any] = {
    "settings": {"view_convention": "sync"},
    "token_projection": {"token_dim": 768, "view_dim": 4},
}


def on_meta(config: Any) -> Models:
    with torch.device("meta"):
        return build_models(config)


@pytest.mark.parametrize(("name", "config"), PEERS, ids=[name for name, _ in PEERS])
def test_every_name_and_shape_of_a_public_checkpoint(name: str, config: Any) -> None:
    state, models = listed(name), on_meta(config)
    ours = import_peer(state, models)
    for component, module in models.modules().items():
        assert {k: v.shape for k, v in ours[component].items()} == {k: v.shape for k, v in module.state_dict().items()}
    back = export_peer(ours, models)
    assert set(state) - set(back) <= IGNORED and set(back) <= set(state)
    assert all(back[k].shape == state[k].shape for k in back)


def listed(name: str) -> dict[str, torch.Tensor]:
    """A public checkpoint's names and shapes, without numbers."""
    path = Path(FIXTURES).parent / f"{name}_state_dict.json"
    if not path.is_file():
        pytest.skip(REASON)
    entries = json.loads(path.read_text())
    return {k: torch.empty(v["shape"], dtype=getattr(torch, v["dtype"]), device="meta") for k, v in entries.items()}


@pytest.mark.parametrize("source", [Source.sd15, Source.zero123])
def test_every_name_and_shape_of_what_syncdreamer_descends_from(source: Source) -> None:
    """SyncDreamer holds zero123's tensors under other prefixes, and zero123 Stable Diffusion's, but for one shape."""
    found, state = listed("syncdreamer"), {}
    for name, tensor in found.items():
        depth = ("model.diffusion_model.middle_conditions.", "model.diffusion_model.output_conditions.")
        if name.startswith(("model.diffusion_model.", "first_stage_model.")) and not name.startswith(depth):
            state[name] = tensor
        if source is Source.zero123 and name.startswith(("clip_image_encoder.", "cc_projection.")):
            state[name.replace("clip_image_encoder.", "cond_stage_model.")] = tensor
    if source is Source.sd15:
        state[CONV_IN] = state[CONV_IN][:, :4]
        state["cond_stage_model.transformer.text_model.encoder.layers.0.layer_norm1.weight"] = torch.empty(768)
        assert len(state) == 686 + 248 + 1
    state |= {"betas": torch.empty(1000), "model_ema.num_updates": torch.empty(())}
    models = on_meta("sd15" if source is Source.sd15 else {"extends": "sd15", **ZERO123})
    ours = import_ldm(state, models, source)
    for part, tensors in ours.items():
        wanted = models.modules()[part].state_dict()
        lacking = {k.split(".")[0] for k in wanted.keys() - tensors.keys()}
        assert lacking == ({"mid_depth", "up_depth"} if part == "unet" else set())
        assert all(tensors[k].shape == wanted[k].shape for k in tensors)


def test_syncdreamer_starts_the_papers_model_at_full_size() -> None:
    models, state = on_meta("sd15"), listed("syncdreamer")
    ours = import_start(state, models)
    unet, conditioner = (models.modules()[n].state_dict() for n in ("unet", "conditioner"))
    assert ours["unet"].keys() == unet.keys() and set(ours) == {"vae", "image_encoder", "unet", "conditioner"}
    fresh = {".".join(k.split(".")[:2]) for k in conditioner.keys() - ours["conditioner"].keys()}
    assert {k.split(".")[0] for k in fresh} == {"frustum", "volume"} and "volume.encoder" not in fresh
    state["spatial_volume.target_encoder.more"] = torch.empty(1)
    with pytest.raises(CheckpointError, match=r"unexpected spatial_volume\.target_encoder\.more"):
        import_start(state, models)


@pytest.mark.parametrize("peer", ["syncdreamer", "morphable-diffusion"])
def test_a_checkpoint_goes_there_and_back_bit_for_bit(peer: str) -> None:
    models = build_models({"extends": peer, **TINY})
    ours = {
        name: {k: torch.randn(v.shape) if v.is_floating_point() else v for k, v in module.state_dict().items()}
        for name, module in models.modules().items()
    }
    theirs = export_peer(ours, models)
    back = import_peer({**theirs, "betas": torch.zeros(3)}, models)
    for name, state in ours.items():
        assert set(state) == set(back[name]) and all(back[name][k].equal(v) for k, v in state.items())
        models.modules()[name].load_state_dict(back[name])


def test_no_name_is_used_twice() -> None:
    for config in ("syncdreamer", "morphable-diffusion", WITH_VOLUME):
        entries = [e for es in peer_keys(on_meta(config)).values() for e in es]
        assert len({e.theirs for e in entries}) == len(entries)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(CheckpointError, match="CLIP"):
        peer_keys(on_meta("mini"))
