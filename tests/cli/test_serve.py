"""``edge-ad serve`` and its HTTP interface, on a real bundle behind a real socket."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_ad.detector import load
from edge_ad.listen_address import parse_address
from edge_ad.server import HttpServer, Limits, PredictionServer
from edge_ad.server.predictions import Judge
from edge_ad.verdict_report import judge_contents
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle


def _png(seed: int) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


@contextmanager
def _served(judge: Judge, *, most_images: int = 8, held_bytes: int = 1 << 20) -> Iterator[str]:
    server = HttpServer(limits=Limits(idle_s=60, stall_s=60, body_s=60, body_bytes=1 << 16, held_bytes=held_bytes))
    part = PredictionServer(server, parse_address("127.0.0.1:0"), judge, {"product": "test"}, most_images)
    server.open()
    try:
        yield part.where().url
    finally:
        server.close()


def _post(url: str, content: bytes, name: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{url}predict?id={name}", content, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body) if body.startswith(b"{") else {"text": body.decode()}


def _status(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "plate").root


def test_photos_are_judged_as_predict_judges_them(bundle: Path, tmp_path: Path) -> None:
    with load(bundle, backend="onnxruntime", threads=1) as detector:
        with _served(lambda photos: [each.to_dict() for each in judge_contents(detector, photos)]) as url:
            with ThreadPoolExecutor(6) as clients:
                answers = list(clients.map(lambda seed: _post(url, _png(seed), f"part-{seed}"), range(12)))
            damaged = _post(url, _png(0)[:60], "cut")
            health = json.loads(urllib.request.urlopen(f"{url}health", timeout=60).read())
        for seed, (status, document) in enumerate(answers):
            (tmp_path / "a.png").write_bytes(_png(seed))
            expected = detector.predict(tmp_path / "a.png")
            assert (status, document["path"]) == (200, f"part-{seed}")
            assert document["verdict"] == ("NG" if expected.is_defective else "OK")
            assert document["score"] == pytest.approx(expected.score, rel=1e-5)
    assert damaged[0] == 422
    assert (damaged[1]["verdict"], damaged[1]["score"]) == ("unjudged", None)
    assert health == {"product": "test"}


def test_an_id_comes_back_as_it_was_given_and_what_is_not_known_is_refused() -> None:
    names = list[str]()

    def judge(photos: Sequence[tuple[str, bytes]]) -> list[Mapping[str, Any]]:
        names.extend(name for name, _ in photos)
        return [{"path": str(Path(name)), "verdict": "OK", "reason": ""} for name, _ in photos]

    with _served(judge) as url:
        for name in ("belt//7/", "."):
            assert _post(url, b"1", name) == (200, {"path": name, "verdict": "OK", "reason": ""})
        assert _post(url, b"1", "")[1]["path"] == ""
        for query in ("a&id=b", "a&threshold=9"):
            status, said = _post(url, b"1", query)
            assert (status, said["text"]) == (400, "Only ?id=NAME is known here, once.\n")
    assert names == ["belt//7/", ".", "the photo"]


def _slow_judge(started: threading.Event, released: threading.Event, groups: list[int]) -> Judge:
    def judge(photos: Sequence[tuple[str, bytes]]) -> list[Mapping[str, Any]]:
        groups.append(len(photos))
        started.set()
        assert released.wait(60)
        return [{"verdict": "OK", "reason": ""} for _ in photos]

    return judge


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.01)


def test_photos_that_wait_are_judged_together_and_too_many_are_refused() -> None:
    started, released, groups = threading.Event(), threading.Event(), list[int]()
    with (
        _served(_slow_judge(started, released, groups), most_images=8) as url,
        ThreadPoolExecutor(70) as clients,
    ):
        first = clients.submit(_post, url, b"1", "first")
        assert started.wait(60)
        waiting = [clients.submit(_post, url, b"1", str(number)) for number in range(66)]
        _until(lambda: sum(each.done() for each in waiting) == 2)
        released.set()
        statuses = sorted(each.result()[0] for each in (first, *waiting))
    assert statuses == [200] * 65 + [503] * 2
    assert groups == [1] + [8] * 8


def test_photos_that_would_take_too_much_memory_are_refused_and_later_taken() -> None:
    started, released, groups = threading.Event(), threading.Event(), list[int]()
    with (
        _served(_slow_judge(started, released, groups), held_bytes=1500) as url,
        ThreadPoolExecutor(1) as clients,
    ):
        first = clients.submit(_post, url, b"1" * 1000, "first")
        assert started.wait(60)
        assert _post(url, b"1" * 1000, "second")[0] == 503
        released.set()
        assert first.result()[0] == 200
        assert _post(url, b"1" * 1000, "second")[0] == 200


def test_the_command_serves_until_it_is_ended(bundle: Path) -> None:
    command = [sys.executable, "-m", "edge_ad", "serve", str(bundle), "--listen", "127.0.0.1:0"]
    command += ["--web-host", "line.example"]
    with subprocess.Popen([*command, "--backend", "onnxruntime"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("Judging photos at "))
        url = line.split()[3].removesuffix("predict")
        assert _post(url, _png(1), "part")[1]["verdict"] in ("OK", "NG")
        for host, status in (("line.example", 200), ("evil.example", 421)):
            assert _status(urllib.request.Request(f"{url}health", headers={"Host": host})) == status
        process.terminate()
        process.stderr.read()
    assert process.returncode == 143


def test_a_form_is_no_photo(bundle: Path) -> None:
    with (
        load(bundle, backend="onnxruntime", threads=1) as detector,
        _served(lambda photos: [each.to_dict() for each in judge_contents(detector, photos)]) as url,
    ):
        head = {"Content-Type": "multipart/form-data; boundary=x"}
        assert _status(urllib.request.Request(f"{url}predict", _png(0), head)) == 415
        assert _status(urllib.request.Request(f"{url}predict", _png(0))) == 200
