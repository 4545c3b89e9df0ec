"""Settings of a synthesis that do not hold are named."""

from pathlib import Path

import pytest

from gen3dface.config_files import parse_overrides
from gen3dface.data_synth.synthesis.config import load_synth_config
from gen3dface.errors import ConfigError


@pytest.mark.parametrize("text", ["[" * 20_000, "a: &a [*a]", "identities: &a [*a]", "generator: &a {kind: *a}"])
def test_settings_nested_too_deeply_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"deep\.yaml"):
        load_synth_config(tmp_path / "deep.yaml")
    with pytest.raises(ConfigError, match="size"):
        load_synth_config("rendered", parse_overrides([f"size={text}"]))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"views": "nowhere"}, "views"),
        ({"generator.kind": "panohead"}, r"generator\.path"),
        ({"identities": 0}, "identities"),
        ({"unknown": 1}, "unknown"),
        ({"first": 10**30}, "first"),
        ({"generator": {"kind": "folder", "path": ""}}, r"generator\.path"),
        ({"generator.psi": 2}, r"generator\.psi"),
        ({"generator.psi": 0.5}, "psi means nothing for rendered"),
        ({"generator.bfloat16": True}, "bfloat16 means nothing for rendered"),
        ({"generator.licence": "CC0"}, "licence means nothing for rendered"),
        ({"generator.path": "x"}, r"generator\.path"),
        ({"generator": {"kind": "folder", "path": "x", "yaw": 10}}, "yaw means nothing for folder"),
        ({"generator": {"kind": "folder", "path": "x"}, "depth": True}, "depth means nothing for folder"),
        ({"generator": {"kind": "folder", "path": "x"}, "views": "head360"}, "views means nothing for folder"),
        ({"generator": {"kind": "eg3d", "path": "x", "licence": "CC0"}}, "licence means nothing for eg3d"),
    ],
)
def test_settings_that_do_not_hold_are_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_synth_config("rendered", values)
    assert load_synth_config("panohead").identities == 25_000
