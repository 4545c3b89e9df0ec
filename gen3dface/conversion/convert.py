"""Public checkpoints to folders that `Gen3DFacePipeline.from_pretrained` reads, and back."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gen3dface import __version__
from gen3dface.conversion.kinds import Peer, Source
from gen3dface.conversion.ldm_keys import CONV_IN, import_ldm, ldm_ignores
from gen3dface.conversion.peer_keys import IGNORED, export_peer, import_peer, import_start, left_behind
from gen3dface.conversion.read import read_state_dict
from gen3dface.conversion.saved import saved_models
from gen3dface.errors import CheckpointError, OutputError
from gen3dface.files import file_sha256, write_failure
from gen3dface.models.build import Models, build_models, load_config
from gen3dface.outputs.staging import staged_folder
from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline

logger = logging.getLogger(__name__)

SOURCE_FILE = "source.json"
_DENSE = "spatial_volume.spatial_volume_feats."
_MESH = "spatial_volume.xyzc_net."
_TOKENS = "cc_projection."
# zero123 tells the view through the image's token, in the signs that SyncDreamer took over
_ZERO123 = {
    "extends": "sd15",
    "settings": {"view_convention": "sync"},
    "token_projection": {"token_dim": 768, "view_dim": 4},
}
_PEERS = (Source.syncdreamer, Source.morphable_diffusion)
_POSTERIOR = dict.fromkeys(_PEERS, "sample")  # as their own code encodes the photo

Config = str | Path | Mapping[str, Any]
States = Mapping[str, Mapping[str, Tensor]]


def convert_checkpoint(
    source: Source,
    checkpoint: str | Path,
    out: str | Path,
    config: Config | None = None,
    image_encoder: str | Path | None = None,
    seed: int = 0,
) -> Path:
    """Write the pipeline that a checkpoint holds to a new folder, with `source.json` beside it.

    Stable Diffusion 1.5 and zero123 hold a part of the model, and so does SyncDreamer where `config` asks for a
    mesh-aware one: the rest is drawn from `seed`, and `source.json` lists it under `initialised`. The full size takes
    6 GB of memory while it is drawn, and as much while it is written.

    Args:
        checkpoint: .safetensors, or what torch.save wrote; nothing in it is run.
        config: of the model (see `build_models`), for a checkpoint of other widths than the published one, or for
            another model to start from it: `sd15` is the paper's.
        image_encoder: a folder with CLIP ViT-L/14 in transformers' format, for `sd15`, which has no image encoder.
        seed: of the weights that the checkpoint does not hold.

    Raises:
        CheckpointError: the file is unsafe or damaged, or names are missing, unexpected or misshapen.
        OutputError: `out` exists and is not empty, or cannot be written. After any error `out` is as it was.
    """
    out, checkpoint = Path(out), Path(checkpoint)
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(f"'{out}' exists and is not empty. Move it or choose another output folder.")
    if image_encoder is not None and source is not Source.sd15:
        raise CheckpointError(f"{source.value} brings its own image encoder; leave image_encoder out.")
    initialised: list[str] = []
    with staged_folder(out) as folder:
        state = read_state_dict(checkpoint)
        described = load_config(_described(source, state) if config is None else config)
        if source in _PEERS and not _starts(source, described):
            models = _whole(state, described)
        else:
            models, initialised = _partial(source, state, described, image_encoder, seed)
        record = _record(source, checkpoint, _passed_over(source, state, described), initialised, seed)
        pipe = Gen3DFacePipeline.from_models(models, posterior=_POSTERIOR.get(source, "mode"))
        try:
            pipe.save_pretrained(folder)
            (folder / SOURCE_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise OutputError(f"cannot write '{out}': {error}. Choose a folder with enough free space.") from error
    for part in initialised:
        logger.warning("%s holds no %s: it starts from seed %d.", checkpoint.name, part, seed)
    return out


def export_checkpoint(peer: Peer, folder: str | Path, out: str | Path) -> Path:
    """Write a pipeline's weights as one .safetensors checkpoint under a peer's own names.

    The peers' tables (noise schedule, fixed cameras) and the left-overs of CLIP's text side are no weights of ours and
    are not in it.

    Raises:
        CheckpointError: the folder holds no pipeline, or one that the peer's code cannot hold.
        OutputError: the file is no .safetensors, exists, or cannot be written.
    """
    folder, out = Path(folder), Path(out)
    if out.suffix != ".safetensors":
        raise OutputError(f"'{out.name}' must end in .safetensors.")
    if out.exists():
        raise OutputError(f"'{out}' exists. Move it or choose another name.")
    models = saved_models(folder)
    state = export_peer({name: module.state_dict() for name, module in models.modules().items()}, models)
    _check_peer(peer, state, models)
    _save(state, out, {"format": "pt", "gen3dface": __version__, "written_for": peer.value})
    return out


def _described(source: Source, state: Mapping[str, Tensor]) -> Config:
    """The configuration of a published checkpoint."""
    if source is Source.zero123:
        return _ZERO123
    if source is Source.morphable_diffusion and any(name.startswith(_DENSE) for name in state):
        dense = {"volume_config": {"dense_channels": [64, 128, 256, 512]}}  # its `use_spatial_volume`
        return {"extends": source.value, "conditioner": dense}
    return source.value


def _starts(source: Source, config: Mapping[str, Any]) -> bool:
    """Whether SyncDreamer's weights are but the start of a mesh-aware model."""
    volume = config.get("conditioner", {}).get("volume_config", {})
    return source is Source.syncdreamer and volume.get("mesh_channels", True) is not None


