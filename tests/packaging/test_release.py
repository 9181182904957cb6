"""A release is made of a tagged, clean commit with notes, and of nothing else."""

from pathlib import Path

import pytest

from tests.packaging import release

_LOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-11-29

### Added

- A thing.

## [1.1.0] - 2026-10-01

- Another thing.
"""


def test_notes_are_those_of_the_version_alone() -> None:
    assert release.notes_of(_LOG, "1.2.0") == "### Added\n\n- A thing.\n"
    assert release.notes_of(_LOG, "1.1.0") == "- Another thing.\n"


@pytest.mark.parametrize(
    ("log", "version", "message"),
    [
        (_LOG, "1.3.0", "no section"),
        (_LOG.replace(" - 2026-11-29", ""), "1.2.0", "no date"),
        ("## [1.2.0] - 2026-11-29\n\n## [1.1.0] - 2026-10-01\n- x\n", "1.2.0", "empty"),
    ],
)
def test_a_version_without_notes_is_refused(log: str, version: str, message: str) -> None:
    with pytest.raises(release.ReleaseError, match=message):
        release.notes_of(log, version)


def test_a_clean_tagged_commit_with_notes_has_no_problem() -> None:
    assert release.problems("1.2.0", _LOG, status="", tags=["v1.2.0"]) == []


def test_every_problem_is_named() -> None:
    found = release.problems("1.3.0", _LOG, status=" M edge_ad/api.py\n", tags=["v1.2.0"])
    assert [text.split(":")[0] for text in found] == [
        "The work tree has changes",
        "The commit has no tag v1.3.0",
        "CHANGELOG.md has no section [1.3.0]",
    ]


def test_a_release_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "problems", lambda *_, **__: ["no tag"])
    monkeypatch.setattr(release, "_run", lambda *_, **__: "")
    assert release.main(["--out", str(tmp_path / "dist")]) == 1
    assert list(tmp_path.iterdir()) == []
