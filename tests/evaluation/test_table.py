"""Cells of the table against means worked out by hand."""

import numpy as np
import pytest

from gen3dface.errors import DataError
from gen3dface.evaluation.cost import Cost
from gen3dface.evaluation.protocol import EvalConfig
from gen3dface.evaluation.records import Record, RecordFolder
from gen3dface.evaluation.report import Results, markdown
from gen3dface.evaluation.scores import Scores
from gen3dface.evaluation.table import costs_of, distances_of, table_of

NAN = float("nan")
CONFIG = EvalConfig.model_validate(
    {"systems": [{"kind": "truth"}], "measures": ["psnr", "reid", "identity", "janus", "halves"]}
)


def record(key: str, shift: float = 0.0) -> Record:
    """Views at 0, 45, 90, 180 degrees."""
    views = {
        "psnr": np.array([10.0, 20.0, 30.0, 40.0]) + shift,
        "reid": np.array([0.2, 0.7, NAN, NAN]),
        "identity": np.array([0.8, NAN, NAN, NAN]),
        "janus": np.array([NAN, NAN, NAN, 1.0]),
    }
    return Record(key, Scores(np.array([0.0, 45.0, 90.0, 180.0]), views, {"halves": 2.0 + shift}), Cost(3.0, 100.0))


def test_views_fall_into_the_bins_of_their_azimuths() -> None:
    cells = table_of({"us": [record("a"), record("b", 2.0)]}, CONFIG)["us"]
    assert list(cells) == ["0-45", "45-90", "90-180", "all"]
    assert [cells[span]["psnr"].mean for span in cells] == pytest.approx([16.0, 31.0, 41.0, 26.0])
    assert cells["0-45"]["identity"].mean == pytest.approx(0.8) and cells["0-45"]["identity"].found == 0.5
    assert cells["0-45"]["reid"].mean == pytest.approx(0.45) and cells["0-45"]["reid_match"].mean == 0.5
    assert cells["45-90"]["identity"].mean is None and cells["45-90"]["identity"].found == 0.0
    assert "janus" not in cells["0-45"] and cells["90-180"]["janus"].found == 1.0
    assert "halves" not in cells["0-45"] and cells["all"]["halves"].mean == pytest.approx(3.0)


def test_few_heads_have_no_interval_and_say_so() -> None:
    few = table_of({"us": [record(str(i)) for i in range(4)]}, CONFIG)
    assert few["us"]["all"]["psnr"].low is None and few["us"]["all"]["psnr"].few
    random = np.random.default_rng(0)
    many = table_of({"us": [record(str(i), random.normal(0, 2)) for i in range(200)]}, CONFIG)
    cell = many["us"]["all"]["psnr"]
    assert cell.low is not None and cell.high is not None and cell.mean is not None
    # all views of a head move together: the interval is that of 200 heads, not of 800 views
    assert cell.high - cell.low == pytest.approx(2 * 1.96 * 2 / np.sqrt(200), rel=0.15)
    assert cell.low < cell.mean < cell.high
    text = markdown(Results({"set": few}, {}, {"set": costs_of({"us": [record("a")]})}, {}))
    assert (
        "25.00 (n=4: too few)" in text and "none found" in text and "- us: 3.0 s a head, at most 100 MiB more" in text
    )


def test_what_failed_is_counted_and_not_averaged() -> None:
    rows = [record("a"), Record("b", Scores(np.zeros(0)), error="no face")]
    assert table_of({"us": rows}, CONFIG)["us"]["all"]["psnr"].mean == pytest.approx(25.0)
    assert costs_of({"us": rows})["us"]["failed"] == {"b": "no face"}
    nothing = {"us": rows[1:]}
    assert table_of(nothing, CONFIG)["us"]["all"] == {} and costs_of(nothing)["us"]["seconds"] is None
    assert "nothing was made; 1 of 1 heads failed" in markdown(Results({"s": {}}, {}, {"s": costs_of(nothing)}, {}))


def test_sets_are_as_far_apart_as_their_features() -> None:
    config = CONFIG.model_copy(update={"measures": ("fid", "kid")})
    random = np.random.default_rng(1)
    features = random.normal(size=(600, 4)).astype(np.float32)
    moved = features + np.float32([3, 0, 0, 0])
    rows = [Record("a", Scores(np.zeros(0), features={"made": moved, "true": features}))]
    found = distances_of(rows, config, None)
    assert found["fid"] == pytest.approx(9.0, rel=1e-3)  # |d|^2 of two Gaussians of one covariance
    assert found["pictures"] == found["reference"] == 600
    assert distances_of(rows, config, moved)["fid"] == pytest.approx(0.0, abs=1e-3)
    assert found["kid"] > 10 * abs(distances_of(rows, config, moved)["kid"])
    assert distances_of([record("a")], config, None) == {}
    alone = [Record("a", Scores(np.zeros(0), features={"made": moved}))]
    text = markdown(Results({"s": {}}, {"s": {"us": distances_of(alone, config, None)}}, {}, {}))
    assert "- us: FID and KID need pictures to compare with" in text


def test_unknown_memory_is_no_number() -> None:
    rows = [Record(key, Scores(np.zeros(0)), Cost(1.0, NAN)) for key in "ab"]
    assert costs_of({"us": rows})["us"]["added_mib"] is None
    assert "1.0 s a head, memory unknown" in markdown(Results({"s": {}}, {}, {"s": costs_of({"us": rows})}, {}))
    assert costs_of({"us": [*rows, record("c")]})["us"]["added_mib"] == 100


def test_agreement_tells_in_how_many_views_a_face_was_found() -> None:
    config = CONFIG.model_copy(update={"measures": ("agreement",)})
    rows = [Record(k, Scores(np.zeros(0), whole={"agreement": 0.9}, found={"agreement": s})) for k, s in ("a1", "b0")]
    rows[0].scores.found["agreement"], rows[1].scores.found["agreement"] = 0.5, 0.25
    cell = table_of({"us": rows}, config)["us"]["all"]["agreement"]
    assert cell.mean == pytest.approx(0.9) and cell.found == pytest.approx(0.375)


def test_a_record_comes_back_and_damage_is_no_record(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    folder = RecordFolder(tmp_path / "set")
    written = record("a")
    written.scores.features["made"] = np.ones((2, 3), np.float32)
    written.scores.found["halves"] = 0.5
    folder.write(written, "us", "print")
    back = folder.read("a", "us", "print")
    assert (
        back is not None
        and back.cost == written.cost
        and back.scores.found == written.scores.found
        and back.scores.whole == written.scores.whole
    )
    for name, row in written.scores.views.items():
        np.testing.assert_array_equal(back.scores.views[name], row)
    np.testing.assert_array_equal(back.scores.features["made"], np.ones((2, 3)))
    assert folder.read("a", "us", "other protocol") is None and folder.read("b", "us", "print") is None
    path = tmp_path / "set" / "a.us.json"
    path.write_text(path.read_text()[:-20])
    assert folder.read("a", "us", "print") is None and "damaged" in caplog.text


def test_a_key_cannot_leave_the_folder(tmp_path) -> None:
    folder = RecordFolder(tmp_path / "set")
    for key in ("../up", "/tmp/escaped", "a/b"):
        with pytest.raises(DataError, match="outside"):
            folder.write(record(key), "us", "print")
