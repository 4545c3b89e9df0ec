"""Protocols say what they ask for, or why they cannot."""

import pytest

from gen3dface.errors import ConfigError
from gen3dface.evaluation.protocol import MEASURES, EvalConfig, load_eval_config

TRUTH = {"systems": [{"kind": "truth"}]}


def test_the_protocols_that_come_with_the_package_hold() -> None:
    smoke = load_eval_config("smoke")
    assert [s.title for s in smoke.systems] == ["truth", "mean_head", "projection", "mini"]
    assert [(s.title, s.heads) for s in smoke.sets] == [("rendered", 8), ("openpeople", None)]
    assert set(smoke.measured) == set(MEASURES) - {"clip"}
    assert load_eval_config("in_domain").white_outside
    assert load_eval_config("in_domain").seed == 6033
    forty = load_eval_config("out_of_domain", {"clip": "CLIP", "reference": "FFHQ"})
    assert forty.sets[0].rig == "eval40"
    assert forty.measured == ("identity", "agreement", "clip", "janus", "fid", "kid")


def test_sets_and_estimators_of_one_kind_are_told_apart_by_names() -> None:
    sets = [{"kind": "rendered", "heads": 1}, {"kind": "rendered", "name": "forty", "heads": 1, "views": "eval40"}]
    both = {"kind": "deca", "checkpoint": "a", "head": "b"}
    found = load_eval_config("smoke", {"sets": sets, "shapes.estimators": [both, {**both, "name": "other deca"}]})
    assert [s.title for s in found.sets] == ["rendered", "forty"]
    with pytest.raises(ConfigError, match="named alike"):
        load_eval_config("smoke", {"shapes.estimators": [both, both]})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"systems": [{"kind": "pipeline"}]}, "has a model"),
        ({"systems": [{"kind": "truth"}, {"kind": "truth"}]}, "named alike"),
        ({"systems": [{"kind": "truth", "name": "../up"}]}, "give a name"),
        ({"systems": [{"kind": "folder", "path": "/tmp/a|b"}]}, "give a name"),
        ({"systems": [{"kind": "folder", "path": "/"}]}, "give a name"),
        ({"systems": [{"kind": "truth", "steps": 5}]}, "neither steps"),
        ({"sets": [{"kind": "openpeople", "views": "eval40"}]}, "views of its own"),
        ({"sets": [{"kind": "photos", "path": "x", "first": 3}]}, "no seeds"),
        ({"sets": [{"kind": "rendered"}]}, "how many"),
        ({"sets": [{"kind": "photos"}]}, "have a path"),
        ({"sets": [{"kind": "rendered", "heads": 1, "views": "nowhere"}]}, "nowhere"),
        ({"measures": ["beauty"]}, "beauty"),
        ({"measures": ["clip"]}, "CLIP"),
        ({"sets": [], "shapes": {"heads": 0}}, "evaluates nothing"),
    ],
)
def test_what_cannot_be_is_named(values: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_eval_config("smoke", values)


def test_a_fingerprint_is_of_what_numbers_depend_on() -> None:
    plain = EvalConfig.model_validate(TRUTH)
    assert plain.fingerprint("a") == EvalConfig.model_validate({**TRUTH, "draws": 200}).fingerprint("a")
    for other in ({"size": 64}, {"seed": 1}, {"white_outside": True}, {"measures": ["psnr"]}, {"reid": "dlib"}):
        assert plain.fingerprint("a") != EvalConfig.model_validate({**TRUTH, **other}).fingerprint("a")
    assert plain.fingerprint("a") != plain.fingerprint("b")
