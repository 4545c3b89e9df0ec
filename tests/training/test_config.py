"""Configurations: the paper's defaults, and errors that name the value."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gen3dface import train
from gen3dface.errors import ConfigError
from gen3dface.models.build import load_config
from gen3dface.training.config import load_train_config, parse_train_config

LEAST: dict[str, Any] = {"model": "mini", "data": {"sources": [{"path": "x"}]}}


def test_sd15_is_the_paper_s_training() -> None:
    config = load_train_config("sd15")
    optimiser = config.optimiser
    assert (optimiser.unet, optimiser.new, optimiser.warmup, optimiser.batch) == (5e-5, 5e-4, 100, 8)
    assert (config.iterations, config.objective.weighting) == (48_000, "none")
    assert load_config(str(config.model))["scheduler"]["prediction_type"] == "epsilon"
    assert config.data.views is None  # the loss is over all N views


def test_mini_holds() -> None:
    config = load_train_config("mini", {"data.cache": None, "optimiser.batch": 4, "validation.path": "held"})
    assert config.data.cache is None and config.optimiser.batch == 4
    assert config.validation is not None and config.validation.path == "held"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": {}}, "optimizer: Extra inputs"),
        ({"iterations": 0}, "iterations: .*greater than or equal to 1"),
        ({"optimiser": {"unet": -1.0}}, r"optimiser\.unet: .*greater than 0"),
        ({"optimiser": {"ema": 1.0}}, r"optimiser\.ema: .*less than 1"),
        ({"dropout": {"all": 0.6, "clip": 0.6}}, "dropout: .*more than 1"),
        ({"data": {"sources": []}}, r"data\.sources: .*at least 1"),
        ({"data": {"sources": [{"path": "x", "kind": "tar"}]}}, r"data\.sources\.0\.kind"),
        ({"data": {"sources": [{"path": "x", "weight": 0}]}}, r"data\.sources\.0\.weight"),
        ({"init": "y"}, "either model .* or init"),
        ({"model": None}, "either model .* or init"),
        ({"optimiser": {"new": float("nan")}}, r"optimiser\.new"),
    ],
)
def test_what_does_not_hold_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_train_config({**LEAST, **change}, "my.yaml")


def test_files_that_are_no_configurations(tmp_path: Path) -> None:
    for name, content in {"list": "[1]", "broken": "a: [", "binary": "\x00"}.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(content)
        with pytest.raises(ConfigError, match=name):
            load_train_config(path)
    with pytest.raises(ConfigError, match="nothing"):
        load_train_config("nothing")


def test_the_command_names_its_errors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**LEAST, "data": {"sources": [{"path": str(tmp_path / "none")}]}}))
    assert train.main(["--config", str(path), "-o", str(tmp_path / "run")]) == 1
    assert "There are no shards" in caplog.text
    assert train.main(["--config", str(path), "-o", str(tmp_path / "run"), "--set", "iterations"]) == 1
    assert "NAME=VALUE" in caplog.text
