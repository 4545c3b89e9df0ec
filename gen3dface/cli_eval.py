"""The command `gen3dface eval`: every table of this field from one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="What was measured there already is not measured again.")
    ],
    config: Annotated[str, typer.Option(help="smoke, in_domain, out_of_domain, or a YAML file.")] = "smoke",
    views: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Score another system's pictures too; their layout is --inputs's."),
    ] = None,
    inputs: Annotated[
        bool, typer.Option("--inputs", help="Only write what another system needs to make the views: photos, cameras.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that share the heads.")] = 1,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Replace a value, such as size=256.")
    ] = None,
) -> None:
    """Measure systems on sets of people: DIR/index.html, results.md and results.json.

    Stopped at any moment, the same command goes on.
    """
    from gen3dface.config_files import parse_overrides, validated
    from gen3dface.errors import ConfigError
    from gen3dface.evaluation.protocol import EvalConfig, load_eval_config
    from gen3dface.evaluation.run import evaluate as run
    from gen3dface.evaluation.run import write_all_inputs

    found = load_eval_config(config, parse_overrides(setting or []))
    if inputs:
        typer.echo(f"{out}: photos and cameras of {write_all_inputs(found, out)} heads")
        return
    others = []
    for pair in views or []:
        name, equals, folder = pair.partition("=")
        if not (name and equals and Path(folder).is_dir()):
            raise ConfigError(f"--views takes NAME=DIR with a folder that is there, got {pair!r}.")
        others.append({"kind": "folder", "name": name, "path": folder})
    if others:
        systems = [*(system.model_dump() for system in found.systems), *others]
        found = validated(EvalConfig, {**found.model_dump(), "systems": systems}, "--views")
    typer.echo(f"the table: {run(found, out, workers)}")
