"""Bundles through a registry: what comes out is what went in, or nothing."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import BundleError, DeviceError, EdgeAdError, StorageError, UsageError
from edge_ad.fleet import ArtifactReference, publish, pull
from edge_ad.fleet.artifact import BUNDLE_TYPE
from tests.fleet.registry_double import RegistryDouble

ROOT = Path(__file__).parents[2]


def reference(host: str, name: str = "stable") -> ArtifactReference:
    return ArtifactReference.parse(f"{host}/line/screw:{name}")


def content(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def of_product(bundle: Bundle, name: str) -> Bundle:
    """The same detector, as if it were of another product."""
    other = bundle.root.with_name(name)
    shutil.copytree(bundle.root, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "product": name}))
    return Bundle.open(other)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_pulled_bundle_is_the_published_one_without_its_engines(host: str, bundle: Bundle, tmp_path: Path) -> None:
    engine = bundle.root / "engines" / "openvino-fp32-x" / "plan"
    engine.parent.mkdir(parents=True)
    engine.write_bytes(b"of another machine")
    published = publish(bundle, reference(host))
    pulled = pull(reference(host), tmp_path / "device" / "screw")
    expected = {name: data for name, data in content(bundle.root).items() if not name.startswith("engines/")}
    got = content(pulled.root)
    assert got.pop("origin.json")
    assert got == expected
    assert pulled.origin.digest == published.digest
    assert Bundle.open(pulled.root).manifest == bundle.manifest
    assert pulled.received_bytes == sum(len(data) for data in expected.values())


def test_a_digest_pins_what_a_tag_named(host: str, bundle: Bundle, tmp_path: Path) -> None:
    first = publish(bundle, reference(host))
    changed = bundle.with_files({"notes.txt": b"second"})
    second = publish(changed, reference(host))
    assert second.digest != first.digest
    assert second.sent_bytes < first.sent_bytes  # the graph is there
    pinned = ArtifactReference.parse(f"{host}/line/screw@{first.digest}")
    assert "notes.txt" not in content(pull(pinned, tmp_path / "old").root)
    assert "notes.txt" in content(pull(reference(host), tmp_path / "new").root)


def test_the_same_bundle_has_the_same_digest_and_is_sent_once(host: str, bundle: Bundle) -> None:
    first, second = publish(bundle, reference(host, "a")), publish(bundle, reference(host, "b"))
    assert first.digest == second.digest
    assert second.sent_bytes == 0


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_bundle_of_another_product_does_not_take_the_place_of_one_unless_asked_to(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path, is_damaged: bool
) -> None:
    target = tmp_path / "screw"
    publish(bundle, reference(registry.host))
    graph = next(pull(reference(registry.host), target).root.glob("*.onnx"))
    if is_damaged:
        graph.write_bytes(graph.read_bytes()[:100])
    before = content(target)
    publish(of_product(bundle, "nut"), reference(registry.host))
    registry.sent_blob_bytes = 0
    with pytest.raises(BundleError, match="'nut'"):
        pull(reference(registry.host), target)
    assert content(target) == before
    assert registry.sent_blob_bytes == 0
    assert Bundle.open(pull(reference(registry.host), target, any_product=True).root).manifest.product == "nut"


def test_a_bundle_that_is_there_is_left_with_its_engines_and_unchanged_files_are_not_downloaded(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    target = tmp_path / "screw"
    publish(bundle, reference(registry.host))
    pull(reference(registry.host), target)
    (target / "engines").mkdir()
    assert pull(reference(registry.host), target).was_current
    assert (target / "engines").is_dir()
    publish(bundle.with_files({"notes.txt": b"second"}), reference(registry.host))
    registry.sent_blob_bytes = 0
    again = pull(reference(registry.host), target)
    sizes = {name: len(data) for name, data in content(target).items()}
    assert again.received_bytes == registry.sent_blob_bytes == sizes["notes.txt"] + sizes["manifest.json"]


def test_a_damaged_file_of_a_present_bundle_is_pulled_again(host: str, bundle: Bundle, tmp_path: Path) -> None:
    publish(bundle, reference(host))
    target = tmp_path / "screw"
    pull(reference(host), target)
    graph = target / "model.onnx"
    graph.unlink()
    graph.write_bytes(b"x" * (bundle.root / "model.onnx").stat().st_size)
    pull(reference(host), target)
    assert graph.read_bytes() == (bundle.root / "model.onnx").read_bytes()


def test_the_artifact_says_what_it_is(registry: RegistryDouble, bundle: Bundle) -> None:
    published = publish(bundle, reference(registry.host))
    manifest = json.loads(registry.manifests["line/screw", published.digest])
    assert manifest["artifactType"] == BUNDLE_TYPE
    assert manifest["annotations"]["edge-ad.product"] == bundle.manifest.product
    assert manifest["annotations"]["edge-ad.graph.fp32"] == f"sha256:{bundle.graph_sha256('fp32')}"
    tag_set = registry.requests.index("PUT /v2/line/screw/manifests/stable")
    assert tag_set == len(registry.requests) - 1  # last


@pytest.mark.parametrize("fault", ["other content", "cut", "missing blob", "500", "unknown tag"])
def test_whatever_goes_wrong_the_old_bundle_stays(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path, fault: str
) -> None:
    device = tmp_path / "device"
    device.mkdir()
    publish(bundle, reference(registry.host))
    pull(reference(registry.host), device / "screw")
    before = content(device / "screw")
    publish(bundle.with_files({"notes.txt": b"second"}), reference(registry.host))
    digest = f"sha256:{Bundle.open(bundle.root).manifest.files['notes.txt']}"
    expected: type[EdgeAdError] = BundleError
    name = "stable"
    match fault:
        case "other content":
            registry.given[digest] = b"sECOND"
        case "cut":
            registry.is_cut, expected = True, DeviceError
        case "missing blob":
            del registry.blobs[digest]
        case "500":
            registry.status, expected = 500, DeviceError
        case _:
            name, expected = "canary", UsageError
    with pytest.raises(expected):
        pull(reference(registry.host, name), device / "screw")
    assert content(device / "screw") == before
    assert leftovers(device) == []


def test_a_full_disk_leaves_the_old_bundle(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bundle, reference(registry.host))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(free=10))
    with pytest.raises(StorageError, match="too little space"):
        pull(reference(registry.host), tmp_path / "screw")
    assert not (tmp_path / "screw").exists()


def test_a_registry_that_is_away_is_one_line_and_exit_code_3(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["publish", str(bundle.root), "127.0.0.1:1/a:b"], ["pull", "127.0.0.1:1/a:b", str(tmp_path / "x")]):
        assert main(command) == 3
        lines = capsys.readouterr().err.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["error", "hint"]
        assert "127.0.0.1:1 does not answer" in lines[0]


def test_a_login_is_asked_for_refused_and_taken(
    registry: RegistryDouble, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.login = "line:secret"
    with pytest.raises(DeviceError, match="asks for a login"):
        publish(bundle, reference(registry.host))
    monkeypatch.setenv("EDGE_AD_REGISTRY_USER", "line")
    monkeypatch.setenv("EDGE_AD_REGISTRY_PASSWORD", "wrong")
    with pytest.raises(DeviceError, match="refuses the login") as failure:
        publish(bundle, reference(registry.host))
    assert "wrong" not in str(failure.value)
    monkeypatch.setenv("EDGE_AD_REGISTRY_PASSWORD", "secret")
    assert publish(bundle, reference(registry.host)).files == len(bundle.manifest.files) + 1


def test_a_login_is_exchanged_for_tokens_of_each_scope(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.login, registry.has_tokens = "line:secret", True
    monkeypatch.setenv("EDGE_AD_REGISTRY_USER", "line")
    monkeypatch.setenv("EDGE_AD_REGISTRY_PASSWORD", "secret")
    digest = publish(bundle, reference(registry.host)).digest
    assert pull(reference(registry.host), tmp_path / "screw").origin.digest == digest
    monkeypatch.setenv("EDGE_AD_REGISTRY_PASSWORD", "wrong")
    with pytest.raises(DeviceError, match="login"):
        pull(reference(registry.host), tmp_path / "other")


def test_a_file_name_that_leads_out_of_the_bundle_is_refused(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    published = publish(bundle, reference(registry.host))
    manifest = json.loads(registry.manifests["line/screw", published.digest])
    manifest["layers"][1]["annotations"]["org.opencontainers.image.title"] = "../outside"
    registry.manifests["line/screw", "evil"] = json.dumps(manifest).encode()
    registry.manifests["line/screw", _digest(registry.manifests["line/screw", "evil"])] = registry.manifests[
        "line/screw", "evil"
    ]
    with pytest.raises(BundleError, match="not a plain path"):
        pull(reference(registry.host, "evil"), tmp_path / "screw")
    assert not (tmp_path / "screw").exists()


@pytest.mark.parametrize(
    "text", ["screw:stable", "host/screw:stable", "host:5000/screw", "host:5000/UP:x", "h:1/a@x:1"]
)
def test_a_reference_without_registry_or_tag_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no reference to a registry"):
        ArtifactReference.parse(text)


def test_a_killed_pull_leaves_the_old_bundle_or_the_new_one(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    target = tmp_path / "screw"
    old = publish(bundle, reference(registry.host)).digest
    pull(reference(registry.host), target)
    new = publish(bundle.with_files({"notes.txt": b"second"}), reference(registry.host)).digest
    found = set()
    for step in ("mkdir", "fsync", "renameat2", "rmtree"):
        command = [sys.executable, "-c", _KILLED_AT, step, reference(registry.host).words, str(target)]
        assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
        Bundle.open(target)
        found.add(json.loads((target / "origin.json").read_text())["digest"])
    assert found == {old, new}


_KILLED_AT = """
import ctypes, os, pathlib, shutil, signal, sys
from edge_ad.fleet import ArtifactReference, pull
step, words, target = sys.argv[1:]
kill = lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL)
if step == "mkdir":
    pathlib.Path.mkdir = kill
elif step == "fsync":
    os.fsync = kill
elif step == "rmtree":
    shutil.rmtree = kill
else:
    class Library:
        renameat2 = kill
    ctypes.CDLL = lambda *_a, **_k: Library
pull(ArtifactReference.parse(words), pathlib.Path(target))
"""


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
