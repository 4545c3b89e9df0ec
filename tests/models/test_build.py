"""Configurations and what is built from them."""

from pathlib import Path

import pytest
import torch

from gen3dface.errors import ConfigError
from gen3dface.models.build import Models, build_models, load_config
from gen3dface.pipelines.preview import PREVIEW_PLANES

NAMES = ["mini", "sd15", "syncdreamer", "morphable-diffusion"]


def on_meta(config: object) -> Models:
    with torch.device("meta"):
        return build_models(config)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_builds(name: str) -> None:
    models = on_meta(name)
    assert set(models.modules()) >= {"vae", "image_encoder", "conditioner", "unet"}


def test_sizes() -> None:
    def millions(module: torch.nn.Module) -> float:
        return sum(p.numel() for p in module.parameters()) / 1e6

    mini, sd15 = on_meta("mini"), on_meta("sd15")
    assert sum(millions(m) for m in mini.modules().values()) == pytest.approx(9.52 + 0.12 + 0.63 + 0.87, abs=0.02)
    assert millions(sd15.unet) == pytest.approx(859.5 + 26.0 + 31.4, abs=0.5)


def test_mini_takes_the_conditions_that_the_preview_gives() -> None:
    models = on_meta("mini")
    assert models.settings.view_condition == "preview"
    factor = models.settings.image_size // models.settings.latent_size
    assert models.unet.config["condition_channels"] == PREVIEW_PLANES * factor**2
    assert models.unet.config["gate_channels"] == factor**2


def test_extending_and_overriding(tmp_path: Path) -> None:
    config = {"extends": "sd15", "unet": {"input_view": "none"}, "settings": {"num_views": 4}}
    assert load_config(config)["unet"]["concat_input"] is True
    models = on_meta(config)
    assert models.unet.config["input_view"] == "none" and models.settings.num_views == 4
    file = tmp_path / "own.yaml"
    file.write_text("extends: mini\nunet: {joint_attention_levels: null}\n")
    assert on_meta(file).unet.config["joint_attention_levels"] is None


@pytest.mark.parametrize(
    "config",
    [
        "nosuch",
        "../sd15",
        {"settings": {}},
        {"extends": "mini", "other": 1},
        {"extends": "mini", "unet": {"colour": 1}},
        {"extends": "mini", "conditioner": {"volume_config": {"colour": 1}}},
        {"extends": "mini", "vae": {"kind": "jpeg"}},
        {"extends": "mini", "vae": {"factor": 2}},
        {"extends": "mini", "conditioner": {"frustum_channels": [16, 32, 48, 64]}},
        {"extends": "mini", "scheduler": {"prediction_type": "epsilon"}},
        {"extends": "mini", "settings": {"latent_size": 33}},
        {"extends": "syncdreamer", "settings": {"num_views": 8}},
    ],
)
def test_what_does_not_hold_is_an_error(config: object) -> None:
    with pytest.raises(ConfigError):
        on_meta(config)


def test_unreadable_files(tmp_path: Path) -> None:
    for name, text in (("list.yaml", "- 1"), ("bad.yaml", "a: [")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError):
            load_config(tmp_path / name)
