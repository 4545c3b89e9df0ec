"""Hostile and damaged pickles: refused by name, with nothing run."""

import functools
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, load_npz

from gen3dface.errors import HeadModelError
from gen3dface.files import holds_more_than_its_size
from gen3dface.heads import flame_pickle
from gen3dface.heads.flame import read_flame
from gen3dface.heads.flame_arrays import to_array, to_dense
from gen3dface.heads.flame_landmarks import read_flame_landmarks
from gen3dface.heads.flame_pickle import read_pickle
from tests.heads.fake_flame import Ch, Select, csc_matrix, dump_python2, fake_arrays, fake_landmarks, write_pkl


class Call:
    """Pickled as a call, which happens when it is read by pickle itself."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def attacks(mark: Path) -> dict[str, Any]:
    """Each leaves `mark` behind, or would, when it is run; by the name that is refused."""
    return {
        f"{os.system.__module__}.system": Call(os.system, f"touch {mark}"),
        "builtins.eval": Call(eval, f"open({str(mark)!r}, 'w')"),
        "functools.partial": Call(functools.partial, os.system, f"touch {mark}"),
        "numpy.load": Call(np.load, str(mark), None, True),
        "builtins.getattr": Call(getattr, str(mark), "format"),
        "torch.serialization.load": Call(torch.load, str(mark)),
        "scipy.sparse._matrix_io.load_npz": Call(load_npz, str(mark)),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", list(attacks(Path("mark"))))
def test_calls_are_refused_by_name_and_not_run(tmp_path: Path, name: str, protocol: int) -> None:
    mark, path = tmp_path / "mark", tmp_path / "flame2020.pkl"
    attack = attacks(mark)[name]
    for content in (attack, {**fake_arrays(), "extra": [attack]}):
        path.write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(HeadModelError, match=r"malicious") as caught:
            read_flame(path)
        refused = str(caught.value)
        assert name in refused or name.replace("builtins", "__builtin__") in refused
    assert not mark.exists()


def test_an_attack_inside_of_a_chumpy_object_is_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "flame2020.pkl"
    path.write_bytes(dump_python2({**fake_arrays(), "shapedirs": Ch(Call(os.system, f"touch {mark}"))}))
    with pytest.raises(HeadModelError, match="system, which no such file needs"):
        read_flame(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    ["chumpy.ch\n__import__", "chumpy\n_private", "chumpyx.ch\nCh", "scipy.sparse\nload_npz", "copyreg\n_extension"],
)
def test_names_that_only_look_allowed_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "flame2020.pkl"
    path.write_bytes(b"\x80\x02c" + name.encode() + b"\n.")
    with pytest.raises(HeadModelError, match="malicious"):
        read_pickle(path)


def test_what_is_allowed_cannot_be_changed(tmp_path: Path) -> None:
    """BUILD on a function of the list, which would reach every later file."""
    path = tmp_path / "flame2020.pkl"
    path.write_bytes(b"\x80\x02cnumpy.core.multiarray\nscalar\n}U\x05valueNsb.")
    with pytest.raises(HeadModelError, match="malicious"):
        read_pickle(path)
    assert flame_pickle._KNOWN["numpy.core.multiarray", "scalar"].value is flame_pickle._scalar


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    path = write_pkl(tmp_path / "flame2020.pkl", fake_arrays())
    whole = path.read_bytes()
    for end in (0, 1, 20, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(HeadModelError, match=r"flame2020\.pkl"):
            read_flame(path)
    path.write_bytes(b"\x89PNG" + whole)
    with pytest.raises(HeadModelError, match=r"flame2020\.pkl"):
        read_flame(path)
    with pytest.raises(HeadModelError, match="No such file"):
        read_flame(tmp_path / "flame2023.pkl")
    path.write_bytes(pickle.dumps([1, 2], 2))
    with pytest.raises(HeadModelError, match="no FLAME model"):
        read_flame(path)


def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    path = write_pkl(tmp_path / "flame2020.pkl", fake_arrays(12, 10, 4))
    whole, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    failed = 0
    for _ in range(300):
        damaged = whole.copy()
        for place in rng.integers(0, len(whole), 20):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_flame(path, identities=4)
        except HeadModelError:
            failed += 1
    assert failed > 200


def test_an_oversized_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "flame2020.pkl"
    with open(path, "wb") as file:
        file.truncate(flame_pickle.MOST_BYTES + 1)
    with pytest.raises(HeadModelError, match="at most"):
        read_flame(path)


def test_arrays_must_fill_their_shapes(tmp_path: Path) -> None:
    class Liar:
        def __reduce__(self) -> tuple[Any, ...]:
            made = np.zeros(2).__reduce__()
            return made[0], made[1], (1, (1 << 40,), np.dtype("f8"), False, b"\0" * 16)

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(Liar(), 2))
    with pytest.raises(HeadModelError, match="larger than its data"):
        read_pickle(path)


@pytest.mark.parametrize(
    "value",
    [
        Select(Ch(np.arange(6.0)), np.array([0, 6]), (2,)),
        Select(Ch(np.arange(6.0)), np.array([0, -1]), (2,)),
        Select(Ch(np.arange(6.0)), np.array([0, 1]), (1 << 20, 1 << 20)),
        Select(Ch(np.arange(6.0)), np.array([0, 1]), (-1, 2)),
    ],
)
def test_selections_stay_inside(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(dump_python2(value))
    with pytest.raises(HeadModelError, match="shapedirs"):
        to_array(read_pickle(path), "shapedirs")


def test_a_sparse_matrix_must_have_the_shape_that_is_needed(tmp_path: Path) -> None:
    dense = np.array([[0, 2.0, 0], [1.5, 0, -1]])
    path = tmp_path / "a.pkl"
    path.write_bytes(dump_python2(csc_matrix(dense)))
    np.testing.assert_array_equal(to_dense(read_pickle(path), "J_regressor", (2, 3)), dense)
    huge = csc_matrix(dense)
    huge._shape = (1 << 40, 1 << 40)
    path.write_bytes(dump_python2(huge))
    with pytest.raises(HeadModelError, match="J_regressor has shape"):
        to_dense(read_pickle(path), "J_regressor", (2, 3))
    outside = csc_matrix(dense)
    outside.indices = outside.indices + 1
    path.write_bytes(dump_python2(outside))
    with pytest.raises(HeadModelError, match="outside of its shape"):
        to_dense(read_pickle(path), "J_regressor", (2, 3))


def test_files_of_todays_scipy_and_numpy_are_read_too(tmp_path: Path) -> None:
    arrays = fake_arrays()
    path = tmp_path / "flame2020.pkl"
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps({**arrays, "J_regressor": csr_matrix(arrays["J_regressor"])}, protocol))
        np.testing.assert_allclose(
            read_flame(path).joint_basis[0], arrays["J_regressor"] @ arrays["shapedirs"][..., 0], atol=1e-7
        )


def test_the_landmarks_table_is_read_by_the_same_list(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "landmark_embedding.npy"
    table = fake_landmarks(70)
    attack = np.empty((), object)
    attack[()] = {**table, "x": Call(os.system, f"touch {mark}")}
    np.save(path, attack, allow_pickle=True)
    with pytest.raises(HeadModelError, match="malicious"):
        read_flame_landmarks(path, 70)
    assert not mark.exists()
    for broken, message in (
        ({**table, "static_lmk_faces_idx": np.full(51, 70)}, "points outside"),
        ({key: value for key, value in table.items() if "dynamic" not in key}, "dynamic_lmk_faces_idx is missing"),
        ({**table, "static_lmk_faces_idx": np.array(3)}, "static_lmk_faces_idx is int64"),
        ({**table, "static_lmk_faces_idx": np.zeros((2, 51), int)}, r"static_lmk_faces_idx is int64 \[2, 51\]"),
        ({**table, "static_lmk_bary_coords": np.ones((50, 3)) / 3}, r"static_lmk_bary_coords is float64 \[50, 3\]"),
        ({**table, "static_lmk_bary_coords": np.full((51, 3), 9.0)}, "static_lmk_bary_coords do not sum to 1"),
        ({**table, "full_lmk_bary_coords": np.full((1, 68, 3), np.nan)}, "full_lmk_bary_coords do not sum to 1"),
    ):
        np.save(path, np.array(broken, object), allow_pickle=True)
        with pytest.raises(HeadModelError, match=message):
            read_flame_landmarks(path, 70)
    np.save(path, np.zeros(3))
    with pytest.raises(HeadModelError, match="plain numbers"):
        read_flame_landmarks(path, 70)


def test_npz_files_with_pickles_are_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "flame2020.npz"
    attack = np.empty((), object)
    attack[()] = Call(os.system, f"touch {mark}")
    np.savez(path, **{**fake_arrays(), "weights": attack})
    with pytest.raises(HeadModelError, match="plain arrays"):
        read_flame(path)
    assert not mark.exists()


class Stored:
    """Pickled as PyTorch pickles a storage: by its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes]]:
        return torch.storage._load_from_bytes, (self.data,)


