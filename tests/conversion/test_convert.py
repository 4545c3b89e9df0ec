"""Checkpoints to pipelines and back: whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from gen3dface.cli import app
from gen3dface.conversion.convert import convert_checkpoint, export_checkpoint
from gen3dface.conversion.key_map import export_state
from gen3dface.conversion.kinds import Peer, Source
from gen3dface.conversion.ldm_keys import CONV_IN, ldm_keys
from gen3dface.conversion.peer_keys import export_peer
from gen3dface.errors import CheckpointError, Gen3DFaceError, OutputError
from gen3dface.files import file_sha256
from gen3dface.models.build import Models, build_models
from gen3dface.pipelines import Gen3DFacePipeline
from tests.conversion.test_peer_keys import TINY, ZERO123

TABLES = {"betas": torch.zeros(4), "alphas_cumprod": torch.ones(4)}


def tiny(kind: str) -> dict[str, Any]:
    """The configuration of a kind, at small widths with its true names."""
    return {"extends": "sd15", **ZERO123, **TINY} if kind == "zero123" else {"extends": kind, **TINY}


def drawn(models: Models) -> dict[str, dict[str, Tensor]]:
    """State dicts of random values, none of them the models' own."""
    generator = torch.Generator().manual_seed(3)

    def draw(t: Tensor) -> Tensor:
        return torch.randn(t.shape, generator=generator) if t.is_floating_point() else t

    return {name: {k: draw(t) for k, t in m.state_dict().items()} for name, m in models.modules().items()}


def peer_checkpoint(kind: str) -> dict[str, Tensor]:
    """A whole checkpoint as the peer publishes it."""
    models = build_models(tiny(kind))
    return {**export_peer(drawn(models), models), **TABLES}


def ldm_checkpoint(source: Source) -> dict[str, Tensor]:
    """A latent diffusion checkpoint with all that lies around the weights."""
    models = build_models(tiny(source.value))
    ours = drawn(models)
    state = {k: v for part, keys in ldm_keys(models, source).items() for k, v in export_state(ours[part], keys).items()}
    if source is Source.sd15:
        state[CONV_IN] = state[CONV_IN][:, :4].contiguous()
        state["cond_stage_model.transformer.text_model.final_layer_norm.weight"] = torch.ones(2)
    return {**state, **TABLES, "model_ema.decay": torch.ones(())}


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(found[k].dtype == t.dtype and found[k].equal(t) for k, t in wanted.items())


@pytest.mark.parametrize("kind", list(Peer))
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_there_and_back_is_bit_equal(kind: Peer, suffix: str, tmp_path: Path) -> None:
    state, path = peer_checkpoint(kind.value), tmp_path / f"model.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:  # a tensor may lie in memory in any order
        torch.save({"state_dict": {**state, CONV_IN: state[CONV_IN].mT.contiguous().mT}, "epoch": 1}, path)
    folder = convert_checkpoint(Source(kind.value), path, tmp_path / "model", tiny(kind.value))
    back = export_checkpoint(kind, folder, tmp_path / "back.safetensors")
    assert_equal(load_file(back), {k: v for k, v in state.items() if k not in TABLES})
    record = json.loads((folder / "source.json").read_text())
    assert record["sha256"] == file_sha256(path) and record["source"] == kind.value
    assert record["ignored"] == sorted(TABLES) and record["initialised"] == [] and record["seed"] is None
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["back.safetensors", "model", path.name])


def test_half_precision_stays_half_and_is_not_computed_with_unasked(tmp_path: Path) -> None:
    state = {k: t.half() if t.is_floating_point() else t for k, t in peer_checkpoint("syncdreamer").items()}
    save_file(state, tmp_path / "in.safetensors")
    folder = convert_checkpoint(Source.syncdreamer, tmp_path / "in.safetensors", tmp_path / "out", tiny("syncdreamer"))
    back = export_checkpoint(Peer.syncdreamer, folder, tmp_path / "back.safetensors")
    assert_equal(load_file(back), {k: v for k, v in state.items() if k not in TABLES})
    for asked, wanted in (({}, torch.float32), ({"torch_dtype": torch.float16}, torch.float16)):
        pipe = Gen3DFacePipeline.from_pretrained(folder, **asked)
        found = {t.dtype for m in pipe.components.values() if isinstance(m, torch.nn.Module) for t in m.parameters()}
        assert found == {wanted}
    assert pipe.config["trained_range"] == {"elevation": [30.0, 30.0], "distance": [0.6, 0.6]}


