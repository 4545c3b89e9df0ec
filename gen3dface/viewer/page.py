"""One self-contained HTML page that shows a head offline: everything it needs is inside it.

The page allows nothing from outside itself (Content-Security-Policy), runs only the one bundled script, and every
text that comes from a photo's name or a warning is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

STATIC = files("gen3dface.viewer").joinpath("static")


@dataclass(frozen=True)
class ViewPicture:
    """One of the views for the page: an encoded image and where it was seen from, in degrees."""

    jpeg: bytes
    azimuth: float
    elevation: float


@dataclass(frozen=True)
class PageContent:
    """What a head's page shows. Images are JPEG, the turntable is MP4."""

    title: str
    glb: bytes
    photo: bytes
    views: Sequence[ViewPicture]
    turntable: bytes
    facts: Sequence[str] = ()  # a few words beside the title
    warnings: Sequence[str] = ()
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # caption -> label -> value


def head_page(content: PageContent) -> str:
    """The HTML text of a head's page."""
    script = static_text("viewer.js")
    return Template(static_text("page.html")).substitute(
        policy=escape(_policy(script)),
        title=escape(content.title),
        facts=escape(" · ".join(content.facts)),
        style=static_text("page.css"),
        views="".join(_view(view) for view in content.views),
        media=_media(content),
        report=_warnings(content.warnings) + _tables(content.tables),
        glb=base64.b64encode(content.glb).decode(),
        script=script,
    )


@cache
def static_text(name: str) -> str:
    """A text file that belongs to the viewer."""
    return STATIC.joinpath(name).read_text(encoding="utf-8")


def data_uri(mime: str, data: bytes) -> str:
    """`data` as an address that carries it."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _policy(script: str) -> str:
    """Only this script, by its hash; pictures from within; blob: is where the GLB's texture is decoded from."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; media-src data:; connect-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _view(view: ViewPicture) -> str:
    azimuth, elevation = (f"{round(angle, 1) + 0.0:g}" for angle in (view.azimuth, view.elevation))  # no "-0"
    return (
        f'<button type="button" data-azimuth="{azimuth}" data-elevation="{elevation}">'
        f'<img src="{data_uri("image/jpeg", view.jpeg)}" alt="View from {azimuth} degrees" loading="lazy">'
        f"<span>{azimuth}&deg;</span></button>"
    )


def _media(content: PageContent) -> str:
    return (
        f'<figure><img src="{data_uri("image/jpeg", content.photo)}" alt="The photo">'
        "<figcaption>The photo</figcaption></figure>"
        f'<figure><video src="{data_uri("video/mp4", content.turntable)}" controls loop muted autoplay playsinline>'
        "</video><figcaption>Turntable</figcaption></figure>"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    return '<ul class="warnings">' + "".join(f"<li>{escape(warning)}</li>" for warning in warnings) + "</ul>"


def _tables(tables: Mapping[str, Mapping[str, str]]) -> str:
    parts = []
    for caption, rows in tables.items():
        cells = "".join(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in rows.items())
        parts.append(f"<table><caption>{escape(caption)}</caption>{cells}</table>")
    return f'<div class="tables">{"".join(parts)}</div>'
