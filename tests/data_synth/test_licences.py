"""Of a mixed set the strictest licence counts, and none is taken for a freer one."""

import pytest

from gen3dface.data_synth.synthesis.licences import UNKNOWN, strictest


def test_a_mixed_set_has_its_strictest_licence() -> None:
    assert strictest(["CC0 (OpenHead)"]) == "free for any use"
    assert strictest(["CC0 (OpenHead)", "MIT (OpenPeople)"]) == "with attribution"
    assert strictest(["MIT", "non-commercial (PanoHead)"]) == "non-commercial use only"
    assert strictest(["MIT", "non-commercial (PanoHead)", "something"]) == f"non-commercial use only; {UNKNOWN}"
    assert strictest(["CC0", "CC-BY-NC 4.0"]) == "non-commercial use only"
    assert strictest(["CC-BY-ND", "CC BY-NC"]) == "non-commercial use only, no derivatives"
    assert strictest(["CC0", "something"]) == UNKNOWN and strictest([]) == UNKNOWN


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("CC BY NC 4.0", "non-commercial use only"),
        ("non commercial", "non-commercial use only"),
        ("for research only", "non-commercial use only"),
        ("CC-BY-ND", "no derivatives"),
        ("CC BY-NoDerivatives 4.0", "no derivatives"),
        ("CC-BY-NC-SA-4.0", "non-commercial use only, share alike"),
        ("CC BY SA", "share alike"),
        ("LGPL-3.0-only", "share alike"),
        ("CC-BY-4.0", "with attribution"),
        ("BSD-3-Clause", "with attribution"),
        ("Limited research licence", UNKNOWN),
        ("research-sample licence", UNKNOWN),
        ("All rights reserved; permission required; submit a form", UNKNOWN),
        ("MIT, but all rights reserved", UNKNOWN),
        ("non-commercial; ask for permission", f"non-commercial use only; {UNKNOWN}"),
        ("not for commercial use (MIT)", UNKNOWN),
        ("Limited", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_no_licence_is_taken_for_a_freer_one(name: str, wanted: str) -> None:
    assert strictest([name]) == wanted
    assert strictest(["CC0", name, "MIT"]) == wanted