@pytest.mark.parametrize("source", [Source.sd15, Source.zero123])
def test_a_part_of_the_model_leaves_the_rest_to_the_seed(source: Source, tmp_path: Path) -> None:
    state, config = ldm_checkpoint(source), tiny(source.value)
    save_file(state, tmp_path / "in.safetensors")
    made = [convert_checkpoint(source, tmp_path / "in.safetensors", tmp_path / str(i), config, seed=5) for i in (0, 1)]
    pipe = Gen3DFacePipeline.from_pretrained(made[0])
    found = {
        k: v
        for part, keys in ldm_keys(on_meta(config), source).items()
        for k, v in export_state(getattr(pipe, part).state_dict(), keys).items()
    }
    conv_in = found.pop(CONV_IN)
    given = state[CONV_IN].shape[1]
    assert conv_in.shape[1] == 8 and conv_in[:, :given].equal(state[CONV_IN]) and not conv_in[:, given:].any()
    assert all(found[name].equal(state[name]) for name in found)
    record = json.loads((made[0] / "source.json").read_text())
    fresh = ["conditioner", "unet.mid_depth", "unet.up_depth"]
    if source is Source.sd15:
        fresh = ["conditioner", "image_encoder", *fresh[1:], "unet.unet.conv_in: zeros for the photo's channels"]
    assert record["initialised"] == fresh and record["seed"] == 5
    for part in ("conditioner", "unet"):
        files = [next((folder / part).glob("*.safetensors")) for folder in made]
        assert_equal(load_file(files[0]), load_file(files[1]))
    last = pipe.unet.mid_depth.state_dict()
    assert any(not t.any() for t in last.values()), "a fresh depth transformer adds nothing at first"


def test_syncdreamer_starts_the_papers_model(tmp_path: Path) -> None:
    """As Morphable Diffusion began: of the volumes only the view encoder is kept, and no token knows its view."""
    state, config = peer_checkpoint("syncdreamer"), {**tiny("sd15"), "token_projection": None}
    save_file(state, tmp_path / "in.safetensors")
    folder = convert_checkpoint(Source.syncdreamer, tmp_path / "in.safetensors", tmp_path / "out", config, seed=2)
    record = json.loads((folder / "source.json").read_text())
    dropped = ("spatial_volume.spatial_volume_feats.", "spatial_volume.frustum_volume_feats.", "cc_projection.")
    assert record["initialised"] == ["conditioner.frustum", "conditioner.volume.mesh"]
    assert record["ignored"] == sorted(k for k in state if k in TABLES or k.startswith(dropped))
    models = on_meta(config)
    assert models.unet.config["input_view"] == "extra_frame" and models.unet.config["joint_attention_levels"] is None
    pipe = Gen3DFacePipeline.from_pretrained(folder)
    kept = export_peer({n: m.state_dict() for n, m in pipe.components.items() if n in models.modules()}, models)
    same = [k for k in state if k not in record["ignored"]]
    assert len(same) > 900 and all(kept[k].equal(state[k]) for k in same)


def test_morphable_diffusion_starts_the_papers_model_with_all_it_has(tmp_path: Path) -> None:
    state = peer_checkpoint("morphable-diffusion")
    save_file(state, tmp_path / "in.safetensors")
    source = Source.morphable_diffusion
    folder = convert_checkpoint(source, tmp_path / "in.safetensors", tmp_path / "out", tiny("sd15"))
    assert json.loads((folder / "source.json").read_text())["initialised"] == []
    back = export_checkpoint(Peer.morphable_diffusion, folder, tmp_path / "back.safetensors")
    assert_equal(load_file(back), {k: v for k, v in state.items() if k not in TABLES})


def on_meta(config: dict[str, Any]) -> Models:
    with torch.device("meta"):
        return build_models(config)


