"""``edge-ad stream`` with a bundle in a registry: pulled, kept for a start without the registry, and followed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import BundleError, DeviceError
from edge_ad.fleet import ArtifactReference, publish, read_origin, read_private_key, read_public_key
from edge_ad.fleet.follow import FollowOptions
from edge_ad.fleet.preparation import Preparation
from edge_ad.fleet.registry_bundles import RegistryBundles, cached_folder
from edge_ad.fleet.state import FollowState
from edge_ad.runtime.backend import get_backend
from tests.fleet.registry_double import RegistryDouble
from tests.fleet.test_signatures import make_pair
from tests.streaming.results import wait_until


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "cache"))
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "stream-follow"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        assert cv2.imwrite(str(folder / f"{number}.png"), np.full((24, 32, 3), 80 * number, np.uint8))
    return folder


@pytest.fixture
def stream(registry: RegistryDouble, photos: Path) -> Callable[..., int]:
    def run(*arguments: str, tag: str = "stable") -> int:
        common = ["--backend", "onnxruntime", "--threads", "1", "--headless", "--no-frame-health", "--json"]
        return main(["stream", "--bundle", address(registry, tag), "--source", str(photos), *common, *arguments])

    return run


def address(registry: RegistryDouble, tag: str = "stable") -> str:
    return f"oci://{registry.host}/line/screw:{tag}"


def reference(registry: RegistryDouble, tag: str = "stable") -> ArtifactReference:
    return ArtifactReference.parse(address(registry, tag))


def test_a_stream_pulls_its_bundle_and_goes_on_without_the_registry(
    registry: RegistryDouble, bundle: Bundle, stream: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = publish(bundle, reference(registry)).digest
    assert stream() == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 3
    assert any((cached_folder(reference(registry)) / "engines").iterdir())  # of this device
    registry.requests.clear()
    assert stream() == 0
    assert not any("/blobs/" in request for request in registry.requests)
    capsys.readouterr()
    registry.status = 503
    assert stream() == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["frames"] == 3
    assert f"The bundle that was pulled before is used: {digest}" in err


def test_a_registry_that_never_answers_is_one_that_is_away(registry: RegistryDouble, bundle: Bundle) -> None:
    publish(bundle, reference(registry))
    options, lines = FollowOptions(answer_s=0.05), list[str]()
    root = RegistryBundles(options).folder(address(registry))
    registry.is_silent = True
    assert RegistryBundles(options, log=lines.append).folder(address(registry)) == root
    assert f"waiting: The registry {registry.host} does not answer in time." in lines[0]
    with pytest.raises(DeviceError, match=r"does not answer in time\. No bundle of"):
        RegistryBundles(options).folder(address(registry, "other"))


def test_a_stream_waits_less_for_an_answer_than_who_pulls(
    registry: RegistryDouble, stream: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    timeouts = list[object]()

    def send(_adapter: object, _request: object, **settings: object) -> None:
        timeouts.append(settings["timeout"])
        raise requests.ConnectionError

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    assert stream() == 3
    assert main(["pull", reference(registry).words, str(tmp_path / "pulled")]) == 3
    assert timeouts == [(10.0, 10.0), (10.0, 60.0)]


@pytest.mark.parametrize(("status", "code"), [(503, 3), (0, 2)])
def test_a_first_start_without_a_bundle_is_one_clear_error(
    registry: RegistryDouble, stream: Callable[..., int], capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    registry.status = status
    assert stream() == code
    (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert f"No bundle of {registry.host}/line/screw:stable was pulled here before." in error
    assert ("answers 503" if status else "is not in the registry") in error


def test_a_wrong_signature_never_starts(
    registry: RegistryDouble,
    bundle: Bundle,
    stream: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (private, public), (foreign, _) = make_pair(tmp_path, "line"), make_pair(tmp_path, "foreign")
    publish(bundle, reference(registry), key=read_private_key(foreign))
    assert stream("--trust", str(public)) == 1
    assert "not signed by a key that is trusted" in capsys.readouterr().err
    assert stream() == 0  # pulled without asking
    registry.status = 503
    assert stream("--trust", str(public)) == 3
    assert "not known to be signed" in capsys.readouterr().err
    registry.status = 0
    assert stream("--trust", str(public)) == 1
    publish(bundle, reference(registry), key=read_private_key(private))
    assert stream("--trust", str(public)) == 0
    registry.status = 503
    assert stream("--trust", str(public)) == 0


def test_a_cached_bundle_that_was_damaged_is_pulled_again_or_refused(
    registry: RegistryDouble, bundle: Bundle, stream: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    publish(bundle, reference(registry))
    assert stream() == 0
    graph = cached_folder(reference(registry)) / "model.onnx"
    for status, code in ((503, 3), (0, 0)):
        graph.unlink()
        graph.write_bytes(b"x")
        registry.status = status
        assert stream() == code
    assert "What was pulled before is damaged." in capsys.readouterr().err
    assert graph.read_bytes() == (bundle.root / "model.onnx").read_bytes()


def test_a_cached_bundle_without_its_manifest_is_pulled_again(
    registry: RegistryDouble, bundle: Bundle, stream: Callable[..., int]
) -> None:
    publish(bundle, reference(registry))
    assert stream() == 0
    (cached_folder(reference(registry)) / "manifest.json").unlink()
    assert stream() == 0


def test_a_bundle_that_another_process_has_just_pulled_again_is_not_removed(
    registry: RegistryDouble, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bundle, reference(registry))
    root = RegistryBundles(FollowOptions()).folder(address(registry))
    (root / "manifest.json").rename(root / "lost")

    @contextmanager
    def after_the_other(folder: Path, **_settings: object) -> Iterator[None]:
        if (root / "lost").exists():
            (root / "lost").rename(root / "manifest.json")
        yield

    monkeypatch.setattr("edge_ad.fleet.registry_bundles.one_at_a_time", after_the_other)
    registry.status = 503
    assert RegistryBundles(FollowOptions()).folder(address(registry)) == root


@pytest.mark.parametrize("is_sidecar", [True, False])
def test_a_damaged_engine_in_the_cache_is_built_again_without_the_registry(
    registry: RegistryDouble,
    bundle: Bundle,
    stream: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    is_sidecar: bool,
) -> None:
    publish(bundle, reference(registry))
    assert stream() == 0
    (engine,) = (cached_folder(reference(registry)) / "engines").iterdir()
    damaged = next(path for path in engine.iterdir() if (path.name == "engine.json") == is_sidecar)
    damaged.write_bytes(bytes(damaged.stat().st_size))  # as after a power cut
    registry.status = 503
    capsys.readouterr()
    assert stream() == 0
    lines = capsys.readouterr().err.splitlines()
    (line,) = (line for line in lines if line.endswith("It is built again."))
    assert str(damaged) in line
    assert stream() == 0
    assert "built again" not in capsys.readouterr().err


@pytest.mark.parametrize("is_needed", [True, False])
def test_an_engine_of_an_earlier_version_is_built_again_where_nothing_else_runs(
    registry: RegistryDouble, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, is_needed: bool
) -> None:
    publish(bundle, reference(registry))
    preparation, lines = Preparation(backend="onnxruntime"), list[str]()
    root = RegistryBundles(FollowOptions(), preparation).folder(address(registry))
    (sidecar,) = root.glob("engines/*/engine.json")
    whole = json.loads(sidecar.read_bytes())
    sidecar.write_text(json.dumps({**whole, "backend_version": "0.1"}))  # as before an update of the device
    monkeypatch.setattr(type(get_backend("onnxruntime")), "runs_plans_only", is_needed)
    preparation = Preparation(backend="onnxruntime", log=lines.append)
    RegistryBundles(FollowOptions(), preparation).folder(address(registry))
    assert any(line.endswith("It is built again.") for line in lines) == is_needed
    assert (json.loads(sidecar.read_bytes())["backend_version"] == whole["backend_version"]) == is_needed


def test_a_damaged_engine_that_cannot_be_built_again_judges_nothing(
    registry: RegistryDouble, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bundle, reference(registry))
    preparation = Preparation(backend="onnxruntime")
    root = RegistryBundles(FollowOptions(), preparation).folder(address(registry))
    (engine,) = (root / "engines").iterdir()
    (engine / "engine.json").write_bytes(b"")
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(BundleError, match="No engine was built"):
        RegistryBundles(FollowOptions(), preparation).folder(address(registry))


def test_a_cache_that_cannot_be_written_is_one_clear_error(
    registry: RegistryDouble,
    bundle: Bundle,
    stream: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "file"))
    publish(bundle, reference(registry))
    assert stream() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_a_signature_that_is_asked_of_a_folder_is_no_empty_promise(
    bundle: Bundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["stream", "--bundle", str(bundle.root), "--source", str(photos), "--headless"]
    assert main([*command, "--trust", str(make_pair(tmp_path, "line")[1])]) == 2
    assert "--trust is about bundles in a registry" in capsys.readouterr().err


def test_references_have_folders_of_their_own() -> None:
    words = ["a.b:5/c/d:e", "a.b:5/c:d", "a.b/c/d:e", f"a.b/c/d@sha256:{'0' * 64}", f"a.b/c/d:sha256-{'0' * 64}"]
    assert len({cached_folder(ArtifactReference.parse(text)) for text in words}) == len(words)


def test_a_digest_is_asked_for_once(registry: RegistryDouble, bundle: Bundle) -> None:
    pinned = f"oci://{registry.host}/line/screw@{publish(bundle, reference(registry)).digest}"
    root = RegistryBundles(FollowOptions()).folder(pinned)
    registry.status = 503
    assert RegistryBundles(FollowOptions()).folder(pinned) == root


def test_the_tag_is_followed_while_the_stream_runs(registry: RegistryDouble, bundle: Bundle, tmp_path: Path) -> None:
    private, public = make_pair(tmp_path, "line")
    key, told = read_private_key(private), list[FollowState]()
    bundles = RegistryBundles(FollowOptions(trusted=[read_public_key(public)]))
    publish(bundle, reference(registry), key=key)
    root = bundles.folder(address(registry))
    with bundles.following(address(registry), told.append, every_s=0.02):
        second = publish(bundle.with_files({"notes.txt": b"second"}), reference(registry), key=key).digest
        wait_until(lambda: bool(told) and told[-1].digest == second)
        publish(bundle.with_files({"notes.txt": b"unsigned"}), reference(registry))
        wait_until(lambda: told[-1].step == "refused")
        with bundles.following(address(registry), told.append, every_s=0.02):  # another stream waits for its turn
            assert RegistryBundles(FollowOptions()).folder(address(registry)) == root
    origin = read_origin(root)
    assert origin is not None
    assert origin.digest == second


def test_beside_a_stream_that_asks_for_no_signature_starts_none_that_does(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    told, trusted = list[FollowState](), [read_public_key(make_pair(tmp_path, "line")[1])]
    publish(bundle, reference(registry))
    careless = RegistryBundles(FollowOptions())
    careless.folder(address(registry))
    with careless.following(address(registry), told.append, every_s=0.02):
        wait_until(lambda: bool(told))
        with pytest.raises(BundleError, match="Another process follows"):
            RegistryBundles(FollowOptions(trusted=trusted), patience_s=0.0).folder(address(registry))


def test_what_another_process_brings_without_a_signature_is_not_taken_over(
    registry: RegistryDouble, bundle: Bundle, photos: Path, tmp_path: Path
) -> None:
    private, public = make_pair(tmp_path, "line")
    publish(bundle, reference(registry), key=read_private_key(private))
    RegistryBundles(FollowOptions(trusted=[read_public_key(public)])).folder(address(registry))
    careless, told = RegistryBundles(FollowOptions()), list[FollowState]()
    command = [sys.executable, "-m", "edge_ad", "stream", "--bundle", address(registry), "--watch-bundle", "--json"]
    records = tmp_path / "records.jsonl"
    command += [
        "--save-records",
        str(records),
        "--trust",
        str(public),
        "--source",
        str(photos),
        "--loop",
        "--fps",
        "50",
        "--pace",
        "source",
    ]
    with careless.following(address(registry), told.append, every_s=0.02):
        wait_until(lambda: bool(told))
        with subprocess.Popen(
            [*command, "--headless", "--no-frame-health", "--backend", "onnxruntime"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as stream:  # fmt: skip
            assert stream.stderr is not None
            assert "its bundle is used" in stream.stderr.readline()
            wait_until(lambda: records.exists() and records.stat().st_size > 0, 60)
            publish(bundle.with_files({"notes.txt": b"unsigned"}), reference(registry))
            assert any("bundle refused" in line for line in stream.stderr)
            stream.send_signal(signal.SIGINT)
            summary, _ = stream.communicate()
    assert json.loads(summary)["swaps"] == 0


def test_a_running_stream_takes_over_what_its_tag_names(
    registry: RegistryDouble,
    bundle: Bundle,
    stream: Callable[..., int],
    tmp_path: Path,
) -> None:
    publish(bundle, reference(registry))
    records, is_running = tmp_path / "records.jsonl", threading.Event()

    def judged_by() -> set[str]:
        lines = records.read_text().splitlines(keepends=True) if records.exists() else []
        return {json.loads(line)["bundle"] for line in lines if line.endswith("\n")}

    def release() -> None:
        wait_until(lambda: len(judged_by()) == 1, 60)
        publish(bundle.with_files({"notes.txt": b"second"}), reference(registry))
        wait_until(lambda: len(judged_by()) == 2, 60)
        if is_running.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    releasing = threading.Thread(target=release)
    releasing.start()
    is_running.set()
    pace = ["--loop", "--fps", "50", "--pace", "source", "--max-seconds", "120"]
    code = stream("--watch-bundle", "--watch-every", "1", *pace, "--save-records", str(records))
    is_running.clear()
    releasing.join()
    assert code == 130
    assert len(judged_by()) == 2


def test_recipes_take_their_bundles_from_the_registry_at_the_start(
    registry: RegistryDouble, bundle: Bundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for tag in ("plate", "screw"):
        publish(bundle.with_files({"notes.txt": tag.encode()}), reference(registry, tag))
        (recipes / f"{tag}.yaml").write_text(f"bundle: {address(registry, tag)}\n")
    assert main(["recipe", "check", str(recipes)]) == 0
    command = ["stream", "--recipes", str(recipes), "--recipe", "plate", "--source", str(photos), "--headless"]
    assert main([*command, "--backend", "onnxruntime", "--no-frame-health"]) == 0
    assert all(cached_folder(reference(registry, tag)).is_dir() for tag in ("plate", "screw"))
    (recipes / "screw.yaml").write_text("bundle: oci://nowhere\n")
    assert main(["recipe", "check", str(recipes)]) == 2
    assert "no reference to a registry" in capsys.readouterr().out


def test_a_bundle_that_does_not_run_here_is_tried_again_at_the_next_start(
    registry: RegistryDouble, bundle: Bundle, stream: Callable[..., int]
) -> None:
    (wrong := bundle.reference()).scores[:] += 1
    publish(bundle.with_files({"reference.npz": wrong.to_bytes()}), reference(registry))
    for _ in range(2):
        registry.sent_blob_bytes = 0
        assert stream() == 1
        assert registry.sent_blob_bytes > 0
