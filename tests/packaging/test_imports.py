"""Import rules that reach beyond the package."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_nothing_but_the_entry_point_imports_from_the_command_line() -> None:
    paths = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "edge_ad").rglob("*.py")]
    outside = [path for path in paths if path.parent.name != "cli" and path.name != "__main__.py"]
    outside += (ROOT / "benchmarks").rglob("__main__.py")
    assert len(outside) > 100
    assert {str(path) for path in outside for name in _imported(path) if name.startswith("edge_ad.cli")} == set()


def test_the_package_imports_nothing_that_is_not_in_the_wheel() -> None:
    paths = (ROOT / "edge_ad").rglob("*.py")
    beside = ("benchmarks", "tests", "export", "calibration")
    assert {str(path) for path in paths for name in _imported(path) if name.partition(".")[0] in beside} == set()
