"""Who may import whom (docs/design.md), held against the sources' own import statements."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "gen3dface": ROOT / "gen3dface",
    "gen3dface.pipelines": ROOT / "pipelines",
    "gen3dface.recon": ROOT / "recon",
}
FOLDERS["gen3dface.data_synth"] = ROOT / "data_synth"

# each room and the rooms it may know, beside itself
BASE = {
    "errors",
    "cameras",
    "raster",
    "render",
    "texture",
    "bake",
    "openness",
    "similarity",
    "assets",
    "asset_table",
    "files",
    "inert_pickle",
}
ALLOWED = {
    "errors": set(),
    "cameras": {"errors"},
    "raster": {"cameras", "errors"},
    "render": {"cameras", "errors", "raster"},
    "bake": {"cameras", "raster", "render", "texture"},
    "texture": {"cameras", "errors", "raster", "render"},
    "openness": {"cameras", "raster", "render"},
    "similarity": {"cameras"},
    "files": {"errors"},
    "asset_table": set(),
    "inert_pickle": set(),
    "assets": {"asset_table", "errors", "files"},
    "photo": BASE,
    "heads": BASE,
    "models": BASE,
    "estimators": BASE | {"photo", "heads"},
    "recon": BASE | {"photo", "heads", "estimators", "pipelines"},
    "pipelines": BASE | {"photo", "heads", "models", "estimators"},
}
FREE = {
    "__main__",
    "cli",
    "cli_assets",
    "cli_eval",
    "cli_heads",
    "cli_synth",
    "config_files",
    "examples",
    "outputs",
    "viewer",
    "data_synth",
    "train",
    "training",
    "evaluation",
    "conversion",
    "",
}  # doors and top


def _modules() -> list[tuple[str, str, Path]]:
    """(room, dotted name, file) of every source file."""
    found = []
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *[p for p in parts if p != "__init__"]])
            room = [*name.split("."), ""][1]
            found.append((room, name, path))
    return found


def _imports(path: Path, name: str) -> set[str]:
    """Rooms of gen3dface that a file imports, at any depth of its code."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        out |= {t.split(".")[1] for t in targets if t.startswith("gen3dface.")}
    return out - {"__version__"}


@pytest.mark.parametrize(("room", "name", "path"), _modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_rooms_import_only_what_lies_below(room: str, name: str, path: Path) -> None:
    if room in FREE:
        return
    assert room in ALLOWED, f"{name}: a new room must be given its place in this test"
    assert _imports(path, name) <= ALLOWED[room] | {room}


def test_the_base_does_not_import_heavy_packages() -> None:
    """`import gen3dface` and the base rooms stay light."""
    heavy = {"diffusers", "transformers", "cv2", "skimage", "onnxruntime", "mediapipe"}
    for room, _, path in _modules():
        if room in {"", *BASE}:
            imported = {n.split(".")[0] for node in ast.walk(ast.parse(path.read_text())) for n in _plain(node)}
            assert not imported & heavy, path


def _plain(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
