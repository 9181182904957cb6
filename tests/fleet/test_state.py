"""The state of a device in its file."""

from pathlib import Path

from edge_ad.fleet.state import FollowState, read_state, write_state


def test_a_state_is_read_again_and_one_of_another_tag_or_a_damaged_one_is_begun_anew(tmp_path: Path) -> None:
    path, state = tmp_path / "state.json", FollowState(reference="a:1/b:c").refusing("sha256:0", "too slow")
    write_state(path, state)
    assert read_state(path, "a:1/b:c") == state
    assert read_state(path, "a:1/b:d") == FollowState(reference="a:1/b:d")
    path.write_bytes(path.read_bytes()[:20])
    assert read_state(path, "a:1/b:c") == FollowState(reference="a:1/b:c")


def test_the_newest_refusals_are_remembered() -> None:
    state = FollowState(reference="a:1/b:c")
    for number in range(60):
        state = state.refusing(f"sha256:{number}", "bad")
    assert len(state.refused) == 50
    assert "sha256:59" in state.refused
    assert "sha256:9" not in state.refused
