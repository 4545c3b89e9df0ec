"""The page: nothing from outside, hostile names stay text, and a real browser shows the head."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gen3dface.outputs.report import Settings
from gen3dface.outputs.run import run_photo
from gen3dface.outputs.stages import Stages
from gen3dface.recon import TexturedHead
from gen3dface.recon.export_glb import glb_bytes
from gen3dface.viewer.gallery import Card, gallery_page
from gen3dface.viewer.page import PageContent, ViewPicture, head_page, static_text

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;${script}$$.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Reader(HTMLParser):
    """Tags with their attributes, and the texts that follow each kind of tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and data.strip():
            self.text.setdefault(self.tags[-1][0], []).append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def content(glb: bytes = b"glb", title: str = "ada.png", **changes: Any) -> PageContent:
    return PageContent(title, glb, b"jpeg", [ViewPicture(b"v", -0.01, 0.0)], b"mp4", **changes)


def test_hostile_texts_stay_text() -> None:
    page = Reader(
        head_page(content(title=HOSTILE, facts=[HOSTILE], warnings=[HOSTILE], tables={HOSTILE: {HOSTILE: HOSTILE}}))
    )
    assert len(page.named("script")) == 2  # the head's data and the bundle
    assert not [attributes for attributes in page.named("img") if "onerror" in attributes]
    assert page.text["h1"][0] == page.text["li"][0] == page.text["td"][0] == HOSTILE


def test_hostile_gallery() -> None:
    page = Reader(gallery_page([Card(HOSTILE, HOSTILE, link="a%22b/index.html", jpeg=b""), Card(HOSTILE, HOSTILE)]))
    assert not page.named("script") and len(page.named("a")) == 1
    assert page.text["p"][1:] == page.text["small"] == [HOSTILE, HOSTILE]


def test_nothing_comes_from_outside() -> None:
    page = Reader(head_page(content()))
    for _, attributes in page.tags:
        for name in ("src", "href", "poster", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not page.named("link")


def test_policy_allows_the_bundle_and_no_other_script() -> None:
    text = head_page(content())
    page = Reader(text)
    (policy,) = [a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    script = re.search(r"script-src ([^;]*);", policy)
    assert script is not None and script[1].startswith("'sha256-") and "unsafe" not in script[1]
    bundle = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(bundle.encode()).digest()).decode()
    assert script[1] == f"'sha256-{digest}'"
    assert policy.startswith("default-src 'none'")


def test_the_bundle_is_small_licensed_and_cannot_end_its_tag() -> None:
    bundle = static_text("viewer.js")
    assert len(bundle) < 1_000_000
    assert "three.js authors" in bundle and "MIT License" in bundle
    assert "</script" not in bundle.lower() and "<!--" not in bundle


def test_the_glb_is_inside(head: TexturedHead) -> None:
    glb = glb_bytes(head)
    page = head_page(content(glb))
    found = re.search(r'id="head-glb">([^<]*)<', page)
    assert found is not None and base64.b64decode(found[1]) == glb


def test_angles_are_readable() -> None:
    assert ">0&deg;<" in head_page(content())


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("needs Chromium")
    return found


@pytest.fixture
def screenshot(browser: str, tmp_path: Path) -> Callable[[Path, str], np.ndarray]:
    """What a real browser paints for a page's file, 900 x 700 px; blinking is off, so pictures repeat."""

    def take(page: Path, state: str) -> np.ndarray:
        flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        flags += "--disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader "
        flags += "--hide-scrollbars --window-size=900,700 --virtual-time-budget=4000"
        target, profile = tmp_path / "shot.png", tmp_path / "profile"
        command = [browser, *flags.split(), f"--user-data-dir={profile}", f"--screenshot={target}"]
        subprocess.run([*command, f"{page.as_uri()}#blink=0&{state}"], capture_output=True, timeout=100, check=True)
        return np.asarray(Image.open(target).convert("RGB")).astype(int)

    return take


def test_a_browser_shows_the_head_and_its_expressions(
    photo: Path, tmp_path: Path, stages: Stages, short_turntable: None, screenshot: Callable[[Path, str], np.ndarray]
) -> None:
    """Served from a file, offline: the head in the photo's colour in the middle, background beside it."""
    run_photo(photo, tmp_path / "out" / "ada", Settings(views_size=64), stages)
    page = tmp_path / "out" / "ada" / "index.html"
    rest, opened, side = (screenshot(page, state) for state in ("jawOpen=0", "jawOpen=1", "azimuth=90&jawOpen=0"))
    stage = np.s_[80:500, 30:520]
    reddish = rest[stage][..., 0] - rest[stage][..., 2] > 30
    rows, columns = np.nonzero(reddish)
    assert 0.1 < reddish.mean() < 0.8
    assert abs(columns.mean() - 245) < 40 and abs(rows.mean() - 210) < 60
    changed = np.abs(opened - rest)[stage].max(-1) > 20
    assert changed.sum() > 100
    assert np.nonzero(changed)[0].mean() > rows.mean()  # the chin is in the lower half
    assert (np.abs(side - rest)[stage].max(-1) > 20).sum() > 1000
