"""The commands `gen3dface synth`: training data by the thousand."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(invoke_without_command=True)


class Engine(str, Enum):
    """Who shares the work out."""

    processes = "processes"
    ray = "ray"


@app.callback()
def make(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="What is there already is gone on with.")
    ] = None,
    config: Annotated[str, typer.Option(help="rendered, panohead, or a YAML file.")] = "rendered",
    identities: Annotated[int | None, typer.Option(min=1, help="How many; more may be asked for later.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Replace a value, such as size=256.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes on this machine.")] = 1,
    engine: Annotated[Engine, typer.Option(help="ray: a cluster, with the extra `scale`.")] = Engine.processes,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="JUDGE",
            help="Score for `prune` meanwhile: `detector`, or a folder with CLIP in transformers' format.",
        ),
    ] = None,
) -> None:
    """Make training data: identities in shards, each from its number alone, the same bytes whoever makes them.

    Stopped at any moment, the same command goes on; damaged shards are found by their hashes and made again. On several
    GPUs or machines: `accelerate launch -m gen3dface synth ...`.
    """
    if context.invoked_subcommand:
        return
    if out is None:
        raise typer.BadParameter("say where to: -o DIR")
    from gen3dface.config_files import parse_overrides
    from gen3dface.data_synth.synthesis.config import load_synth_config
    from gen3dface.data_synth.synthesis.run import synthesise

    overrides = parse_overrides(setting or [])
    if identities is not None:
        overrides["identities"] = identities
    found = load_synth_config(config, overrides)
    notes = synthesise(found, out, workers, engine.value, score)
    made, skipped = sum(n.made for n in notes), sum(len(n.skipped) for n in notes)
    typer.echo(f"{out}: {made} identities made, {skipped} left out (their reasons are in *.note.json)")


@app.command("verify")
def verify(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Shards.")]) -> None:
    """Read every sample of a folder's shards and check all that is said of them; exit code 1 for a fault."""
    from gen3dface.data_synth.shard_set import ShardSet
    from gen3dface.data_synth.synthesis.licences import strictest
    from gen3dface.data_synth.verify import verify_shards

    faults = list(verify_shards(folder))
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        typer.echo("damaged shards are made again by `gen3dface synth` with the same settings", err=True)
        raise typer.Exit(1)
    shards = ShardSet(folder)
    typer.echo(f"{folder}: {len(shards)} identities in {len(shards.sizes)} shards, all whole")
    typer.echo(f"licences: {'; '.join(shards.licences) or 'none noted'}")
    typer.echo(f"taken together: {strictest(shards.licences)}")


@app.command("prune")
def prune(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Shards.")],
    most_janus: Annotated[float, typer.Option(help="Drop heads whose back is likelier a face than this, 0 to 1.")],
    least_identity: Annotated[
        float | None, typer.Option(help="Drop heads whose views' mean cosine (SFace) is lower.")
    ] = None,
    top: Annotated[int | None, typer.Option(help="Keep so many, those of the best cosine.")] = None,
    clip: Annotated[
        Path | None, typer.Option(metavar="DIR", help="CLIP in transformers' format; default: a face detector.")
    ] = None,
) -> None:
    """Score every identity, keep those that pass, and show what was thrown away (DIR/pruning.html).

    Nothing is deleted: DIR/kept.json lists who stays, which training reads as `kept` of a source. Scores are kept, so
    other thresholds take no time.
    """
    from gen3dface.config_files import validated
    from gen3dface.data_synth.prune.report import write_report
    from gen3dface.data_synth.prune.scoring import DETECTOR, open_scorer, score_folder
    from gen3dface.data_synth.prune.selection import Thresholds, select

    given = {"most_janus": most_janus, "least_identity": least_identity, "top": top}
    thresholds = validated(Thresholds, given, "the thresholds")
    scores = score_folder(folder, open_scorer(str(clip) if clip else DETECTOR))
    chosen = select(scores, thresholds)
    chosen.write(folder, thresholds)
    typer.echo(
        f"{len(chosen.kept)} of {len(scores)} identities kept: {write_report(folder, scores, chosen, thresholds)}"
    )


@app.command("mesh")
def mesh(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A generator that `gen3dface convert` wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="A .glb or .ply.")],
    seed: Annotated[int, typer.Option(min=0, help="The identity's number.")] = 0,
    psi: Annotated[float, typer.Option(min=0, max=1, help="Truncation: 0 is the mean head.")] = 0.7,
    yaw: Annotated[float, typer.Option(min=0, max=90, help="Degrees to each side of the photo, as in --set.")] = 45.0,
    resolution: Annotated[int, typer.Option(min=16, max=512, help="Grid points a side.")] = 256,
) -> None:
    """The shape of a generator's head in metres, in the frame of the head that is estimated in its photo.

    With the same psi and yaw it is the head that `gen3dface synth` makes of that number (defaults: --config panohead).
    """
    from gen3dface.data_synth.panohead.mesh import SUFFIXES, write_mesh
    from gen3dface.data_synth.panohead.samples import HeadSampler, Sampling

    if out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"--out must end in {' or '.join(SUFFIXES)}")
    vertices, faces = HeadSampler.open(folder, Sampling(psi=psi, yaw=yaw)).mesh(seed, resolution)
    write_mesh(vertices, faces, out)
    typer.echo(f"{out}: {len(vertices)} vertices, {len(faces)} triangles")
