"""npz files of users: bounded in size whatever their members are called."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import read_npz, reading


def pack(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def npy(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


LARGE, SMALL = npy(np.zeros(10_000, np.uint8)), npy(np.zeros(1, np.uint8))


def test_a_small_array_of_a_like_name_does_not_hide_a_large_one(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.npz", ("f.npy", LARGE), ("d/f.npy", SMALL))
    with pytest.raises(HeadModelError, match=r"a.npz.*more than 1,000 bytes"):
        read_npz(path, ("f",), 1000)
    assert list(read_npz(path, ("f",), 20_000)) == ["f"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("first", ["f", "f.npy"])
def test_two_arrays_of_one_name_are_refused(tmp_path: Path, first: str) -> None:
    path = pack(tmp_path / "a.npz", (first, LARGE), ("f.npy", SMALL))
    with pytest.raises(HeadModelError, match=r"a.npz.*several arrays of one name"):
        read_npz(path, ("f",), 1000)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadModelError, match=r"a.npz.*f is no array"):
        read_npz(pack(tmp_path / "a.npz", ("f", b"text")), ("f",))


@pytest.mark.parametrize("error", [TypeError, ValueError, IndexError, OverflowError])
def test_whatever_odd_arrays_raise_names_the_file(error: type[Exception]) -> None:
    with pytest.raises(HeadModelError, match=r"'a.npz'.*odd"), reading("a.npz"):
        raise error("odd")
