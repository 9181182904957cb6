"""What differs between methods and between backends stands on their classes: no code decides by a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import edge_ad
from edge_ad.models.registry import method_class, method_names
from edge_ad.runtime.backend import backend_names

ROOT = Path(edge_ad.__file__).resolve().parent
REGISTRIES = {"method_names.py", "models/registry.py", "runtime/backend.py"}
# Packages by the names under which they are imported or installed, kinds of pseudo-defects and mask sources, which are
# no methods.
EXEMPT = {
    "training/runs.py",
    "cli/failures.py",
    "evaluation/latency.py",
    "runtime/doctor.py",
    "gpu_check/run.py",
    "data/pseudo_defects/painter.py",
    "models/mask_sources/parameters.py",
    "models/mask_sources/registry.py",
    "runtime/openvino/api.py",
    "runtime/tensorrt/api.py",
}


def _names() -> set[str]:
    methods = [method_class(name) for name in method_names()]
    aliases = {alias for kind in methods for alias in kind.aliases}
    return {*method_names(), *aliases, *backend_names()}


def _deciding(tree: ast.AST) -> Iterator[ast.Constant]:
    """Constants that are compared, listed, looked up or matched."""
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            parts = [*node.elts]
        elif isinstance(node, ast.Dict):
            parts = [*node.keys]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        yield from (part for part in parts if isinstance(part, ast.Constant))


def test_no_code_decides_by_the_name_of_a_method_or_of_a_backend() -> None:
    names, found = _names(), []
    for path in sorted(ROOT.rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        if where in REGISTRIES | EXEMPT:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        exported = {
            id(item)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "aliases")
            for item in ast.walk(node)
        }
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        own = {id(item) for kind in classes for item in ast.walk(kind)} if where.startswith("models/") else set()
        found += [
            f"{where}:{item.lineno} {item.value}"
            for item in _deciding(tree)
            if item.value in names and id(item) not in exported | own
        ]
    assert not found
