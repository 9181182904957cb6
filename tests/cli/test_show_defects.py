"""``edge-ad show-defects``: a sheet of what is simulated, and of what a run makes of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.cli import main
from edge_ad.images import read_resized, resize
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train


@pytest.fixture
def run(product_root: Path, tmp_path: Path) -> Path:
    request = TrainingRequest("draem", product_root, tmp_path / "run", {"size": 32, "epochs": 1})
    return train(request, lambda report: None)


def _shown(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["show-defects", *arguments, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def _tiles(sheet: Path, row: int, columns: int) -> list[NDArray[np.uint8]]:
    """The pictures of a row, of 200 pixels each, below a header of 92."""
    pixels = cv2.imread(str(sheet))
    assert pixels is not None
    top = 92 + row * 230
    return [pixels[top : top + 200, 28 + 208 * index : 228 + 208 * index] for index in range(columns)]


def _differs(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Share of pixels."""
    return float((first != second).any(2).mean())


def test_the_sheet_shows_a_defect_where_the_outline_is(
    product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    shown = _shown(["--data", str(product_root), "--out", str(sheet), "--count", "1", "--size", "64"], capsys)
    good, defective, outlined = _tiles(sheet, 0, 3)
    assert shown["defects"] == 1
    assert 0 < float(str(shown["smallest_share"])) == float(str(shown["largest_share"])) < 0.5
    assert _differs(good, defective) == pytest.approx(float(str(shown["largest_share"])), abs=0.05)
    red = (outlined != defective).any(2)
    assert red.any()
    changed = (good != defective).any(2).astype(np.uint8)
    near = cv2.dilate(changed, np.ones((15, 15), np.uint8)) > 0
    assert near[red].all()


def test_a_seed_determines_the_sheet(product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheets = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        sheets.append(tmp_path / f"{name}.png")
        arguments = ["--data", str(product_root), "--out", str(sheets[-1]), "--count", "2", "--size", "32"]
        _shown([*arguments, "--seed", seed], capsys)
    assert sheets[0].read_bytes() == sheets[1].read_bytes()
    assert _differs(_tiles(sheets[0], 0, 2)[1], _tiles(sheets[2], 0, 2)[1]) > 0


@pytest.mark.parametrize("method", ["mixed", "scratch"])
def test_pseudo_defects_are_shown_too(
    method: str, product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    _shown(["--data", str(product_root), "--out", str(sheet), "--method", method, "--count", "2"], capsys)
    assert _differs(*_tiles(sheet, 0, 2)) > 0


def test_a_run_shows_what_it_restores_and_finds_on_images_it_was_not_trained_on(
    run: Path, product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    shown = _shown(["--run", str(run), "--out", str(sheet), "--count", "1"], capsys)
    good, defective, outlined, restored, found = _tiles(sheet, 0, 5)
    assert min(_differs(outlined, restored), _differs(defective, found), _differs(restored, found)) > 0.5
    split = json.loads((run / "run.json").read_text())["split"]
    name = next(iter(split["calibrate"]))
    np.testing.assert_array_equal(good, resize(read_resized([product_root / name], (32, 32))[0], (200, 200)))
    assert 0 <= float(str(shown["image_auroc"])) <= 1
    assert 0 < float(str(shown["pixel_ap"])) <= 1
    assert float(str(shown["left_after_restoring"])) > 0


def test_a_person_sees_the_figures(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show-defects", "--run", str(run), "--out", str(tmp_path / "x.png"), "--count", "3"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("x.png", "area", "image auroc", "pixel ap", "left after restoring"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say whose parts"),
        (["--data", "DATA", "--run", "RUN"], "Say whose parts"),
        (["--run", "RUN", "--size", "64"], "are the run's"),
        (["--run", "RUN"], "is not a run"),
        (["--data", "DATA", "--method", "dents"], "no defects 'dents'"),
        (["--data", "DATA", "--textures", "RUN"], "no folder of textures"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    arguments: list[str], message: str, product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"DATA": str(product_root), "RUN": str(tmp_path / "nowhere")}
    sheet = tmp_path / "sheet.png"
    assert main(["show-defects", *(places.get(text, text) for text in arguments), "--out", str(sheet)]) == 2
    assert message in capsys.readouterr().err
    assert not sheet.exists()
