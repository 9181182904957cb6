"""Every Python block of the documentation is run, on a small product with the names that the pages use."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edge_ad as ead
from tests.docs.pages import PAGES, Block, blocks, name_of

_SIZE = 64
_PYTHON = {page: [block for block in blocks(page) if block.language == "python"] for page in PAGES if page.exists()}
_PAGES = {page: found for page, found in _PYTHON.items() if found}


def _disc(rng: np.random.Generator, *, has_scratch: bool) -> np.ndarray:
    image = np.full((_SIZE, _SIZE, 3), 90, np.uint8)
    cv2.circle(image, (int(rng.integers(28, 36)), int(rng.integers(28, 36))), 18, (200, 160, 120), -1)
    if has_scratch:
        cv2.line(image, (24, 28), (42, 40), (10, 10, 10), 3)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the product `screw` and a finished run of it, as a reader of the tutorial has them."""
    root, rng = tmp_path_factory.mktemp("desk"), np.random.default_rng(0)
    for folder, count, has_scratch in (("train/good", 18, False), ("test/good", 4, False), ("test/scratch", 4, True)):
        (root / "screw" / folder).mkdir(parents=True)
        for index in range(count):
            path = root / "screw" / folder / f"{index:03d}.png"
            cv2.imwrite(str(path), _disc(rng, has_scratch=has_scratch))
    run = ead.train(root / "screw", "patch-gaussian", runs=root / "runs", size=_SIZE, rank=4)
    run.export(precision="fp32", backend="onnxruntime")
    return root


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_the_blocks_of_a_page_run(page: Path, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "screw").symlink_to(desk / "screw")
    if "ead.train(" not in "".join(block.code for block in _PAGES[page]):
        (tmp_path / "runs").symlink_to(desk / "runs")
    monkeypatch.chdir(tmp_path)
    _quicken(monkeypatch)
    names: dict[str, Any] = {}
    for block in _PAGES[page]:
        if not block.why:
            exec(compile(block.code, name_of(page), "exec"), names)
    if (result := names.get("result")) is not None:
        assert result.is_defective == (result.score > result.threshold)


def _quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same calls, with an input of 64 pixels, the method that fits in seconds, and one precision."""
    train, export = ead.train, ead.Run.export

    def small(data: str, method: str = "patch-gaussian", **parameters: Any) -> ead.Run:
        return train(data, method, **{**parameters, "size": _SIZE, "rank": 4})

    def plain(run: ead.Run, path: str | None = None, **_: Any) -> ead.Bundle:
        return export(run, path, precision="fp32", backend="onnxruntime")

    monkeypatch.setattr(ead, "train", small, raising=False)
    monkeypatch.setattr(ead.Run, "export", plain)


def test_a_block_that_is_not_run_says_why() -> None:
    page = "<!-- not run: needs a camera -->\n```python\nx\n```\n\n    edge-ad doctor\n"
    path = Path("page.md")
    assert [Block("python", "x\n", "needs a camera"), Block("", "edge-ad doctor\n")] == list(_blocks_of(page, path))


def _blocks_of(text: str, path: Path) -> Any:
    class _Page:
        def read_text(self, encoding: str) -> str:
            return text

    return blocks(_Page())  # type: ignore[arg-type] # only its text is read
