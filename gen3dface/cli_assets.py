"""The commands `gen3dface assets`: what is downloaded, from where, and whether it is whole."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The weights and data that are downloaded on first use.")


@app.command("list")
def list_assets() -> None:
    """Show each asset: its name, size, licence and whether it is in the cache."""
    from gen3dface.assets import status

    for state in status():
        asset = state.asset
        typer.echo(f"{asset.name:18} {asset.size / 1e6:7.1f} MB  {state.state:8} {asset.licence:12} {asset.about}")


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all free ones.")] = None,
    accept_non_commercial: Annotated[
        bool, typer.Option("--accept-non-commercial", help="Accept licences that forbid commercial use.")
    ] = False,
) -> None:
    """Download assets into the cache, with their hashes checked."""
    from gen3dface.asset_table import ASSETS
    from gen3dface.assets import fetch

    for name in names or [asset.name for asset in ASSETS.values() if not asset.non_commercial]:
        typer.echo(f"{name}: {fetch(name, accept_non_commercial=accept_non_commercial)}")


@app.command()
def verify() -> None:
    """Check the hashes of the assets in the cache; exit code 1 when one is damaged."""
    from gen3dface.assets import status

    states = list(status())
    for state in states:
        typer.echo(f"{state.asset.name:18} {state.state}")
    if any(state.state == "damaged" for state in states):
        typer.echo("damaged files are fetched again by `gen3dface assets pull`", err=True)
        raise typer.Exit(1)
