"""The commands `gen3dface heads`: head models that users have."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gen3dface.heads import HeadModel
    from gen3dface.heads.flame_landmarks import FlameLandmarks

app = typer.Typer(no_args_is_help=True, help="Head models: OpenHead, and FLAME, GNM, ICT or meshes that you have.")


class Kind(str, Enum):
    """What can be converted."""

    flame = "flame"
    gnm = "gnm"
    ict = "ict"
    mesh = "mesh"


class Unit(str, Enum):
    """Of a mesh's coordinates."""

    m = "m"
    cm = "cm"
    mm = "mm"


@app.command("list")
def list_heads() -> None:
    """Show each head model: name, version, vertices, identity and expression components, licence."""
    from gen3dface.errors import HeadModelError
    from gen3dface.heads import HEAD_MODELS, load_head_model
    from gen3dface.heads.registry import converted_heads

    for name in [*HEAD_MODELS, *(folder.name for folder in converted_heads())]:
        try:
            model = load_head_model(name)
        except HeadModelError as error:
            typer.echo(f"{name:20} {error}", err=True)
            continue
        sizes = (
            f"{len(model.template):6} vertices  {model.identity_size:3} + {len(model.expression_names):3} components"
        )
        typer.echo(f"{name:20} {model.name} {model.version:14} {sizes}  {model.licence}")


@app.command("convert")
def convert(
    kind: Annotated[Kind, typer.Argument(help="What PATH is.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file; for ict, the folder of ICT-FaceKit.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="The new folder. Default: $GEN3DFACE_HOME/heads/NAME."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Of FLAME: 2019, 2020, 2023, 2023-open; where the file's name does not say it.")
    ] = None,
    landmarks: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="MediaPipe's embedding (npz); for FLAME also landmark_embedding.npy. May be given twice.",
        ),
    ] = None,
    masks: Annotated[Path | None, typer.Option(metavar="FILE", help="FLAME_masks.pkl.")] = None,
    texture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="FLAME's texture coordinates: npz with vt and ft, or an OBJ.")
    ] = None,
    identities: Annotated[
        int | None,
        typer.Option(min=0, max=300, metavar="N", help="Of FLAME cut to fewer than 300 directions; the rest express."),
    ] = None,
    unit: Annotated[Unit, typer.Option(help="Of a mesh.")] = Unit.m,
) -> None:
    """Turn a head model that you have into a folder that works wherever a head model's name does.

    Nothing in the files is executed, nothing is downloaded, and the licence goes along.
    """
    _refuse_unfit(
        kind, {"--version": version, "--masks": masks, "--texture": texture, "--identities": identities}, unit
    )
    from gen3dface.heads import save_head_model
    from gen3dface.heads.registry import heads_folder

    embedding, contours = _landmark_files(kind, landmarks or [])
    model = _read(kind, path, version, embedding, masks, texture, identities, unit)
    folder = out or heads_folder() / _folder_name(kind, model)
    typer.echo(save_head_model(model, folder, _contours(contours, model)))


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `heads list`, or a converted folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PNG", help="The new picture.")],
) -> None:
    """Draw the mean head with its landmarks and joints, and its first components at two standard deviations."""
    import io

    from gen3dface.files import write_atomically
    from gen3dface.heads import load_head_model
    from gen3dface.heads.sheet import head_sheet

    data = io.BytesIO()
    head_sheet(load_head_model(name)).save(data, "PNG")
    write_atomically(out, data.getvalue())
    typer.echo(out)


def _refuse_unfit(kind: Kind, given: dict[str, object], unit: Unit) -> None:
    if kind is not Kind.flame and (unfit := [name for name, value in given.items() if value is not None]):
        raise typer.BadParameter(f"{', '.join(unfit)} is for flame alone")
    if kind is not Kind.mesh and unit is not Unit.m:
        raise typer.BadParameter("--unit is for mesh alone: the other kinds' units are known")


def _landmark_files(kind: Kind, files: list[Path]) -> tuple[Path | None, Path | None]:
    """MediaPipe's embedding (npz) and FLAME's own (npy)."""
    embeddings = [file for file in files if file.suffix.lower() != ".npy"]
    contours = [file for file in files if file.suffix.lower() == ".npy"]
    if len(embeddings) > 1 or len(contours) > (kind is Kind.flame):
        raise typer.BadParameter("--landmarks takes one npz and, for flame, one npy")
    return next(iter(embeddings), None), next(iter(contours), None)


def _read(
    kind: Kind,
    path: Path,
    version: str | None,
    landmarks: Path | None,
    masks: Path | None,
    texture: Path | None,
    identities: int | None,
    unit: Unit,
) -> HeadModel:
    if kind is Kind.flame:
        from gen3dface.heads.flame import read_flame

        return read_flame(path, version, texture=texture, landmarks=landmarks, masks=masks, identities=identities)
    if kind is Kind.gnm:
        from gen3dface.heads.gnm import read_gnm

        return read_gnm(path, landmarks=landmarks)
    if kind is Kind.ict:
        from gen3dface.heads.ict import read_ict

        return read_ict(path, landmarks=landmarks)
    from gen3dface.heads.static_mesh import read_static_mesh

    return read_static_mesh(path, unit.value, landmarks=landmarks)


def _contours(path: Path | None, model: HeadModel) -> FlameLandmarks | None:
    if path is None:
        return None
    from gen3dface.heads.flame_landmarks import read_flame_landmarks

    return read_flame_landmarks(path, len(model.faces))


def _folder_name(kind: Kind, model: HeadModel) -> str:
    return f"flame-{model.version}" if kind is Kind.flame else model.name
