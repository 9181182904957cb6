"""``edge-ad capture``: frames of the line as training photos."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.bundle.documents import to_bytes
from edge_ad.cli import main
from edge_ad.images import read_image
from edge_ad.photo_files import find_photos
from edge_ad.scene import SceneLimits, measure_scene


def _part(number: int, *, brightness: int = 120, size_hw: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A bright square that lies elsewhere on every part, on a ground with some noise."""
    image = np.random.default_rng(number).normal(brightness, 2, (*size_hw, 3))
    x, y = 4 + 9 * number % (size_hw[1] - 40), 4 + 5 * number % (size_hw[0] - 40)
    image[y : y + 32, x : x + 32] += 60
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _folder(root: Path, images: list[np.ndarray]) -> Path:
    root.mkdir(parents=True)
    for number, image in enumerate(images):
        assert cv2.imwrite(str(root / f"{number:03d}.png"), image)
    return root


def _capture(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *options: str, code: int = 0) -> dict:
    assert main(["capture", "--source", str(source), "--out", str(out), "--json", *options]) == code
    return dict(json.loads(capsys.readouterr().out))


def test_every_part_is_saved_once_as_the_camera_gave_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [_part(number) for number in range(6)]
    noise = np.random.default_rng(9).integers(-3, 4, parts[0].shape)
    frames = [frame for part in parts for frame in (part, part, np.clip(part + noise, 0, 255).astype(np.uint8))]
    found = _capture(capsys, _folder(tmp_path / "line", frames), tmp_path / "good")
    assert (found["saved"], found["frames"], found["not_saved"]) == (6, 18, {"near-equal": 12})
    photos = find_photos(tmp_path / "good")
    assert len(photos.photos) == 6  # sorted by name is sorted by time
    for path, part in zip(photos.photos, parts, strict=True):
        np.testing.assert_array_equal(read_image(path), part)
    assert photos.left_out() == ""


def test_the_contact_sheet_shows_the_photos_and_is_none_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _folder(tmp_path / "line", [_part(number) for number in range(6)])
    found = _capture(capsys, line, tmp_path / "good")
    sheet = read_image(Path(found["contact_sheet"]))
    assert Path(found["contact_sheet"]).parent == tmp_path / "good"
    # A ground of 120 and a square of 180 on each of six pictures of 200×150, on white.
    grey = cv2.cvtColor(sheet, cv2.COLOR_BGR2GRAY)
    assert np.count_nonzero((grey > 100) & (grey < 140)) > 0.6 * 6 * 200 * 150
    chosen = tmp_path / "sheet.png"
    assert _capture(capsys, line, tmp_path / "more", "--sheet", str(chosen))["contact_sheet"] == str(chosen)
    assert _capture(capsys, line, tmp_path / "none", "--no-sheet")["contact_sheet"] is None
    assert main(["capture", "--source", str(line), "--out", str(tmp_path / "x"), "--sheet", str(chosen)]) == 2


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _folder(tmp_path / "line", [_part(number) for number in range(4)])
    for _ in range(3):
        _capture(capsys, line, tmp_path / "good")
    assert len(find_photos(tmp_path / "good").photos) == 12
    assert len(list((tmp_path / "good").glob(".contact-sheet*"))) == 3


def test_region_rate_and_number_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _folder(tmp_path / "line", [_part(number) for number in range(10)])
    options = ["--region", "8,4,100,80", "--every", "3f", "--jpeg", "95"]
    found = _capture(capsys, line, tmp_path / "all", *options)
    assert (found["saved"], found["not_saved"]) == (4, {"not due": 6})  # frames 0, 3, 6, 9
    names = [path.name for path in find_photos(tmp_path / "all").photos]
    assert [int(name.rpartition("_")[2].removesuffix(".jpg")) for name in names] == [0, 3, 6, 9]
    assert read_image(tmp_path / "all" / names[1]).shape == (80, 100, 3)
    found = _capture(capsys, line, tmp_path / "two", *options, "--count", "2")
    assert (found["saved"], found["ended_by"]) == (2, "count")
    found = _capture(capsys, line, tmp_path / "nth", "--trigger", "every:5")
    assert (found["saved"], found["not_saved"]) == (2, {"not triggered": 8})