def saved(values: torch.Tensor, zipped: bool = True) -> bytes:
    out = io.BytesIO()
    torch.save(values._typed_storage(), out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def test_a_compressed_storage_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: Any) -> None:
    path, packed = tmp_path / "a.pkl", io.BytesIO()
    whole = zipfile.ZipFile(io.BytesIO(saved(torch.zeros(1 << 20))))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    for zipped in (True, False):
        path.write_bytes(pickle.dumps(Stored(saved(torch.zeros(100), zipped)), 2))
        assert len(read_pickle(path).value) == 100
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    path.write_bytes(pickle.dumps(Stored(packed.getvalue()), 2))
    with pytest.raises(HeadModelError, match=r"a.pkl.*compressed"):
        read_pickle(path)


def test_an_archive_whose_entries_overlap_holds_more_than_its_size() -> None:
    file = io.BytesIO()
    for shared, expected in ((False, False), (True, True)):
        with zipfile.ZipFile(file, "w") as archive:
            for name in "abc":
                archive.writestr(name, bytes(1000 if name == "a" or not shared else 1))
            if shared:
                for entry in archive.filelist:
                    entry.header_offset, entry.file_size = 0, 1000
        assert holds_more_than_its_size(file) is expected
        file = io.BytesIO()


def test_a_storage_larger_than_its_bytes_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """As PyTorch's old format can name one without giving its values."""
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(Stored(saved(torch.zeros(10))), 2))
    monkeypatch.setattr(torch, "load", lambda *_, **__: torch.zeros(1 << 20)._typed_storage())
    with pytest.raises(HeadModelError, match="larger than its data"):
        read_pickle(path)
