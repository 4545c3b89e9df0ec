"""One photo through all stages into one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen3dface.files import file_sha256, write_atomically
from gen3dface.outputs.inputs import readable_name
from gen3dface.outputs.page import write_page
from gen3dface.outputs.pictures import contact_sheet, encode, to_bytes, write_json
from gen3dface.outputs.report import Report, Settings
from gen3dface.outputs.stages import Stages
from gen3dface.outputs.staging import staged_folder
from gen3dface.outputs.turntable import render_turntable, write_video

if TYPE_CHECKING:
    from gen3dface.estimators import HeadFit
    from gen3dface.pipelines import MultiViewOutput
    from gen3dface.recon.textured_head import TexturedHead

STAGE_NAMES = ("photo", "estimate", "views", "reconstruct", "turntable", "files")


def run_photo(
    photo: Path,
    folder: Path,
    settings: Settings,
    stages: Stages,
    announce: Callable[[str], None] = lambda stage: None,
) -> Report:
    """Turn a photo into a folder: head.glb, what MultiViewOutput.save writes (views, masks, cameras), views.png,
    confidence.png, turntable.mp4, report.json and index.html. The folder appears when all of it is there.

    `announce` is called with the name of each stage (STAGE_NAMES) as it begins.

    Raises:
        Gen3DFaceError: the photo cannot be used or the folder cannot be written; nothing is left behind.
    """
    report = Report(readable_name(photo.name), settings)
    with staged_folder(folder) as staging:
        with report.stage("photo", announce):
            portrait = stages.load_portrait(photo, settings.face)
            report.sha256 = file_sha256(photo)
            report.warnings.extend(portrait.warnings)
        with report.stage("estimate", announce):
            fit = stages.estimate(portrait)
        with report.stage("views", announce):
            views = stages.make_views(portrait, fit, settings.views_size, settings.seed)
        with report.stage("reconstruct", announce):
            head = stages.reconstruct(portrait, fit, views)
        with report.stage("turntable", announce):
            write_video(staging / "turntable.mp4", to_bytes(render_turntable(head)))
        with report.stage("files", announce):
            _write_files(staging, head, views)
        report.head = head_facts(head, fit)
        write_page(staging, portrait, views, report)
        write_json(staging / "report.json", report.to_dict())
    return report


def _write_files(folder: Path, head: TexturedHead, views: MultiViewOutput) -> None:
    head.export(folder / "head.glb")
    views.save(folder)
    if head.confidence.size:
        write_atomically(folder / "confidence.png", encode(head.confidence, "png"))
    write_atomically(folder / "views.png", encode(contact_sheet(to_bytes(views.images)), "png"))


def head_facts(head: TexturedHead, fit: HeadFit) -> dict[str, Any]:
    """What the report says of the head and of how well it fits the photo.

    landmark_error: median distance between projected and detected landmarks over the inter-ocular distance.
    """
    height, width = head.texture.shape[:2]
    return {
        "model": f"{fit.model_name} {fit.model_version}",
        "confidence": round(fit.confidence, 3),
        "landmark_error": round(fit.median_residual, 5),
        "vertices": len(head.vertices),
        "triangles": len(head.faces),
        "texture": [width, height],
        "expressions": len(head.morph_names),
        "joints": len(head.skeleton.names) if head.skeleton else 0,
    }
