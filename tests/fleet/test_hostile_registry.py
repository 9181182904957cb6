"""A registry that means harm: nothing is used, nothing is written elsewhere, and no login goes to others."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from edge_ad.bundle import Bundle
from edge_ad.errors import BundleError, DeviceError, EdgeAdError
from edge_ad.fleet import ArtifactReference, publish, pull
from edge_ad.fleet.registry_session import guard_session
from tests.fleet.registry_double import RegistryDouble, running_registry

TITLE = "org.opencontainers.image.title"


def reference(registry: RegistryDouble) -> ArtifactReference:
    return ArtifactReference.parse(f"{registry.host}/line/screw:stable")


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def forge(registry: RegistryDouble, change: Callable[[dict[str, Any]], None]) -> None:
    """Let the tag name a changed manifest, whose digest is right."""
    manifest = json.loads(registry.manifests["line/screw", "stable"])
    change(manifest)
    content = json.dumps(manifest).encode()
    registry.manifests["line/screw", "stable"] = registry.manifests["line/screw", digest_of(content)] = content


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_refused(registry: RegistryDouble, device: Path, error: type[EdgeAdError], match: str) -> None:
    """A pull fails, the bundle that was there is the same, and nothing is left beside it."""
    before = {name: (device / name).read_bytes() for name in files(device)}
    with pytest.raises(error, match=match):
        pull(reference(registry), device / "screw")
    assert {name: (device / name).read_bytes() for name in files(device)} == before


@pytest.fixture
def device(registry: RegistryDouble, bundle: Bundle, tmp_path: Path) -> Path:
    """A device with a good bundle, and a second one behind the tag."""
    publish(bundle, reference(registry))
    pull(reference(registry), tmp_path / "line" / "device" / "screw")
    publish(bundle.with_files({"notes.txt": b"second"}), reference(registry))
    return tmp_path / "line" / "device"


@pytest.mark.parametrize(
    "title",
    ["../outside", "a/../../outside", "/etc/outside", "..", "a\\..\\outside", "C:outside", "", "a//b", "./a", "a\nb"],
)
def test_a_title_that_is_no_plain_path_is_refused(registry: RegistryDouble, device: Path, title: str) -> None:
    forge(registry, lambda manifest: manifest["layers"][-1]["annotations"].update({TITLE: title}))
    assert_refused(registry, device, BundleError, "not a plain path")
    assert not any(path.name == "outside" for path in device.parent.rglob("*"))


@pytest.mark.parametrize("title", ["engines/openvino-fp32-x/model.blob", "origin.json", "audit.jsonl"])
def test_a_file_that_the_bundle_does_not_list_is_refused(registry: RegistryDouble, device: Path, title: str) -> None:
    layer = json.loads(registry.manifests["line/screw", "stable"])["layers"][-1]
    forge(registry, lambda manifest: manifest["layers"].append({**layer, "annotations": {TITLE: title}}))
    assert_refused(registry, device, BundleError, "does not list")


def test_a_file_that_is_named_twice_is_refused(registry: RegistryDouble, device: Path) -> None:
    forge(registry, lambda manifest: manifest["layers"].append(manifest["layers"][-1]))
    assert_refused(registry, device, BundleError, "twice")


@pytest.mark.parametrize("size", [-1, 1 << 40, "many"])
def test_an_impossible_size_is_refused(registry: RegistryDouble, device: Path, size: object) -> None:
    forge(registry, lambda manifest: manifest["layers"][-1].update(size=size))
    assert_refused(registry, device, BundleError, "fields are wrong")


def test_a_blob_that_is_longer_than_announced_is_refused(registry: RegistryDouble, device: Path) -> None:
    registry.given[digest_of(b"second")] = b"second" + bytes(5 << 20)
    assert_refused(registry, device, BundleError, "more than the 6 bytes")


def test_a_manifest_of_another_digest_is_refused(registry: RegistryDouble, device: Path) -> None:
    digest = digest_of(registry.manifests["line/screw", "stable"])
    other = json.loads(registry.manifests["line/screw", digest])
    registry.manifests["line/screw", digest] = json.dumps({**other, "annotations": {}}).encode()
    assert_refused(registry, device, BundleError, "another manifest")


def test_an_answer_without_end_is_refused(registry: RegistryDouble, device: Path) -> None:
    registry.is_endless = True
    assert_refused(registry, device, BundleError, "without end")


def test_a_blob_elsewhere_is_taken_by_its_digest_and_the_login_stays_here(
    registry: RegistryDouble, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AD_REGISTRY_USER", "line")
    monkeypatch.setenv("EDGE_AD_REGISTRY_PASSWORD", "secret")
    registry.login, digest = "line:secret", digest_of(b"second")
    with running_registry() as storage:
        registry.redirects[digest] = f"http://{storage.host}/v2/line/screw/blobs/{digest}"
        storage.blobs[digest] = b"sECOND"
        assert_refused(registry, device, BundleError, "another content")
        storage.blobs[digest] = b"second"
        pull(reference(registry), device / "screw")
        assert storage.logins == []
    assert f"Basic {base64.b64encode(b'line:secret').decode()}" in registry.logins
    assert (device / "screw" / "notes.txt").read_bytes() == b"second"


@pytest.mark.parametrize("where", ["file:///etc/passwd", "/v2/line/screw/blobs/DIGEST"])
def test_a_redirect_to_a_file_or_in_a_circle_is_refused(registry: RegistryDouble, device: Path, where: str) -> None:
    digest = digest_of(b"second")
    registry.redirects[digest] = where.replace("DIGEST", digest)
    registry.requests.clear()
    assert_refused(registry, device, DeviceError, "does not answer|to none of HTTP")
    assert len(registry.requests) < 12


def test_with_tls_no_request_goes_to_an_address_without_it(registry: RegistryDouble) -> None:
    with requests.Session() as session:
        guard_session(session, "registry.plant", is_plain=False)
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get(f"http://{registry.host}/token")
    assert registry.requests == []


@pytest.mark.parametrize(
    ("method", "path", "longest_s"),
    [
        ("GET", "/v2/", 2.0),
        ("GET", "/token?service=plant", 2.0),
        ("HEAD", "/v2/line/screw/manifests/stable", 2.0),
        ("HEAD", "/v2/line/screw/blobs/sha256:0", 2.0),
        ("GET", "/v2/line/screw/blobs/sha256:0", 60.0),
        ("PUT", "/v2/line/screw/blobs/uploads/1", 60.0),
    ],
)
def test_questions_are_answered_soon_and_files_may_take_their_time(method: str, path: str, longest_s: float) -> None:
    timeouts = list[object]()

    class Adapter(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *_: object, **settings: Any) -> requests.Response:
            timeouts.append(settings["timeout"])
            raise requests.ConnectionError

    with requests.Session() as session:
        guard_session(session, "registry.plant", is_plain=False, answer_s=2.0)
        session.mount("https://", Adapter())
        with pytest.raises(requests.ConnectionError):
            session.request(method, f"https://registry.plant{path}")
    assert timeouts == [(2.0, longest_s)]
