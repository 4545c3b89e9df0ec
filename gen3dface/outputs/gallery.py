"""The page that lists all heads of a call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from gen3dface.errors import OutputError
from gen3dface.files import write_atomically
from gen3dface.outputs.batch import Outcome
from gen3dface.outputs.inputs import readable_name
from gen3dface.outputs.pictures import encode
from gen3dface.viewer.gallery import GALLERY_MARK, Card, gallery_page

THUMBNAIL_SIDE = 256  # pixels


def check_gallery(out: Path) -> None:
    """Raise OutputError when `out` holds an index.html that gen3dface did not write."""
    page = out / "index.html"
    if page.exists() and GALLERY_MARK not in page.read_bytes()[:2000]:
        raise OutputError(f"'{page}' exists and was not written by gen3dface. Move it or choose another output folder.")


def write_gallery(out: Path, outcomes: Sequence[Outcome]) -> None:
    """Write out/index.html with a card for each photo. Raises OutputError when it cannot be written."""
    cards = [_card(outcome) for outcome in outcomes]
    write_atomically(out / "index.html", gallery_page(cards).encode())


def _card(outcome: Outcome) -> Card:
    title = readable_name(outcome.job.photo.name)
    if outcome.state == "failed":
        return Card(title, outcome.message)
    with Image.open(outcome.folder / "views" / "000.png") as view:
        picture = view.convert("RGB")
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    note = f"{outcome.seconds:.1f} s" if outcome.state == "done" else "made before"
    return Card(title, note, link=quote(f"{outcome.job.name}/index.html"), jpeg=encode(picture, "jpeg"))
