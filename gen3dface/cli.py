"""The command `gen3dface`: photos to heads, and the files that this needs."""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gen3dface import __version__, cli_assets, cli_eval, cli_heads, cli_synth
from gen3dface.conversion.kinds import GeneratorSource, Peer, Source
from gen3dface.errors import Gen3DFaceError
from gen3dface.examples import EXAMPLES, example_photo
from gen3dface.files import file_sha256, make_folder
from gen3dface.outputs.inputs import PHOTO_SUFFIXES, PhotoJob, find_photos
from gen3dface.outputs.stages import DEFAULT, is_engine, stages_of

if TYPE_CHECKING:
    from gen3dface.estimators import Estimator
    from gen3dface.outputs.batch import Outcome
    from gen3dface.outputs.report import Settings

_CONVERTIBLE = [kind.value for kind in (*Source, *GeneratorSource)]
FAILED, USAGE = 1, 2  # exit codes; 0: all went well
SURFACE_SUFFIXES = (".glb", ".obj", ".ply")


class Method(str, Enum):
    """How a surface is found in its views."""

    mesh = "mesh"
    field = "field"


class Topology(str, Enum):
    """The mesh of a reconstructed surface."""

    free = "free"
    registered = "registered"


class EstimatorName(str, Enum):
    """How a photo's head is found."""

    default = "default"
    deca = "deca"
    smirk = "smirk"
    mica = "mica"


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(cli_assets.app, name="assets")
app.add_typer(cli_synth.app, name="synth")
app.add_typer(cli_heads.app, name="heads")
app.command("eval")(cli_eval.evaluate)


