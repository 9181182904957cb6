"""Every mistake of a user, from the command line: one error, one hint, the right exit code, and nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.runtime.engines import probe_backend

_ENGINE = ("--backend", "onnxruntime", "--threads", "1")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Run a command that must fail; gives its exit code and its error line. Libraries' own output counts too."""

    def run(*arguments: object) -> tuple[int, str]:
        before = _contents(tmp_path)
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        output = capfd.readouterr()
        lines = output.err.splitlines()
        assert output.out == ""
        assert [line.partition(":")[0] for line in lines] == ["error", "hint"], output.err
        assert _contents(tmp_path) == before
        return code, lines[0]

    return run


def _contents(root: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def _using(bundle: object, product: object) -> list[tuple[object, ...]]:
    """Every verb that reads a bundle."""
    return [
        ("stream", "--bundle", bundle, "--source", product, "--headless", *_ENGINE),
        ("benchmark", bundle, *_ENGINE),
        ("evaluate", bundle, "--data", product, *_ENGINE),
        ("inspect", bundle),
        ("verify", bundle, *_ENGINE),
        ("build-engine", bundle, "--backend", "onnxruntime"),
    ]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_folder_that_is_not_there_is_named(refused, bundle: Bundle, product_root: Path) -> None:
    commands = [
        *_using("nowhere", product_root),
        ("stream", "--bundle", bundle.root, "--source", "nowhere", "--headless", *_ENGINE),
        ("evaluate", bundle.root, "--data", "nowhere", *_ENGINE),
        ("benchmark", bundle.root, "--data", "nowhere", *_ENGINE),
    ]
    for command in commands:
        code, error = refused(*command)
        assert (code, "nowhere" in error) == (2, True), command


def test_a_folder_without_images_is_named(refused, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    for command in (
        ("stream", "--bundle", bundle.root, "--source", tmp_path / "hollow", "--headless", *_ENGINE),
        ("evaluate", bundle.root, "--data", tmp_path / "hollow", *_ENGINE),
    ):
        code, error = refused(*command)
        assert (code, "hollow" in error) == (2, True), command


def test_a_truncated_test_image_is_named_before_anything_is_scored(refused, bundle: Bundle, product_root: Path) -> None:
    _truncate(product_root / "test" / "good" / "002.png")
    code, error = refused("evaluate", bundle.root, "--data", product_root, "--report", "report", *_ENGINE)
    assert (code, "test/good/002.png" in error) == (2, True)


def test_images_without_a_test_set_cannot_be_evaluated(refused, bundle: Bundle, product_root: Path) -> None:
    flat = product_root / "train" / "good"
    code, error = refused("evaluate", bundle.root, "--data", flat, *_ENGINE)
    assert (code, error) == (2, "error: good has no test images.")


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz"])
def test_one_changed_byte_is_found_by_every_verb(refused, bundle: Bundle, product_root: Path, name: str) -> None:
    content = bytearray((bundle.root / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle.root / name).write_bytes(content)
    for command in _using(bundle.root, product_root):
        code, error = refused(*command)
        assert (code, f"{name} was changed or damaged" in error) == (1, True), command


def test_a_bundle_of_a_newer_edge_ad_is_refused_by_every_verb(refused, bundle: Bundle, product_root: Path) -> None:
    path = bundle.root / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99, "unknown": True}))
    for command in _using(bundle.root, product_root):
        code, error = refused(*command)
        assert (code, "schema version 99" in error) == (1, True), command


def test_what_is_no_source_is_refused(refused, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 100)
    (tmp_path / "hollow.mp4").write_bytes(b"")
    cases = [
        (2, "Not a video", ("--source", tmp_path / "text.mp4")),
        (2, "is empty", ("--source", tmp_path / "hollow.mp4")),
        (2, "given twice", ("--source", tmp_path / "text.mp4", "--source", tmp_path / "text.mp4")),
        (2, "No source", ()),
        (2, "no camera -1", ("--camera", "-1")),
        (2, "ftp", ("--source", "ftp://host/line")),
        (3, "Camera 63", ("--camera", "63")),
    ]
    outputs = ("--save-records", "records.jsonl", "--save-video", "line.avi")
    for expected, says, arguments in cases:
        code, error = refused("stream", "--bundle", bundle.root, *arguments, "--headless", *outputs, *_ENGINE)
        assert (code, says in error) == (expected, True), (arguments, error)


