"""The names and shapes of the public checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gen3dface.conversion.peer_keys import IGNORED, export_peer, import_peer, peer_keys
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


def on_meta(config: Any) -> Models:
    with torch.device("meta"):
        return build_models(config)


@pytest.mark.parametrize(("name", "config"), PEERS, ids=[name for name, _ in PEERS])
def test_every_name_and_shape_of_a_public_checkpoint(name: str, config: Any) -> None:
    path = Path(FIXTURES).parent / f"{name}_state_dict.json"
    if not path.is_file():
        pytest.skip(REASON)
    listed = json.loads(path.read_text())
    state = {k: torch.empty(v["shape"], dtype=getattr(torch, v["dtype"]), device="meta") for k, v in listed.items()}
    models = on_meta(config)
    ours = import_peer(state, models)
    for component, module in models.modules().items():
        assert {k: v.shape for k, v in ours[component].items()} == {k: v.shape for k, v in module.state_dict().items()}
    back = export_peer(ours, models)
    assert set(state) - set(back) <= IGNORED and set(back) <= set(state)
    assert all(back[k].shape == state[k].shape for k in back)


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
