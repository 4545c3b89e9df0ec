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
    forty = load_eval_config("out_of_domain", {"clip": "CLIP", "measures": ["clip", "fid"]})
    assert forty.sets[0].views == "eval40" and forty.measured == ("clip", "fid")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"systems": [{"kind": "pipeline"}]}, "has a model"),
        ({"systems": [{"kind": "truth"}, {"kind": "truth"}]}, "named alike"),
        ({"systems": [{"kind": "truth", "name": "../up"}]}, "name"),
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
    for other in ({"size": 64}, {"seed": 1}, {"white_outside": True}, {"measures": ["psnr"]}):
        assert plain.fingerprint("a") != EvalConfig.model_validate({**TRUTH, **other}).fingerprint("a")
    assert plain.fingerprint("a") != plain.fingerprint("b")
