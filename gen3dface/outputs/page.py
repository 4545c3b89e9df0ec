"""The pages that people open: one for each head, and one that lists all heads of a call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen3dface.files import write_atomically
from gen3dface.outputs.pictures import encode, photo_for_page, to_bytes
from gen3dface.outputs.report import Report
from gen3dface.viewer.page import PageContent, ViewPicture, head_page

if TYPE_CHECKING:
    from gen3dface.photo import Portrait
    from gen3dface.pipelines import MultiViewOutput


def write_page(folder: Path, portrait: Portrait, views: MultiViewOutput, report: Report) -> None:
    """Write index.html beside the head.glb and turntable.mp4 that `folder` already holds."""
    pictures = [encode(pixels, "jpeg") for pixels in to_bytes(views.images)]
    places = zip(pictures, views.cameras.azimuths.tolist(), views.cameras.elevations.tolist(), strict=True)
    content = PageContent(
        title=report.photo,
        glb=(folder / "head.glb").read_bytes(),
        photo=photo_for_page(portrait.image),
        views=[ViewPicture(*place) for place in places],
        turntable=(folder / "turntable.mp4").read_bytes(),
        facts=[f"{len(pictures)} views", f"engine {report.settings.engine}", f"{report.total_seconds:.1f} s"],
        warnings=report.warnings,
        tables=_tables(report.to_dict()),
    )
    write_atomically(folder / "index.html", head_page(content).encode())


def _tables(report: dict[str, Any]) -> dict[str, dict[str, str]]:
    head, settings = report["head"], report["settings"]
    memory = {f"peak memory, {name}": f"{mebibytes} MiB" for name, mebibytes in report["peak_memory_mib"].items()}
    return {
        "Head": {
            "model": head["model"],
            "confidence": f"{head['confidence']:.2f}",
            "landmark error": f"{100 * head['landmark_error']:.2f} % of the eyes' distance",
            "mesh": f"{head['vertices']} vertices, {head['triangles']} triangles",
            "texture": "{} x {} px".format(*head["texture"]),
            "rig": f"{head['expressions']} expressions, {head['joints']} joints",
        },
        "Time": {stage: f"{seconds:.2f} s" for stage, seconds in report["seconds"].items()},
        "Settings": {
            "engine": settings["engine"],
            "face": "largest" if settings["face"] is None else str(settings["face"]),
            "seed": str(settings["seed"]),
            "views": f"{settings['views_size']} px",
            **memory,
        },
        "Versions": report["versions"],
    }