def test_what_cannot_be_judged_is_left_out_and_what_is_odd_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [_part(number) for number in range(10)]
    black, other = np.zeros_like(parts[0]), _part(3, size_hw=(96, 96))
    blurred = np.asarray(cv2.GaussianBlur(_part(11), (0, 0), 3), np.uint8)
    dim, dark = _part(12, brightness=60), _part(13, brightness=12) // 8 + 15
    line = _folder(tmp_path / "line", [*parts, black, other, blurred, dim, dark])
    command = ["capture", "--source", str(line), "--out", str(tmp_path / "good"), "--json", "--no-frame-health"]
    command += ["--keep-near-equal"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["not_saved"] == {"another size": 1}
    assert found["saved"] == 14
    assert {"less sharp than the others", "darker than the others", "too dark"} <= set(found["odd"])
    assert "is less sharp than the others" in err
    assert _capture(capsys, line, tmp_path / "sound")["not_saved"]["black"] >= 1


def test_photos_are_held_against_those_of_a_bundle(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [_part(number) for number in range(9)]
    limits = SceneLimits.of([measure_scene(bundle.manifest.photos.to_input(part, (32, 32))) for part in parts])
    assert limits is not None
    spec = bundle.manifest.photos.model_copy(update={"aspect_ratios": (4 / 3, 4 / 3), "size_hw": (96, 128)})
    lit = bundle.with_files({"scene.json": to_bytes(limits)})
    manifest = lit.manifest.model_copy(update={"photos": spec})
    (bundle.root / "manifest.json").write_bytes(to_bytes(manifest))
    dark = [(part * 0.7).astype(np.uint8) for part in parts]
    line = _folder(tmp_path / "line", [*parts, *dark, _part(1, size_hw=(96, 96))])
    found = _capture(capsys, line, tmp_path / "good", "--like", str(bundle.root), "--keep-near-equal")
    assert (found["saved"], found["not_saved"]) == (18, {"another shape": 1})
    assert found["odd"]["darker"] == 9
    assert found["odd"].get("less sharp", 0) < 9  # measured as the network sees it, at its size


def test_a_full_disk_ends_it_with_what_was_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = _folder(tmp_path / "line", [_part(number) for number in range(6)])
    out, link = tmp_path / "good", os.link

    def full(source: Path, target: Path) -> None:
        if len(list(out.glob("[0-9]*"))) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        link(source, target)

    def no_room(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(Path, "rename", no_room)
    found = _capture(capsys, line, out, code=1)
    assert (found["saved"], found["frames"]) == (3, 4)
    assert len(find_photos(out).photos) == 3
    assert list(out.glob(".*.partial")) == []


def test_a_disk_without_links_takes_photos_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    line = _folder(tmp_path / "line", [_part(number) for number in range(3)])
    assert _capture(capsys, line, tmp_path / "good")["saved"] == 3
    assert len(find_photos(tmp_path / "good").photos) == 3


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ([], "--out photos/good"),
        (["--out", "FILE"], "not a folder"),
        (["--out", "new", "--jpeg", "0"], "no quality 0"),
        (["--out", "new", "--sheet", "FILE"], "overwrites nothing"),
        (["--out", "new", "--every", "2s"], "--pace source"),
        (["--out", "new", "--region", "0,0,999,999"], "reaches beyond the frame"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    options: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FILE").write_text("no folder")
    line = _folder(tmp_path / "line", [_part(0)])
    options = [str(tmp_path / word) if word in ("FILE", "new") else word for word in options]
    assert main(["capture", "--source", str(line), *options]) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_line_that_shows_nothing_saves_nothing_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _folder(tmp_path / "line", [np.zeros((32, 32, 3), np.uint8)] * 3)
    found = _capture(capsys, line, tmp_path / "good", code=2)
    assert (found["saved"], found["not_saved"]) == (0, {"black": 3})


def test_ctrl_c_ends_it_with_what_was_saved(tmp_path: Path) -> None:
    line = _folder(tmp_path / "line", [_part(number) for number in range(6)])
    command = [sys.executable, "-m", "edge_ad", "capture", "--source", str(line), "--watch", "--json"]
    command += ["--out", str(tmp_path / "good")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and len(list((tmp_path / "good").glob("[0-9]*"))) < 6:
            pass
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert (json.loads(out)["saved"], json.loads(out)["ended_by"]) == (6, "interrupted")
    assert len(find_photos(tmp_path / "good").photos) == 6


def test_it_runs_without_torch_and_onnx(tmp_path: Path) -> None:
    line = _folder(tmp_path / "line", [_part(0)])
    arguments = ["capture", "--source", str(line), "--out", str(tmp_path / "good")]
    lines = ["import sys; from edge_ad.cli import main", f"assert main({arguments!r}) == 0"]
    code = "\n".join([*lines, "print({'torch', 'onnx'} & set(sys.modules))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
