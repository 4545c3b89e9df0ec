"""Where the recorded facts of the public peers lie, if at all."""

from __future__ import annotations

import os
from pathlib import Path

FIXTURES = Path(os.environ.get("GEN3DFACE_PARITY_DIR") or Path(__file__).parents[3] / "shared" / "peers" / "fixtures")
REASON = "no recorded peers: set GEN3DFACE_PARITY_DIR to a folder of fixtures"
HAVE_FIXTURES = FIXTURES.is_dir() and any(FIXTURES.glob("*.safetensors"))
