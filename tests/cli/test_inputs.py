"""Which photos a call means, and the names of their folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen3dface.outputs.inputs import MAX_NAME_BYTES, find_photos, readable_name, safe_name


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_folders_are_searched_for_images(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "deep/c.webp", "notes.txt", ".hidden/d.png", ".e.png"):
        touch(tmp_path / name)
    assert [job.photo.name for job in find_photos([tmp_path])] == ["a.png", "b.JPG", "c.webp"]


def test_a_named_file_counts_whatever_its_suffix_and_once(tmp_path: Path) -> None:
    odd, ada = touch(tmp_path / "photo.bin"), touch(tmp_path / "ada.png")
    assert [job.photo for job in find_photos([odd, ada, tmp_path, ada])] == [odd, ada]


def test_same_names_get_numbers_without_regard_to_case(tmp_path: Path) -> None:
    photos = [touch(tmp_path / name) for name in ("1/ada.png", "2/Ada.jpg", "3/ada-2.png", "4/ada.tif")]
    assert [job.name for job in find_photos(photos)] == ["ada", "Ada-2", "ada-2-2", "ada-3"]


def test_the_gallery_keeps_its_name(tmp_path: Path) -> None:
    assert find_photos([touch(tmp_path / "index.html.png")])[0].name == "index.html-2"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("ada", "ada"),
        ("Ada Lovelace 1", "Ada Lovelace 1"),
        ("åse_日本", "åse_日本"),
        ("..", "photo"),
        ("", "photo"),
        (".hidden", "hidden"),
        ('a<b>:"c|?*\\', "a_b___c____"),
        ("a\nb\u202ec\x00", "a_b_c_"),
    ],
)
def test_safe_names(stem: str, name: str) -> None:
    assert safe_name(stem) == name


@given(st.text())
def test_a_safe_name_is_always_a_plain_folder_name(stem: str) -> None:
    name = safe_name(stem)
    assert 0 < len(name.encode()) <= MAX_NAME_BYTES
    assert Path(name).name == name and name not in (".", "..")
    assert safe_name(name) == name


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    try:
        path.touch()
    except OSError:
        pytest.skip("the file system refuses such names")
    (job,) = find_photos([tmp_path])
    assert job.name == "??" or job.name.isprintable()
    readable_name(job.photo.name).encode()
