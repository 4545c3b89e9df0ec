"""Settings that make no surface are refused where they are written."""

import math
from typing import Any

import pytest

from gen3dface.errors import ConfigError
from gen3dface.recon.fit_field import FieldConfig
from gen3dface.recon.fit_mesh import MeshConfig
from gen3dface.recon.surface import SurfaceConfig


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        (SurfaceConfig, {"method": "messh"}, "method is 'messh'.*mesh, field"),
        (SurfaceConfig, {"method": FieldConfig()}, "method is FieldConfig"),
        (SurfaceConfig, {"topology": "closed"}, "topology is 'closed'"),
        (SurfaceConfig, {"faces": 0}, "faces is 0"),
        (SurfaceConfig, {"faces": -1}, "faces is -1"),
        (SurfaceConfig, {"faces": 1000.5}, "faces is 1000.5"),
        (SurfaceConfig, {"resolution": 0}, "resolution is 0"),
        (SurfaceConfig, {"texture_size": 0}, "texture_size is 0"),
        (SurfaceConfig, {"mesh": FieldConfig()}, "mesh must be a MeshConfig"),
        (MeshConfig, {"steps": 0}, "steps is 0"),
        (MeshConfig, {"refresh": 0}, "refresh is 0"),
        (MeshConfig, {"rate": 0.0}, "rate is 0.0.*above 0"),
        (MeshConfig, {"mask": math.nan}, "mask is nan"),
        (MeshConfig, {"blurs": ()}, "blurs is ()"),
        (MeshConfig, {"blurs": (3.0, -1.0)}, "blurs is"),
        (FieldConfig, {"steps": 0}, "steps is 0"),
        (FieldConfig, {"rays": 0}, "rays is 0"),
        (FieldConfig, {"width": (1e-3,)}, "two numbers"),
        (FieldConfig, {"eikonal": -1.0}, "eikonal is -1.0"),
        (FieldConfig, {"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_is_refused(kind: Any, values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        kind(**values)
