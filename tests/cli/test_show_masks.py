"""``edge-ad show-masks``: what runs hide, attenuate, restore and find, photo by photo."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.cli import main
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train

_TINY = {"size": 64, "width": "pico", "mosaic": 8, "epochs": 1}
_FADER = {**_TINY, "fader_epochs": 1, "predictor": "mlp"}


@pytest.fixture(scope="module")
def product_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen grey photos of noise."""
    root, rng = tmp_path_factory.mktemp("product"), np.random.default_rng(0)
    for index in range(12):
        grey = rng.integers(60, 200, (64, 64, 1), dtype=np.uint8).repeat(3, axis=2)
        assert cv2.imwrite(str(root / f"{index:02d}.png"), grey)
    return root


@pytest.fixture(scope="module")
def runs(product_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """FADeR with everything hidden, EAR with nothing hidden, and a run without masks."""
    root = tmp_path_factory.mktemp("runs")
    requests = [
        TrainingRequest("fader", product_root, root / "full", {**_FADER, "mask_source": "full"}),
        TrainingRequest("ear", product_root, root / "none", {**_TINY, "mask_source": "none"}),
        TrainingRequest("patch-gaussian", product_root, root / "gaussian", {"size": 64, "rank": 2}),
    ]
    return {request.root.name: train(request, lambda report: None) for request in requests}


def _shown(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["show-masks", *arguments, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def _pictures(sheet: Path, groups: Sequence[int], width: int) -> list[NDArray[np.uint8]]:
    """The pictures of the first row: groups of so many, 8 pixels apart, the groups 24 apart, below 142 pixels."""
    pixels, pictures, x = cv2.imread(str(sheet)), [], 28
    assert pixels is not None
    for count in groups:
        for _ in range(count):
            pictures.append(np.asarray(pixels[142 : 142 + width, x : x + width], np.uint8))
            x += width + 8
        x += 16
    return pictures


def _blueness(picture: NDArray[np.uint8]) -> float:
    return float((picture[..., 0].astype(float) - picture[..., 2]).mean())


def test_a_run_of_fader_shows_binary_and_soft_mask_reconstruction_and_map(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    shown = _shown([str(runs["full"]), "--out", str(sheet), "--count", "2"], capsys)
    assert shown == {"sheet": str(sheet), "photos": 2, "hidden_share": {str(runs["full"]): 1.0}}
    photo, hidden, soft, restored, found = _pictures(sheet, (1, 4), 208)
    assert _blueness(hidden) > 100
    assert 0 < _blueness(soft) < _blueness(hidden)
    for first, second in ((photo, restored), (photo, found), (restored, found), (hidden, soft)):
        assert float((first != second).any(2).mean()) > 0.5


def test_several_runs_stand_side_by_side_on_the_photos_of_a_folder(
    runs: dict[str, Path], product_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet, arguments = tmp_path / "sheet.png", [str(runs["full"]), str(runs["none"])]
    shown = _shown([*arguments, "--data", str(product_root), "--out", str(sheet), "--count", "3"], capsys)
    assert shown["hidden_share"] == {str(runs["full"]): 1.0, str(runs["none"]): 0.0}
    pictures = _pictures(sheet, (1, 4, 3), 164)  # EAR has no soft mask
    assert _blueness(pictures[1]) > 100
    assert abs(_blueness(pictures[5])) < 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["gaussian"], "masks nothing"), (["full", "--data", "empty"], "no photos"), ([], "runs"), (["away"], "run.json")],
)
def test_what_cannot_be_drawn_is_said_in_a_line(
    arguments: list[str], said: str, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {**{name: str(root) for name, root in runs.items()}, "empty": str(tmp_path / "empty")}
    places["away"] = str(tmp_path / "away")
    code = main(["show-masks", *(places.get(text, text) for text in arguments), "--out", str(tmp_path / "sheet.png")])
    assert code in (1, 2)
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "sheet.png").exists()
