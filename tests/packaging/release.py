"""Build and check what is published: wheel, source distribution, check sums and notes.

    python -m tests.packaging.release --out dist              # of a tagged commit
    python -m tests.packaging.release --out dist --rehearse   # of any commit: version, tag and notes may be missing

The wheel is installed into an environment of its own, without torch, and must say its version, load without anything
heavy, and find a backend. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from edge_ad import __version__

__all__ = ["ReleaseError", "build", "check_installed", "main", "notes_of", "problems"]

ROOT = Path(__file__).parents[2]
_SECTION = re.compile(
    r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?\n(?P<text>.*?)(?=^## \[|\Z)", re.DOTALL | re.MULTILINE
)
_CHECK = """
import sys, edge_ad
assert edge_ad.__version__ == {version!r}, edge_ad.__version__
assert edge_ad.__file__.startswith(sys.prefix), edge_ad.__file__
heavy = sorted({{"numpy", "torch", "cv2"}} & set(sys.modules))
assert not heavy, heavy
for name in edge_ad.__all__:
    getattr(edge_ad, name)
try:
    import torch
except ImportError:
    sys.exit()
sys.exit("torch is installed: the base install is the device side")
"""


class ReleaseError(Exception):
    """The release cannot be made; the message says why."""


def notes_of(changelog: str, version: str) -> str:
    """The notes of a version, Markdown, from the change log.

    Raises:
        ReleaseError: The log has no such section with a date, or it is empty.
    """
    for section in _SECTION.finditer(changelog):
        if section["name"] == version:
            if not section["date"]:
                raise ReleaseError(f"The section [{version}] of CHANGELOG.md has no date: ## [{version}] - YYYY-MM-DD")
            if not section["text"].strip():
                raise ReleaseError(f"The section [{version}] of CHANGELOG.md is empty.")
            return section["text"].strip() + "\n"
    raise ReleaseError(f"CHANGELOG.md has no section [{version}]: rename [Unreleased], with the date.")


def problems(version: str, changelog: str, *, status: str, tags: list[str]) -> list[str]:
    """What keeps a commit from being released.

    Args:
        version: Version of the package.
        changelog: Text of CHANGELOG.md.
        status: Output of ``git status --porcelain``.
        tags: Tags of the commit.
    """
    found = []
    if status.strip():
        found.append("The work tree has changes: commit them first.")
    if f"v{version}" not in tags:
        found.append(f"The commit has no tag v{version}: git tag -a v{version}")
    try:
        notes_of(changelog, version)
    except ReleaseError as error:
        found.append(str(error))
    return found


def build(out: Path) -> tuple[Path, Path]:
    """Build the source distribution, and from it the wheel.

    Returns:
        The wheel and the source distribution.

    Raises:
        ReleaseError: The build fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        shutil.copytree(ROOT / "edge_ad", source / "edge_ad", ignore=shutil.ignore_patterns("__pycache__"))
        _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)])
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def check_installed(wheel: Path) -> str:
    """Install the wheel into a clean environment and use it there.

    Returns:
        What ``edge-ad doctor`` says there.

    Raises:
        ReleaseError: It cannot be installed, loads something heavy, or finds no backend.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], cwd=folder)
        _run([str(python), "-I", "-c", _CHECK.format(version=__version__)], cwd=folder)
        command = str(Path(folder) / "bin" / "edge-ad")
        if __version__ not in _run([command, "--version"], cwd=folder):
            raise ReleaseError("edge-ad --version says another version.")
        return _run([command, "doctor"], cwd=folder)


def _run(command: list[str], cwd: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd or ROOT, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command[:6])} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _release(out: Path, *, rehearse: bool) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    tags = _run(["git", "tag", "--points-at", "HEAD"]).split()
    found = problems(__version__, changelog, status=_run(["git", "status", "--porcelain"]), tags=tags)
    if found and not rehearse:
        raise ReleaseError("\n".join(found))
    if out.exists() and any(out.iterdir()):
        raise ReleaseError(f"{out} is not empty: remove it, or name another folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    files = build(out)
    print(check_installed(files[0]))
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (out / "SHA256SUMS").write_text(sums, encoding="utf-8")
    if found:
        print("\n".join(f"rehearsal: {problem}" for problem in found))
    else:
        (out / f"notes-{__version__}.md").write_text(notes_of(changelog, __version__), encoding="utf-8")
    print("\n".join(sorted(path.name for path in out.iterdir())))


def main(arguments: list[str] | None = None) -> int:
    """Make a release, or rehearse one; 1 when it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="new or empty folder")
    parser.add_argument("--rehearse", action="store_true", help="do what needs no tag and no notes")
    chosen = parser.parse_args(arguments)
    try:
        _release(chosen.out, rehearse=chosen.rehearse)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
