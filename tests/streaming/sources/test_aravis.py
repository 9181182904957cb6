"""Cameras through Aravis, against its fake camera: GigE Vision on loopback, packet loss and unplugging included."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.errors import DeviceError, MissingDependencyError, UsageError
from edge_ad.images import read_image
from edge_ad.runtime.aravis import load_aravis
from edge_ad.streaming.sources import Source, SourceOptions, source_from_uri
from edge_ad.streaming.sources.genicam import GenicamSource
from tests.runtime.tiny_bundle import graph_info, threshold, tiny_bundle
from tests.streaming.sources.fake_gige_camera import FakeGigeCamera, need_fake_camera

_SMALL = "Width=128&Height=96"
_ROOT = Path(__file__).parents[3]


@pytest.fixture
def camera() -> Iterator[FakeGigeCamera]:
    need_fake_camera()
    with FakeGigeCamera() as camera:
        yield camera


def _inner(source: Source) -> GenicamSource:
    inner = source._source  # type: ignore[attr-defined]
    assert isinstance(inner, GenicamSource)
    return inner


def test_a_camera_gives_numbered_frames_and_its_rate(camera: FakeGigeCamera) -> None:
    with source_from_uri(f"aravis://GV01?{_SMALL}", SourceOptions(fps=50)) as source:
        images = [source.read() for _ in range(20)]
        assert all(image is not None and image.shape == (96, 128, 3) for image in images)
        assert source.fps == pytest.approx(50, rel=0.05)
        assert source.source_count == 20 + source.missed
        assert source.corrupt == 0


@pytest.mark.parametrize("pixel_format", ["Mono8", "Mono16", "BayerRG8", "RGB8"])
def test_pixel_formats_come_as_bgr(camera: FakeGigeCamera, pixel_format: str) -> None:
    with source_from_uri(f"aravis://0?{_SMALL}&pixel_format={pixel_format}") as source:
        image = source.read()
    assert image is not None
    assert image.shape == (96, 128, 3)
    is_grey = (image[..., 0] == image[..., 1]).all()
    assert is_grey == pixel_format.startswith("Mono")


def test_mistakes_are_one_line_with_the_nearest_name_or_the_range(camera: FakeGigeCamera) -> None:
    for query, message, hint in (
        ("ExposureTime=8000", "has no feature ExposureTime", "ExposureTimeAbs"),
        ("ExposureTimeAbs=1", "does not take 1 for ExposureTimeAbs", "Possible: 10 to 10000000."),
        ("TriggerSource=Line7", "has no TriggerSource Line7", "It has: Line0, Software."),
        ("SensorWidth=1", "does not let SensorWidth be set", "lock"),
    ):
        with pytest.raises(UsageError, match=message) as failure, source_from_uri(f"aravis://GV01?{query}"):
            pass
        assert hint in failure.value.hint
    with pytest.raises(DeviceError, match="no Aravis camera X9") as missing, source_from_uri("aravis://X9"):
        pass
    assert "GV01, Aravis Fake at 127.0.0.1" in missing.value.hint


def test_a_camera_that_another_program_controls_is_told_from_one_that_is_not_there(camera: FakeGigeCamera) -> None:
    with (
        source_from_uri(f"aravis://GV01?{_SMALL}"),
        pytest.raises(DeviceError, match="in use by another program"),
        source_from_uri(f"aravis://GV01?{_SMALL}"),
    ):
        pass


def test_triggered_frames_come_one_for_one_and_a_loss_meanwhile_is_noticed(camera: FakeGigeCamera) -> None:
    with source_from_uri(f"aravis://GV01?{_SMALL}&hardware_trigger=Software") as source:
        connection = _inner(source)._connection
        assert connection is not None
        for _ in range(3):
            threading.Timer(0.2, lambda: connection.features.run("TriggerSoftware")).start()
            assert source.read() is not None
        assert (source.source_count, source.missed) == (3, 0)
        camera.unplug()
        assert _inner(source).read() is None  # silence alone would be none


def test_frames_that_lost_packets_are_counted_and_none_of_them_is_given() -> None:
    need_fake_camera()
    with FakeGigeCamera(lost_per_thousand=10), source_from_uri("aravis://GV01?Width=256&Height=192") as source:
        read = 0
        while source.corrupt < 5:
            assert source.read() is not None
            read += 1
            assert read < 2000
        assert source.source_count == read + source.corrupt + source.missed
        assert source.gaps.count == 0


def test_twelve_bits_come_over_the_network_as_photos_of_twelve_bits_are_read(tmp_path: Path) -> None:
    need_fake_camera()
    values = np.random.default_rng(0).integers(0, 4096, (3, 96, 128), np.uint16)
    paths = [tmp_path / f"{number}.png" for number in range(len(values))]
    for path, photo in zip(paths, values, strict=True):
        cv2.imwrite(str(path), photo)
    expected = {read_image(path, 12).tobytes() for path in paths}
    with FakeGigeCamera(photos=tmp_path):
        source = source_from_uri(f"aravis://GV01?{_SMALL}&pixel_format=Mono12p", SourceOptions(fps=50))
        source.expect_bits(12, takes_8_bits=False)
        with source:
            images = [source.read() for _ in range(30)]
    assert {image.tobytes() for image in images if image is not None} == expected


@pytest.mark.data
def test_a_stream_judges_what_a_camera_shows_as_evaluate_judges_the_photos(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_fake_camera()
    product, shown, records = tmp_path / "plates", tmp_path / "shown", tmp_path / "records.jsonl"
    shown.mkdir()
    for folder in ("train/good", "test/good", "test/defect"):
        (product / folder).mkdir(parents=True)
        for path in sorted((data_root / "metal_plate" / folder).glob("*.jpg"))[:3]:
            photo = cv2.resize(read_image(path), (320, 320))
            cv2.imwrite(str(product / folder / f"{path.stem}.png"), photo)
            if folder.startswith("test"):
                cv2.imwrite(str(shown / f"{folder[5:]}_{path.stem}.png"), photo)
    middle = graph_info().model_copy(update={"threshold": threshold(1.7)})  # some of the photos are above it
    bundle = tiny_bundle(tmp_path / "bundle", {"fp32": middle}).root
    common = ("--backend", "onnxruntime", "--threads", "1")
    assert main(["evaluate", str(bundle), "--data", str(product), *common, "--json"]) == 0
    samples = json.loads(capsys.readouterr().out)["samples"]
    with FakeGigeCamera(photos=shown):
        address = "aravis://GV01?Width=320&Height=320&pixel_format=RGB8&fps=20"
        limits = ("--max-frames", "40", "--save-records", str(records), "--headless", "--no-frame-health")
        assert main(["stream", "--bundle", str(bundle), "--source", address, *common, *limits]) == 0
    judged = [json.loads(line) for line in records.read_text().splitlines()]
    expected = {(round(sample["score"], 4), sample["is_called_defective"]) for sample in samples}
    assert {is_called_defective for _, is_called_defective in expected} == {False, True}
    assert {(round(record["score"], 4), record["verdict"] == "NG") for record in judged} == expected


@pytest.mark.slow
def test_a_camera_that_is_unplugged_twenty_times_comes_back_with_its_settings(camera: FakeGigeCamera) -> None:
    with source_from_uri(f"aravis://GV01?{_SMALL}&pixel_format=BayerRG8", SourceOptions(fps=50)) as source:
        for _ in range(20):
            assert source.read() is not None
            camera.unplug()
            camera.plug_in()
            image = source.read()
            assert image is not None
            assert image.shape == (96, 128, 3)
            assert not (image[..., 0] == image[..., 1]).all()
        # The frames that were under way when it was unplugged may hide that it was.
        assert 15 <= source.gaps.count == source.gaps.reconnects <= 20


def test_cameras_of_two_makers_are_judged_in_one_stream(
    camera: FakeGigeCamera, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genicam = pytest.importorskip("genicam", reason="its virtual GenTL producer is the other maker's camera")
    producer = Path(genicam.__file__).parent
    records = tmp_path / "records.jsonl"
    bundle = tiny_bundle(tmp_path / "bundle").root
    sources = (
        *("--source", f"gige=aravis://GV01?{_SMALL}"),
        *("--source", f"other=genicam://1?producer={producer}&Width=128&Height=128&PixelFormat=Mono8"),
    )
    command = [sys.executable, "-m", "edge_ad", "stream", "--bundle", str(bundle), *sources, "--headless"]
    limits = ("--max-frames", "40", "--save-records", str(records), "--backend", "onnxruntime", "--no-frame-health")
    done = subprocess.run([*command, *limits], cwd=_ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in records.read_text().splitlines()]
    judged = [record for record in shown if record.get("verdict") in ("OK", "NG")]
    assert len(judged) == 40
    assert {record["source"] for record in judged} == {"gige", "other"}


def test_doctor_lists_the_camera_with_its_address(camera: FakeGigeCamera, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "aravis://GV01" in capsys.readouterr().out


def test_a_missing_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    load_aravis.cache_clear()
    monkeypatch.setattr("edge_ad.runtime.aravis._LIBRARY", "libno-such-aravis.so")
    with pytest.raises(MissingDependencyError, match=r"apt install libaravis-0\.8-0"):
        source_from_uri("aravis://0")
    load_aravis.cache_clear()
