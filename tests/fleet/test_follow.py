"""A device that follows a tag: it uses the new bundle, or keeps the old one, wherever it is interrupted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import BundleError, UsageError
from edge_ad.fleet import ArtifactReference, publish, read_origin, read_private_key, read_public_key
from edge_ad.fleet.follow import Follower, FollowOptions, Prepare
from edge_ad.fleet.state import FollowState, Step
from edge_ad.storage import sha256_file
from tests.fleet.metrics_page import running_metrics
from tests.fleet.registry_double import RegistryDouble
from tests.fleet.test_publish_and_pull import of_product
from tests.fleet.test_signatures import make_pair
from tests.runtime.tiny_bundle import tiny_bundle

ROOT = Path(__file__).parents[2]


def reference(registry: RegistryDouble) -> ArtifactReference:
    return ArtifactReference.parse(f"{registry.host}/line/screw:stable")


def release(registry: RegistryDouble, bundle: Bundle, note: str) -> str:
    return publish(bundle.with_files({"notes.txt": note.encode()}), reference(registry)).digest


def round_of(
    registry: RegistryDouble,
    root: Path,
    options: FollowOptions | None = None,
    prepare: list[tuple[Step, Prepare]] | None = None,
) -> FollowState:
    """What an agent that has just been started does."""
    follower = Follower(reference(registry), root, prepare or [], options or FollowOptions())
    with follower.alone():
        return follower.check()


def live(root: Path) -> str:
    Bundle.open(root)
    origin = read_origin(root)
    assert origin is not None
    return origin.digest


def test_a_folder_stays_at_what_the_tag_names(registry: RegistryDouble, bundle: Bundle, tmp_path: Path) -> None:
    root = tmp_path / "device" / "screw"
    for note in ("first", "second"):
        digest = release(registry, bundle, note)
        state = round_of(registry, root)
        assert (state.step, state.digest, live(root)) == ("current", digest, digest)
    assert (root.parent / ".screw-follow" / "previous" / "notes.txt").read_bytes() == b"first"
    state_file = root.parent / ".screw-follow" / "state.json"
    assert json.loads(state_file.read_text())["digest"] == digest
    registry.requests.clear()
    assert round_of(registry, root).step == "current"
    written = state_file.stat().st_ino
    assert round_of(registry, root).step == "current"
    assert state_file.stat().st_ino == written  # nothing new: nothing is written
    assert not any("/blobs/" in request for request in registry.requests)


def test_a_bundle_that_fails_its_preparation_is_refused_once_and_the_next_one_is_used(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    root, calls = tmp_path / "screw", list[str]()

    def verify(candidate: Path) -> None:
        calls.append((candidate / "notes.txt").read_text())
        if calls[-1] == "bad":
            raise BundleError("It does not give the trained numbers.")

    good = release(registry, bundle, "good")
    round_of(registry, root, prepare=[("verifying", verify)])
    release(registry, bundle, "bad")
    for _ in range(2):
        state = round_of(registry, root, prepare=[("verifying", verify)])
        assert (state.step, live(root)) == ("refused", good)
        assert "trained numbers" in state.message
    assert calls == ["good", "bad"]
    better = release(registry, bundle, "better")
    assert round_of(registry, root, prepare=[("verifying", verify)]).step == "current"
    assert live(root) == better


def test_a_tag_that_names_another_product_changes_nothing_unless_asked_to(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    root = tmp_path / "screw"
    digest = release(registry, bundle, "first")
    round_of(registry, root)
    other = release(registry, of_product(bundle, "nut"), "first")
    refused = round_of(registry, root)
    assert (refused.step, live(root)) == ("refused", digest)
    assert "'nut'" in refused.message
    assert round_of(registry, root, FollowOptions(any_product=True)).step == "current"
    assert live(root) == other


def test_a_device_keeps_its_bundle_while_the_registry_is_away(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    root = tmp_path / "screw"
    digest = release(registry, bundle, "first")
    round_of(registry, root)
    registry.status = 503
    state = round_of(registry, root)
    assert (state.step, state.digest, live(root)) == ("waiting", digest, digest)
    registry.status = 0
    assert round_of(registry, root).step == "current"


def test_a_registry_that_gives_another_content_is_no_fault_of_the_bundle(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    digest = release(registry, bundle, "first")
    notes = f"sha256:{Bundle.open(bundle.root).manifest.files['notes.txt']}"
    registry.given[notes] = b"<htm>"  # of a proxy on the way
    state = round_of(registry, tmp_path / "screw")
    assert (state.step, state.refused) == ("waiting", {})
    assert "another content" in state.message
    registry.given.clear()
    assert round_of(registry, tmp_path / "screw").step == "current"
    assert live(tmp_path / "screw") == digest


def test_health_that_falls_brings_the_previous_bundle_back(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    root = tmp_path / "screw"
    good = release(registry, bundle, "good")
    round_of(registry, root)
    bad = release(registry, bundle, "bad")
    with running_metrics(root) as page:
        page.unhealthy = sha256_file(bundle.root / "manifest.json")
        options = FollowOptions(health=page.url, observe_s=0.0, trial_s=600)
        state = round_of(registry, root, options)
        assert (state.step, live(root)) == ("rolled back", good)
        assert state.refused == {bad: "1 alarms instead of 0"}
        assert round_of(registry, root, options).step == "refused"
        better = release(registry, bundle, "better")
        assert round_of(registry, root, FollowOptions(health=page.url, observe_s=0.0, trial_s=0)).step == "current"
    assert live(root) == better


def test_a_bundle_that_the_stream_does_not_take_over_is_rolled_back(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    root = tmp_path / "screw"
    good = release(registry, bundle, "good")
    round_of(registry, root)
    release(registry, bundle, "refused by the stream")
    with running_metrics(root) as page:
        page.taken = "the old one"
        state = round_of(registry, root, FollowOptions(health=page.url, observe_s=0.0, trial_s=0))
    assert (state.step, state.message, live(root)) == ("rolled back", "the stream did not take it over", good)


def test_a_bundle_that_is_signed_after_it_was_refused_is_used(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    root, (private, public) = tmp_path / "screw", make_pair(tmp_path, "line")
    options = FollowOptions(trusted=[read_public_key(public)])
    publish(bundle, reference(registry))
    assert round_of(registry, root, options).step == "refused"
    assert not root.exists()
    publish(bundle, reference(registry), key=read_private_key(private))  # the same digest
    assert round_of(registry, root, options).step == "current"


def test_a_bundle_in_use_must_be_signed_once_a_key_is_trusted(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    root, (private, public) = tmp_path / "screw", make_pair(tmp_path, "line")
    options = FollowOptions(trusted=[read_public_key(public)])
    signed = publish(bundle, reference(registry), key=read_private_key(private)).digest
    round_of(registry, root)  # nobody asked for a signature
    assert round_of(registry, root, options).step == "current"
    round_of(registry, root, FollowOptions())
    unsigned = publish(bundle.with_files({"notes.txt": b"second"}), reference(registry)).digest
    round_of(registry, root)
    assert live(root) == unsigned
    state = round_of(registry, root, options)
    assert (state.step, live(root)) == ("rolled back", signed)
    assert "is not signed" in state.message


def test_two_agents_do_not_keep_one_folder(registry: RegistryDouble, tmp_path: Path) -> None:
    first, second = (Follower(reference(registry), tmp_path / "screw", [], FollowOptions()) for _ in range(2))
    with first.alone(), pytest.raises(UsageError, match="Another edge-ad follow"), second.alone():
        pass


def test_a_folder_that_is_no_bundle_is_not_touched(registry: RegistryDouble, tmp_path: Path) -> None:
    (tmp_path / "screw").mkdir()
    (tmp_path / "screw" / "photo.png").write_bytes(b"mine")
    follower = Follower(reference(registry), tmp_path / "screw", [], FollowOptions())
    with pytest.raises(BundleError, match="is not a bundle"), follower.alone():
        pass


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="an agent is killed in a child")
@pytest.mark.parametrize("is_healthy", [True, False])
def test_an_agent_killed_at_any_step_leaves_a_whole_bundle_and_is_finished_by_the_next(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path, is_healthy: bool
) -> None:
    root = tmp_path / "device" / "screw"
    old = release(registry, bundle, "old")
    round_of(registry, root)
    new = release(registry, bundle, "new")
    with running_metrics(root) as page:
        page.unhealthy = "" if is_healthy else sha256_file(bundle.root / "manifest.json")
        arguments = [reference(registry).words, str(root), page.url, "0" if is_healthy else "600", "4"]
        command = [sys.executable, "-m", "tests.fleet.killed_agent", *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) > 10
    assert {report["between"] for report in reports} == {old, new}
    assert {report["after"] for report in reports} == {new if is_healthy else old}
    assert {report["step"] for report in reports} <= ({"current"} if is_healthy else {"refused", "rolled back"})
    assert not any(report["left"] for report in reports)


def test_the_real_engine_is_built_and_verified_and_a_wrong_one_refused(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, words = tmp_path / "device" / "screw", reference(registry).words
    good = publish(bundle, reference(registry)).digest
    command = ["follow", words, "--into", str(root), "--once", "--json", "--backend", "onnxruntime", "--no-build"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == good
    other = tiny_bundle(tmp_path / "other")
    (wrong := bundle.reference()).scores[:] += 1
    publish(other.with_files({"reference.npz": wrong.to_bytes()}), reference(registry))
    assert main(command) == 1
    assert "does not give the trained numbers" in capsys.readouterr().err
    assert live(root) == good