def main() -> None:
    """Entry point: a known error becomes one line and exit code 1."""
    # idle OpenMP threads that spin make a busy machine ten times slower; read when torch is first loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app()
    except Gen3DFaceError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(FAILED)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gen3dface {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell more on the way.")] = False,
) -> None:
    """One photo in, a textured 3D head out."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s: %(message)s")


@app.command()
def head(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the heads; each gets DIR/NAME.", metavar="DIR")],
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="PHOTO...", help="Photos, or folders of photos.")
    ] = None,
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Use an example photo: {', '.join(EXAMPLES)}.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="mini|projection|FOLDER",
            help="How the views are made: by the model that comes with gen3dface, by projecting the photo alone, which "
            "is faster, or by a saved pipeline.",
        ),
    ] = DEFAULT,
    face: Annotated[
        int | None, typer.Option(min=0, help="Which face, where there are several; 0 is the largest.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="For engines that draw at random; projection does not.")] = 0,
    views_size: Annotated[
        int,
        typer.Option(
            min=64, max=1024, help="Side of the 16 views in pixels; a model makes them no smaller than its own."
        ),
    ] = 512,
    estimator: Annotated[
        EstimatorName, typer.Option(help="How the head is found; all but default need a checkpoint and FLAME 2020.")
    ] = EstimatorName.default,
    estimator_checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="deca_model.tar, SMIRK_em1.pt or mica.tar.")
    ] = None,
    head_model: Annotated[
        str | None, typer.Option(metavar="NAME|DIR", help="A head model that gen3dface heads convert made.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip photos whose head is there already.")] = False,
) -> None:
    """Turn photos into textured, animatable 3D heads.

    Each photo gets the folder DIR/NAME with head.glb, views, turntable.mp4, report.json and index.html.
    Exit code: 0 all heads were made, 1 some failed, 2 wrong usage.
    """
    if not photos and not example:
        _usage("give photos or folders of photos, or --example")
    if example and example not in EXAMPLES:
        _usage(f"there is no example named {example!r}; known are {', '.join(EXAMPLES)}")
    if not is_engine(engine):
        _usage(f"there is no engine {engine!r}: give mini, projection, or a folder that holds a saved pipeline")
    jobs = find_photos([*(photos or []), *([example_photo(example)] if example else [])])
    if not jobs:
        _usage(f"no photos found; a folder is searched for {', '.join(sorted(PHOTO_SUFFIXES))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds: temporary folders go
    from gen3dface.outputs.gallery import check_gallery, write_gallery
    from gen3dface.outputs.report import Settings

    several = len(jobs) > 1
    if several:
        check_gallery(out)
    chosen = _estimator(estimator.value, estimator_checkpoint, head_model)
    settings = Settings(engine, face, seed, views_size, estimator.value)
    if chosen is not None:
        digest = file_sha256(estimator_checkpoint) if estimator_checkpoint else ""
        named = f"{chosen.model.name} {chosen.model.version}"
        settings = replace(settings, estimator_checkpoint=digest, head_model=named)
    outcomes = _make_heads(jobs, out, settings, chosen, resume)
    if several and any(outcome.state != "failed" for outcome in outcomes):
        write_gallery(out, outcomes)
        typer.echo(f"all heads: {out / 'index.html'}")
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    if failed:
        if several:
            typer.echo(f"{failed} of {len(jobs)} photos failed", err=True)
        raise typer.Exit(FAILED)


def _estimator(name: str, checkpoint: Path | None, head_model: str | None) -> Estimator | None:
    """What the user chose, None for all defaults."""
    if name == EstimatorName.default and checkpoint:
        _usage("--estimator-checkpoint goes with --estimator deca, smirk or mica")
    if name != EstimatorName.default and not (checkpoint and head_model):
        _usage(f"--estimator {name} needs --estimator-checkpoint FILE and --head-model DIR, a FLAME 2020")
    if name == EstimatorName.default and head_model is None:
        return None
    from gen3dface.estimators import load_estimator

    return load_estimator(name, checkpoint, head_model)


def _make_heads(
    jobs: list[PhotoJob], out: Path, settings: Settings, estimator: Estimator | None, resume: bool
) -> list[Outcome]:
    """Run all photos under a progress bar, telling each result as it comes."""
    from gen3dface.outputs.batch import run_photos
    from gen3dface.outputs.run import STAGE_NAMES

    steps = len(STAGE_NAMES)
    outcomes: list[Outcome] = []
    bar = tqdm(total=len(jobs) * steps, bar_format="{l_bar}{bar}| {elapsed}", disable=None, leave=False)

    def announce(job: PhotoJob, stage: str) -> None:
        bar.set_description(f"{job.name} ({len(outcomes) + 1} of {len(jobs)}): {stage}", refresh=False)
        bar.n = len(outcomes) * steps + STAGE_NAMES.index(stage)
        bar.refresh()

    stages = stages_of(settings.engine, estimator)
    with bar, logging_redirect_tqdm():
        for outcome in run_photos(jobs, out, settings, stages, resume=resume, announce=announce):
            outcomes.append(outcome)
            _tell(outcome)
    return outcomes


def _tell(outcome: Outcome) -> None:
    if outcome.state == "failed":
        tqdm.write(f"failed: {outcome.job.name}: {outcome.message}", file=sys.stderr)
    elif outcome.state == "skipped":
        tqdm.write(f"{outcome.folder / 'head.glb'}  (made before)")
    else:
        tqdm.write(f"{outcome.folder / 'head.glb'}  ({outcome.seconds:.1f} s)")


def _usage(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(USAGE)


@app.command()
def reconstruct(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Views of gen3dface, NeRF or COLMAP.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new file: .glb, .obj or .ply.", metavar="FILE")],
    method: Annotated[
        Method, typer.Option(help="mesh: move a mesh until the views agree, seconds; field: NeuS2-style, minutes.")
    ] = Method.mesh,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Of the optimiser; more are slower and sharper. Default: 100 or 600."),
    ] = None,
    faces: Annotated[int, typer.Option(min=100, max=2_000_000, help="Triangles, at most.")] = 30_000,
    texture_size: Annotated[int, typer.Option(min=64, max=8192, help="Texels a side.")] = 1024,
    topology: Annotated[
        Topology, typer.Option(help="free: whatever the views show; registered: a head that blinks and speaks.")
    ] = Topology.free,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same surface, on the CPU.")] = 0,
    device: Annotated[
        str | None, typer.Option(metavar="cpu|cuda", help="Where to compute; default: cuda where there is such a GPU.")
    ] = None,
) -> None:
    """Turn views from all around into a textured surface: closed, or the head model's own, which can be animated.

    DIR is a folder that `gen3dface head` made, a NeRF scene (transforms.json), or COLMAP's text files; pictures have
    alpha, or masks in DIR/masks. A turntable of the result is written beside it (head.png). Exit code: 0, or 1 when
    there is no surface.
    """
    if out.suffix.lower() not in SURFACE_SUFFIXES:
        _usage(f"--out must end in one of {', '.join(SURFACE_SUFFIXES)}")
    device = _device(device)
    from gen3dface.recon.preview import write_preview
    from gen3dface.recon.surface import SurfaceConfig, reconstruct_surface
    from gen3dface.recon.view_folder import load_views

    config = SurfaceConfig(method.value, faces=faces, texture_size=texture_size, topology=topology.value)
    config = replace(config, field=replace(config.field, seed=seed))
    if steps is not None:
        config = replace(config, **{method.value: replace(getattr(config, method.value), steps=steps)})
    views = load_views(folder)
    make_folder(out.parent)  # before the work, which a folder that cannot be made would lose
    head = reconstruct_surface(views, config, device=device)
    head.export(out)
    typer.echo(out)
    preview = write_preview(head, out)
    if preview is not None:
        typer.echo(preview)


def _device(wanted: str | None) -> str:
    """What PyTorch calls the device to compute on."""
    import torch

    there = torch.cuda.is_available()
    if wanted is None:
        return "cuda" if there else "cpu"
    if wanted.partition(":")[0] not in ("cpu", "cuda"):
        _usage(f"--device is cpu or cuda, not {wanted!r}")
    if wanted != "cpu" and not there:
        _usage("--device cuda: PyTorch sees no CUDA device")
    return wanted


@app.command()
def convert(
    given: Annotated[
        list[str], typer.Argument(metavar=f"{{{','.join(_CONVERTIBLE)}}} CKPT", help="With --export: DIR, a pipeline.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new folder; with --export the new file.")],
    export: Annotated[Peer | None, typer.Option(help="Write DIR as a checkpoint under this peer's names.")] = None,
    config: Annotated[
        str | None,
        typer.Option(help="The model's configuration, where the checkpoint's widths are not the usual ones, or sd15."),
    ] = None,
    image_encoder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="CLIP ViT-L/14 in transformers' format, for sd15, which has none."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights that the checkpoint does not hold.")] = 0,
) -> None:
    """Turn a public checkpoint into a folder for Gen3DFacePipeline.from_pretrained, and back.

    gen3dface convert syncdreamer CKPT -o DIR; gen3dface convert --export syncdreamer DIR -o CKPT.safetensors;
    gen3dface convert panohead PKL -o DIR: a generator of heads; nothing in the pickle is executed.
    """
    wanted = 1 if export else 2
    if len(given) != wanted:
        _usage(f"give {'one saved pipeline' if export else 'a kind of checkpoint and its file'}")
    if export and (config or image_encoder or seed):
        _usage("--config, --image-encoder and --seed are not for --export")
    if not export and given[0] not in _CONVERTIBLE:
        _usage(f"unknown kind {given[0]!r}; known are {', '.join(_CONVERTIBLE)}")
    if given[0] in list(GeneratorSource):
        from gen3dface.data_synth.panohead.checkpoint import convert_generator

        typer.echo(convert_generator(GeneratorSource(given[0]).value, Path(given[1]), out))
        return
    from gen3dface.conversion.convert import convert_checkpoint, export_checkpoint

    if export:
        typer.echo(export_checkpoint(export, given[0], out))
    else:
        typer.echo(convert_checkpoint(Source(given[0]), given[1], out, config, image_encoder, seed))
