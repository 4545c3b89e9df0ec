"""A pipeline survives its folder: variants, dtypes, shards, optional parts, and diffusers' own door."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from diffusers.utils import hub_utils
from huggingface_hub import ModelCard

from gen3dface.pipelines import Gen3DFacePipeline
from tests.pipelines.tiny_models import PAPER, SMALL, inputs, tiny_pipeline


@pytest.fixture(scope="module", params=[PAPER, SMALL], ids=["paper", "small"])
def pipe(request: pytest.FixtureRequest) -> Gen3DFacePipeline:
    return tiny_pipeline(request.param, trained_range={"azimuth": [-90.0, 90.0]})


def _quiet(pipe: Gen3DFacePipeline) -> Gen3DFacePipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _check_same(again: Gen3DFacePipeline, pipe: Gen3DFacePipeline) -> None:
    """Weights bit for bit; pictures as far as the place of weights in memory lets a processor's kernels agree."""
    for name, module in pipe.components.items():
        if isinstance(module, torch.nn.Module):
            torch.testing.assert_close(again.components[name].state_dict(), module.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(again(**inputs()).images, pipe(**inputs()).images, rtol=0, atol=1e-5)


def test_saving_and_loading_changes_nothing(pipe: Gen3DFacePipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = _quiet(Gen3DFacePipeline.from_pretrained(tmp_path))
    _check_same(again, pipe)
    own = {k: v for k, v in pipe.config.items() if not isinstance(v, (tuple, list)) and not k.startswith("_")}
    assert {k: again.config[k] for k in own} == own
    assert again.config["shells"] == pipe.config["shells"]
    assert again.token_projection is None
    assert not list(tmp_path.rglob("*.bin"))


def test_variant_dtype_and_shards(pipe: Gen3DFacePipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path, variant="ema", max_shard_size="200KB")
    assert len(list((tmp_path / "unet").glob("*.ema*.safetensors"))) > 1
    again = _quiet(Gen3DFacePipeline.from_pretrained(tmp_path, variant="ema", torch_dtype=torch.bfloat16))
    assert again.unet.dtype == again.conditioner.dtype == torch.bfloat16
    assert torch.equal(again.unet.unet.conv_in.weight, pipe.unet.unet.conv_in.weight.bfloat16())


def test_pushing_to_the_hub_sends_a_whole_pipeline(
    pipe: Gen3DFacePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the sending: what would be uploaded is a folder that loads, with its model card and a variant."""
    sent = tmp_path / "sent"

    def upload(self: Gen3DFacePipeline, folder: str, repo_id: str, **_: Any) -> str:
        shutil.copytree(folder, sent)
        return repo_id

    monkeypatch.setattr(hub_utils, "create_repo", lambda name, **_: SimpleNamespace(repo_id=f"someone/{name}"))
    monkeypatch.setattr(hub_utils, "load_or_create_model_card", lambda *_, **__: ModelCard("---\n---\n"))
    monkeypatch.setattr(Gen3DFacePipeline, "_upload_folder", upload)
    assert pipe.push_to_hub("model", variant="ema") == "someone/model"
    assert (sent / "README.md").is_file() and (sent / "pipeline.py").is_file()
    _check_same(_quiet(Gen3DFacePipeline.from_pretrained(sent, variant="ema")), pipe)


def test_a_component_can_be_given_at_loading(pipe: Gen3DFacePipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    again = Gen3DFacePipeline.from_pretrained(tmp_path, scheduler=scheduler)
    assert again.scheduler is scheduler


def test_a_pipeline_can_do_without_its_optional_parts(tmp_path: Path) -> None:
    config = PAPER | {"unet": {**PAPER["unet"], "volume_channels": None}}
    pipe = tiny_pipeline(config, conditioner=None, image_encoder=None)
    pipe.save_pretrained(tmp_path)
    again = _quiet(Gen3DFacePipeline.from_pretrained(tmp_path))
    assert again.image_encoder is None and again.conditioner is None
    _check_same(again, pipe)


def test_diffusers_loads_it_by_its_own_door(pipe: Gen3DFacePipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "model")
    folder = str(tmp_path / "model")
    again = _quiet(DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True))
    assert type(again) is Gen3DFacePipeline
    _check_same(again, pipe)


def test_diffusers_door_is_open_in_a_fresh_process(pipe: Gen3DFacePipeline, tmp_path: Path) -> None:
    """As the README says it, in a process that has imported nothing of this package."""
    pipe.save_pretrained(tmp_path / "my_model")
    code = (
        "from diffusers import DiffusionPipeline as D; import sys; assert 'gen3dface' not in sys.modules; "
        "p = D.from_pretrained('my_model', custom_pipeline='my_model', trust_remote_code=True); "
        "print(type(p).__name__, type(p.unet).__name__)"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert found.stdout.split()[-2:] == ["Gen3DFacePipeline", "MultiViewUNet"]


def test_a_fresh_process_finds_every_component(tmp_path: Path) -> None:
    tiny_pipeline(SMALL).save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["unet"] == ["gen3dface.models.multiview_unet", "MultiViewUNet"]
    code = (
        "from gen3dface.pipelines import Gen3DFacePipeline as P; "
        f"print(type(P.from_pretrained({str(tmp_path)!r}).vae).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == "PixelAutoencoder"
