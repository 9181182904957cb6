"""Names of sources: given by the user, or made of the address without its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.cli.stream_setup import open_sources
from edge_ad.errors import UsageError
from edge_ad.streaming.sources import SourceOptions


def _names(*uris: str, cameras: tuple[str, ...] = ()) -> list[str]:
    return [source.name for source in open_sources(cameras, uris, SourceOptions())]


def test_a_name_stands_for_the_address() -> None:
    uris = ("front=rtsp://u:secret@host/live?pwd=x", "back.2=http://host/video", "file-1=line.mp4", "parts=/data/parts")
    assert _names(*uris, cameras=("top=0", "side=v4l2://1")) == ["top", "side", "front", "back.2", "file-1", "parts"]


@pytest.mark.parametrize(
    "uri", ["file.png?x=y", "a/b=c.mp4", "rtsp://h/live?channel=1", "v4l2://0?width=640", "=x.mp4"]
)
def test_a_path_or_query_with_an_equals_sign_is_no_name(uri: str) -> None:
    assert _names(uri)[0] in (uri, "camera 0")


def test_a_path_that_is_there_is_a_path_though_it_looks_like_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lot=7").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _names("lot=7") == ["lot=7"]
    assert _names("lot=8") == ["lot"]


@pytest.mark.parametrize(
    "uris",
    [
        ("front=rtsp://a/live", "front=rtsp://b/live"),
        ("line.mp4=rtsp://a/live", "line.mp4"),
        ("front cam=rtsp://u:secret@a/live",),
        ("-x=rtsp://u:secret@a/live",),
        ("f" * 41 + "=rtsp://u:secret@a/live",),
        ("front=",),
        ("rtsp://u:secret@a/live", "rtsp://u:secret@a/live"),
        ("line.mp4", "line.mp4"),
    ],
)
def test_names_that_are_wrong_or_given_twice_are_refused_without_a_secret(uris: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        _names(*uris)
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def test_cameras_that_look_the_same_without_their_secrets_get_numbers() -> None:
    uris = [f"rtsp://nvr/live?token=camera-{number}" for number in "abc"]
    assert _names(*uris) == ["rtsp://nvr/live?***", "rtsp://nvr/live?*** #2", "rtsp://nvr/live?*** #3"]
    assert _names("http://u:a@h/v", "http://u:b@h/v") == ["http://h/v", "http://h/v #2"]


@pytest.mark.parametrize(
    "text",
    [
        "admin:secret@10.0.0.5/a",
        "rtsp//admin:secret@h/a",
        r"rtsp:\\admin:secret@h/a",
        "a=admin:secret@h/a",
        "rtsp:/admin:secret@h/live",
        "rtsp:admin:secret@h/live",
    ],
)
def test_an_address_without_its_kind_is_no_missing_file(text: str) -> None:
    with pytest.raises(UsageError, match="without its kind") as refused:
        _names(text)
    assert "secret" not in str(refused.value)
