"""What is secret in the address of a camera, broker or server is in no output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.mjpeg_camera import MjpegCamera
from edge_ad.cli import main
from edge_ad.errors import UsageError
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event
from edge_ad.streaming.mqtt import Broker
from edge_ad.streaming.records import RecordStore, VerdictRow
from edge_ad.streaming.sinks.webhook import Endpoint
from edge_ad.streaming.sources import source_from_uri
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.triggers import trigger_from_text
from tests.runtime.tiny_bundle import tiny_bundle

_SECRET = "hunter2x"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("work") / "plate").root


def _stream(bundle: Path, *arguments: object) -> int:
    common = ("--bundle", bundle, "--backend", "onnxruntime", "--threads", "1", "--headless", "--no-frame-health")
    return main(["stream", *map(str, (*common, *arguments))])


@pytest.mark.parametrize(
    "tail", [f"?user=admin&pwd={_SECRET}", f"/user=admin_password={_SECRET}_channel=1", f"#{_SECRET}"]
)
def test_nothing_that_a_stream_writes_holds_the_secret_of_its_camera(
    tail: str, bundle: Path, mjpeg_camera: MjpegCamera, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = mjpeg_camera.url.replace("://", f"://admin:{_SECRET}@") + tail
    records = ("--save-records", tmp_path / "r.csv", "--records", tmp_path / "r.sqlite", "--save-ng", tmp_path / "ng")
    hook = (
        "--hook",
        "true",
        "--mqtt",
        f"mqtt://u:{_SECRET}@127.0.0.1:1/x",
        "--webhook",
        f"http://127.0.0.1:1/{_SECRET}",
    )
    options = ("--threshold", "-1e9", "--max-frames", "4", "--part", "1/2", "--json")
    assert _stream(bundle, "--source", url, *records, *hook, *options) == 0
    output = capfd.readouterr()
    source = json.loads(output.out)["source"]
    assert source.startswith(f"http://127.0.0.1:{mjpeg_camera.port}/video")
    assert main(["records", "list", str(tmp_path / "r.sqlite"), "--source", url, "--json"]) == 0
    listed = capfd.readouterr()
    assert len(json.loads(listed.out)) == 4
    files = [path for path in tmp_path.rglob("*") if path.is_file() and bundle not in path.parents]
    assert len(files) >= 6
    for text in (output.out, output.err, listed.out, listed.err, *map(str, files)):
        assert _SECRET not in text
    for path in files:
        assert _SECRET.encode() not in path.read_bytes(), path


def test_two_cameras_that_only_their_secrets_tell_apart_have_records_of_their_own(
    bundle: Path, mjpeg_camera: MjpegCamera, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = [f"{mjpeg_camera.url}?token={_SECRET}-{number}" for number in range(3)]
    database = tmp_path / "r.sqlite"
    sources = [word for url in urls for word in ("--source", url)]
    assert _stream(bundle, *sources, "--records", database, "--max-seconds", "1") == 0
    name = f"{mjpeg_camera.url}?***"
    capfd.readouterr()
    for source in (name, f"{name} #2", f"{name} #3"):
        assert main(["records", "list", str(database), "--source", source, "--json"]) == 0
        records = json.loads(capfd.readouterr().out)
        assert {record["source"] for record in records} == {source}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--source", f"rtsp://admin:{_SECRET}@127.0.0.1:1/live?token={_SECRET}"),
        ("--source", f"http://127.0.0.1:1/user=admin_password={_SECRET}_channel=1"),
        ("--source", f"http://127.0.0.1:1/line.mp4?pwd={_SECRET}"),
        ("--source", f"rtsp://admin:/{_SECRET}@127.0.0.1:1/live"),
        ("--source", f"http://admin:#{_SECRET}@127.0.0.1:1/live"),
        ("--source", f"http://[{_SECRET}@127.0.0.1:1/live"),
        ("--source", f"ftp://admin:{_SECRET}@127.0.0.1/live"),
        ("--source", f"admin:{_SECRET}@127.0.0.1/live"),
        ("--source", f"v4l2://admin:{_SECRET}@127.0.0.1/live"),
        ("--camera", f"csi://admin:{_SECRET}@127.0.0.1/live"),
        ("--trigger", f"mqtt://admin:{_SECRET}@127.0.0.1:port/x"),
        ("--trigger", f"http:127.0.0.1:x?token={_SECRET}"),
        ("--trigger", f"mqtts:admin:{_SECRET}@127.0.0.1"),
        ("--webhook", f"ftp://admin:{_SECRET}@127.0.0.1/x"),
        ("--mqtt", f"mqtt://admin:{_SECRET}/@127.0.0.1/x"),
        (f"rtsp://admin:{_SECRET}@127.0.0.1/live",),
    ],
)
def test_no_message_about_a_wrong_address_holds_its_secret(
    arguments: tuple[str, ...], bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AD_DEBUG", "1")
    source = () if arguments[0] in ("--source", "--camera") else ("--source", "missing.mp4")
    assert _stream(bundle, *source, *arguments) in (2, 3)
    output = capfd.readouterr()
    assert "error: " in output.err
    assert _SECRET not in output.out + output.err


def test_a_traceback_shows_no_secret(
    bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Source) -> None:
        raise RuntimeError(f"cannot open rtsp://u:{_SECRET}@h/x: login {_SECRET} refused")

    monkeypatch.setenv("EDGE_AD_DEBUG", "1")
    monkeypatch.setattr("edge_ad.streaming.sources.reconnecting.ReconnectingSource.open", fail)
    assert _stream(bundle, "--source", f"rtsp://u:{_SECRET}@h/x") == 1
    error = capfd.readouterr().err
    assert "RuntimeError" in error
    assert _SECRET not in error


def test_an_event_of_somebody_who_quotes_an_address_is_told_without_its_secret() -> None:
    control = StreamControl()
    control.emit(Event("alarm", 0.0, text=f"rtsp://u:{_SECRET}@h/live?pwd={_SECRET} is gone."))
    assert [event.text for event in control.take_events()] == ["rtsp://h/live?*** is gone."]


def test_a_video_behind_http_is_shown_without_its_secret() -> None:
    assert source_from_uri(f"http://u:{_SECRET}@h/line.mp4?sig={_SECRET}").name == "http://h/line.mp4?***"


@pytest.mark.parametrize("url", ["u:12/34@host/x", "u:p@12/34@host/x", "tok/en34@host/x"])
def test_a_login_that_leaves_open_where_the_host_begins_is_refused(url: str) -> None:
    for take, scheme in ((Broker.parse, "mqtt"), (Endpoint.parse, "http")):
        with pytest.raises(UsageError, match=r"two ways|no mqtt") as refused:
            take(f"{scheme}://{url}")
        assert "34" not in str(refused.value)


@pytest.mark.parametrize("text", ["motion:1,2", "every:0", "sometimes"])
def test_a_trigger_without_an_address_is_shown_as_it_is(text: str) -> None:
    with pytest.raises(UsageError, match=text):
        trigger_from_text(text)


def test_secrets_that_an_older_stream_recorded_are_not_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, name = tmp_path / "old.sqlite", f"rtsp://host/live?user=admin&pwd={_SECRET}"
    store = RecordStore(path, source=name)
    store.commit(
        [VerdictRow(name, "b", 0, 1.0, 0.5, 1.0, False, 1.0, 1.0), Event("source lost", 1.0, name, f"{name} is gone.")]
    )
    store.close()
    for arguments in (("list",), ("list", "--json"), ("list", "--events"), ("list", "--source", name)):
        assert main(["records", arguments[0], str(path), *arguments[1:]]) == 0
    assert main(["records", "export", str(path), "--out", str(tmp_path / "out.csv")]) == 0
    output = capfd.readouterr()
    assert _SECRET not in output.out + output.err + (tmp_path / "out.csv").read_text()
    assert output.out.count("rtsp://host/live?***") >= 4