def test_without_a_bundle_here_the_stream_says_so(refused, product_root: Path) -> None:
    code, error = refused("stream", "--source", product_root / "test" / "good", "--headless", *_ENGINE)
    assert (code, "no bundle" in error) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--threshold", "nan"),
        ("--threshold", "high"),
        ("--threads", "-1"),
        ("--backend", "abacus"),
        ("--precision", "int4"),
        ("--max-frames", "0"),
        ("--save-video", "line.gif"),
        ("--save-records", "no/such/folder/records.jsonl"),
    ],
)
def test_a_wrong_value_is_refused(refused, bundle: Bundle, product_root: Path, arguments: tuple[str, ...]) -> None:
    source = product_root / "test" / "good"
    assert refused("stream", "--bundle", bundle.root, "--source", source, "--headless", *arguments)[0] == 2


def test_a_backend_that_is_not_here_is_exit_code_3(refused, bundle: Bundle, product_root: Path) -> None:
    if probe_backend("tensorrt").available:
        pytest.skip("TensorRT is here")
    code, error = refused("evaluate", bundle.root, "--data", product_root, "--backend", "tensorrt")
    assert (code, "tensorrt" in error) == (3, True)


def test_records_of_a_stream_that_could_not_write_its_video_are_not_left(
    refused, bundle: Bundle, product_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("edge_ad.streaming.sinks.video.shutil.disk_usage", lambda path: usage)
    outputs = ("--save-records", "records.jsonl", "--save-video", "line.avi")
    source = product_root / "test" / "good"
    code, error = refused("stream", "--bundle", bundle.root, "--source", source, "--headless", *outputs, *_ENGINE)
    assert (code, "no space left" in error) == (1, True)


def test_a_bundle_that_cannot_be_written_can_be_streamed(
    bundle: Bundle, product_root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = _contents(bundle.root)
    folders = [bundle.root, *(path for path in bundle.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        source = product_root / "test" / "good"
        arguments = ["stream", "--bundle", str(bundle.root), "--source", str(source), "--headless", "--json", *_ENGINE]
        assert main(arguments) == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)
    output = capfd.readouterr()
    assert (json.loads(output.out)["frames"], output.err) == (4, "")
    assert _contents(bundle.root) == before


def test_training_refuses_what_it_cannot_use(refused, product_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "hollow").mkdir()
    cases = [
        (2, "No such folder", ("ear", "--data", "nowhere")),
        (2, "No images", ("ear", "--data", tmp_path / "hollow")),
        (2, "no method", ("abacus", "--data", product_root)),
        (2, "size", ("ear", "--data", product_root, "--size", "100")),
        (2, "size", ("ear", "--data", product_root, "--size", "0")),
        (2, "steps", ("ear", "--data", product_root, "-p", "steps=many")),
        (2, "not a device", ("ear", "--data", product_root, "--device", "xpu")),
        (2, "not a run", ("ear", "--resume", "nowhere")),
        (2, "--size, --geometry: a resumed run keeps", ("--resume", "nowhere", "--size", "64x64", "--fit", "crop")),
    ]
    for expected, says, arguments in cases:
        code, error = refused("train", *arguments)
        assert (code, says in error) == (expected, True), (arguments, error)


def test_training_names_a_truncated_image_and_counts_too_few(refused, product_root: Path) -> None:
    pytest.importorskip("torch")
    _truncate(product_root / "train" / "good" / "003.png")
    code, error = refused("train", "ear", "--data", product_root)
    assert (code, "train/good/003.png" in error) == (2, True)
    (product_root / "train" / "good" / "003.png").unlink()
    code, error = refused("train", "ear", "--data", product_root)
    assert (code, "7 different good images are too few" in error) == (2, True)


def test_a_damaged_png_makes_no_noise_of_its_own(refused, bundle: Bundle, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    content = bytearray(cv2.imencode(".png", noise)[1].tobytes())
    content[len(content) // 2] ^= 0xFF  # the checksum of its chunk is wrong from here on
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(content)
    code, error = refused(
        "stream", "--bundle", bundle.root, "--source", tmp_path / "photos", "--headless", "--threads", "1"
    )
    assert (code, "a.png" in error) == (2, True)


def test_a_traceback_never_reaches_the_user_of_a_real_process(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "edge_ad", "inspect", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