def test_sd15_takes_an_image_encoder_from_a_folder(tmp_path: Path) -> None:
    config = tiny("sd15")
    encoder: Any = build_models(config).image_encoder
    encoder.save_pretrained(tmp_path / "clip")
    save_file(ldm_checkpoint(Source.sd15), tmp_path / "in.safetensors")
    folder = convert_checkpoint(
        Source.sd15, tmp_path / "in.safetensors", tmp_path / "out", config, image_encoder=tmp_path / "clip"
    )
    assert_equal(load_file(folder / "image_encoder" / "model.safetensors"), encoder.state_dict())
    assert "image_encoder" not in json.loads((folder / "source.json").read_text())["initialised"]
    with pytest.raises(CheckpointError, match="no folder"):
        convert_checkpoint(
            Source.sd15, tmp_path / "in.safetensors", tmp_path / "more", config, image_encoder=tmp_path / "none"
        )


@pytest.mark.parametrize("source", [Source.morphable_diffusion, Source.zero123])
def test_every_fault_is_named_and_nothing_is_written(source: Source, tmp_path: Path) -> None:
    ldm = source is Source.zero123
    state = ldm_checkpoint(source) if ldm else peer_checkpoint(source.value)
    renamed, missing, misshapen = (
        k for k in sorted(state) if k.endswith("out_layers.3.weight") and "output" in k and k.split(".")[3] in "012"
    )
    state["other.name"] = state.pop(renamed)
    state["surplus"] = torch.zeros(1)
    del state[missing]
    state[misshapen] = torch.zeros(2, 2)
    save_file(state, tmp_path / "in.safetensors")
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(source, tmp_path / "in.safetensors", tmp_path / "a" / "out", tiny(source.value))
    said = str(caught.value)
    assert f"missing {', '.join(sorted([renamed, missing]))};" in said
    assert "unexpected other.name, surplus;" in said
    assert f"misshapen {misshapen} [2, 2] for [32, 32, 3, 3]" in said
    assert [p.name for p in tmp_path.iterdir()] == ["in.safetensors"]


def test_a_hostile_checkpoint_is_refused(tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"state_dict": {"w": torch.ones(1)}, "x": Call()}, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match="system"):
        convert_checkpoint(Source.sd15, tmp_path / "bad.ckpt", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ckpt"]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    (tmp_path / "out.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        convert_checkpoint(Source.sd15, tmp_path / "in.ckpt", tmp_path / "out")
    for out, message in (("out.safetensors", "exists"), ("out.ckpt", "must end in")):
        with pytest.raises(OutputError, match=message):
            export_checkpoint(Peer.syncdreamer, tmp_path / "out", tmp_path / out)
    assert (tmp_path / "out" / "mine.txt").read_text() == (tmp_path / "out.safetensors").read_text() == "mine"


def test_only_what_a_peer_can_hold_is_written_for_it(tmp_path: Path) -> None:
    save_file(peer_checkpoint("morphable-diffusion"), tmp_path / "in.safetensors")
    config = tiny("morphable-diffusion")
    folder = convert_checkpoint(Source.morphable_diffusion, tmp_path / "in.safetensors", tmp_path / "model", config)
    with pytest.raises(CheckpointError, match="cc_projection"):
        export_checkpoint(Peer.syncdreamer, folder, tmp_path / "out.safetensors")
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    for broken in (folder, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="holds no"):
            export_checkpoint(Peer.morphable_diffusion, broken, tmp_path / "out.safetensors")
    assert not list(tmp_path.glob("*out*"))


def test_the_command(tmp_path: Path) -> None:
    import yaml

    state = peer_checkpoint("syncdreamer")
    save_file(state, tmp_path / "in.safetensors")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny("syncdreamer")))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["convert", *(a.replace("@", f"{tmp_path}/") for a in arguments)])

    assert run("syncdreamer", "@in.safetensors", "-o", "@model", "--config", "@tiny.yaml").exit_code == 0
    assert run("--export", "syncdreamer", "@model", "-o", "@back.safetensors").exit_code == 0
    assert load_file(tmp_path / "back.safetensors").keys() == state.keys() - TABLES.keys()
    for wrong in (("other", "@in", "-o", "@x"), ("sd15", "-o", "@x"), ("--export", "sd15", "@model", "-o", "@x")):
        assert run(*wrong).exit_code == 2
    failed = run("sd15", "@none.ckpt", "-o", "@x")
    assert isinstance(failed.exception, Gen3DFaceError) and "none.ckpt" in str(failed.exception)