def _whole(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Models:
    """Models of a checkpoint that holds all of them; its tensors are taken as they are, in their dtype."""
    with torch.device("meta"):
        models = build_models(config)
    _fill(models, import_peer(state, models))
    return models


def _partial(
    source: Source, state: Mapping[str, Tensor], config: Mapping[str, Any], encoder: str | Path | None, seed: int
) -> tuple[Models, list[str]]:
    """Models with what the checkpoint holds, and the names of what it does not."""
    with torch.device("meta"):
        empty = build_models(config)
        # before the slow part: does it fit?
        found = import_start(state, empty) if source is Source.syncdreamer else import_ldm(state, empty, source)
    if encoder is not None:
        found["image_encoder"] = _clip_state(Path(encoder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models = build_models(config)
    _fill(models, {part: {**models.modules()[part].state_dict(), **tensors} for part, tensors in found.items()})
    grown = source is Source.sd15 and state[CONV_IN].shape[1] < models.unet.unet.config["in_channels"]
    return models, _not_held(models, found) + (["unet.unet.conv_in: zeros for the photo's channels"] if grown else [])


def _not_held(models: Models, found: States) -> list[str]:
    """Components that the checkpoint does not hold, and modules that it leaves out of those that it does."""
    missing = [name for name in models.modules() if name not in found]
    for name, tensors in found.items():
        held = {prefix for key in tensors for prefix in _prefixes(key)}
        lacking = (key for key in models.modules()[name].state_dict() if key not in tensors)
        missing += {f"{name}.{next(p for p in _prefixes(key) if p not in held)}" for key in lacking}
    return sorted(missing)


def _prefixes(key: str) -> list[str]:
    """a.b.c -> a, a.b, a.b.c."""
    parts = key.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _fill(models: Models, states: States) -> None:
    """Put tensors in the place of the models' own, without a copy."""
    for name, tensors in states.items():
        # safetensors stores rows in order; a tensor that lies otherwise is copied
        models.modules()[name].load_state_dict({k: t.contiguous() for k, t in tensors.items()}, assign=True)


def _clip_state(folder: Path) -> dict[str, Tensor]:
    from transformers import CLIPVisionModelWithProjection

    if not folder.is_dir():
        raise CheckpointError(f"There is no folder '{folder}' with an image encoder.")
    try:
        encoder = CLIPVisionModelWithProjection.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{folder}' holds no CLIP image encoder: {error}") from error
    return encoder.state_dict()


def _passed_over(source: Source, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> list[str]:
    """Names of the checkpoint that hold nothing for the model."""
    if _starts(source, config):
        return sorted(filter(left_behind, state))
    return sorted(name for name in state if (name in IGNORED if source in _PEERS else ldm_ignores(name, source)))


def _record(source: Source, checkpoint: Path, passed: list[str], initialised: list[str], seed: int) -> dict[str, Any]:
    """What `source.json` says."""
    return {
        "source": source.value,
        "file": checkpoint.name,
        "bytes": checkpoint.stat().st_size,
        "sha256": file_sha256(checkpoint),
        "format": "safetensors" if checkpoint.suffix == ".safetensors" else "torch",
        "gen3dface": __version__,
        "ignored": passed,
        "initialised": initialised,
        "seed": seed if initialised else None,
    }


def _check_peer(peer: Peer, state: Mapping[str, Tensor], models: Models) -> None:
    """Raise when the peer's code has no place for a part, or asks for one that is not there."""
    needs = (_TOKENS, _DENSE) if peer is Peer.syncdreamer else (_MESH,)
    refuses = (_MESH,) if peer is Peer.syncdreamer else (_TOKENS,)
    faults = [f"it needs {p}*" for p in needs if not any(name.startswith(p) for name in state)]
    faults += [f"it has no {p}*" for p in refuses if any(name.startswith(p) for name in state)]
    if faults:
        raise CheckpointError(f"This model cannot be written for {peer.value}: {', '.join(faults)}.")
    settings = models.unet.config
    if settings["joint_attention_levels"] != [] or settings["input_view"] != "none":
        logger.warning(
            "%s denoises each view by itself: its code runs these weights without the attention between the views.",
            peer.value,
        )


def _save(state: Mapping[str, Tensor], out: Path, metadata: dict[str, str]) -> None:
    """Write a .safetensors file whole or not at all."""
    temporary = out.with_name(f".{out.name[:100]}.{secrets.token_hex(4)}.tmp")
    with ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        try:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary, metadata)
            os.replace(temporary, out)
        except OSError as error:
            raise OutputError(write_failure(out, error)) from error
        except SafetensorError as error:
            raise OutputError(f"cannot write '{out}': {error}.") from error
