"""Cameras that are asked for each picture."""

from __future__ import annotations

import base64

import pytest

from edge_ad.errors import DeviceError, UsageError
from edge_ad.streaming.sources import SourceOptions, source_from_uri
from edge_ad.streaming.sources.http_stream import SnapshotSource
from tests.streaming.sources.scripted_server import jpeg, serving


def _answer(content: bytes, *, announced: int | None = None) -> list[bytes]:
    length = len(content) if announced is None else announced
    return [b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % length + content]


def _brightness(source: SnapshotSource, count: int) -> list[int | None]:
    images = [source.read() for _ in range(count)]
    return [None if image is None else 10 * round(float(image.mean()) / 10) for image in images]


def test_each_picture_is_a_request_of_its_own() -> None:
    answers = [_answer(jpeg(brightness)) for brightness in (40, 90, 140)]
    requests: list[bytes] = []
    with serving(*answers, requests=requests) as url, SnapshotSource(url, fps=100) as source:
        assert _brightness(source, 3) == [40, 90, 140]
    assert len(requests) == 3


def test_damaged_and_repeated_pictures_are_counted_and_not_given() -> None:
    whole, cut = jpeg(40), jpeg(90)[:-200]
    answers = [
        _answer(whole),
        _answer(whole),
        _answer(cut),
        _answer(cut, announced=len(jpeg(90))),
        _answer(b""),
        _answer(jpeg(140)),
    ]
    with serving(*answers) as url, SnapshotSource(url, fps=100) as source:
        assert _brightness(source, 2) == [40, 140]
        assert (source.corrupt, source.duplicates) == (3, 1)


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 Oops", b"503 Busy"])
def test_an_answer_that_refuses_is_an_outage(status: bytes) -> None:
    answers = [_answer(jpeg(40)), [b"HTTP/1.0 " + status + b"\r\n\r\n"], _answer(jpeg(90))]
    with serving(*answers) as url, SnapshotSource(url, fps=100) as source:
        assert _brightness(source, 3) == [40, None, 90]


def test_a_camera_that_is_off_at_the_start_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="does not answer"):
        SnapshotSource("http://127.0.0.1:9/a.jpg").open()


def test_the_login_is_sent_when_asked_for_and_shown_nowhere() -> None:
    refusal = [b'HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm="camera"\r\nContent-Length: 0\r\n\r\n']
    requests: list[bytes] = []
    with serving(refusal, _answer(jpeg(40)), requests=requests) as url:
        address = url.replace("http://", "snapshot+http://admin:geheim@")
        with source_from_uri(address) as source:
            assert source.read() is not None
    assert base64.b64encode(b"admin:geheim") in requests[1]
    assert "geheim" not in source.name
    assert source.name.startswith("snapshot+http://")


def test_the_rate_can_be_set_and_nothing_else_of_a_camera() -> None:
    assert source_from_uri("snapshot+http://host/a.jpg").fps == 5
    assert source_from_uri("snapshot+https://host/a.jpg", SourceOptions(fps=2)).fps == 2
    with pytest.raises(UsageError, match="gain has no effect"):
        source_from_uri("snapshot+http://host/a.jpg", SourceOptions(gain=2))
