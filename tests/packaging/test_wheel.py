"""What a user gets from ``pip install``."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("export", "calibration", "runtime", "streaming", "data", "models", "training", "evaluation", "cli")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of the source distribution, from a copy so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source") / "edge-ad"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "edge_ad", source / "edge_ad", ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_has_one_top_level_name(names: list[str]) -> None:
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edge_ad"}


@pytest.mark.parametrize("room", ROOMS)
def test_the_wheel_has_every_file_of_every_room(names: list[str], room: str) -> None:
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "edge_ad" / room).rglob("*.py")}
    assert here
    assert here <= set(names)


def test_the_wheel_has_the_templates_of_its_pages(names: list[str]) -> None:
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "edge_ad").rglob("templates/*")}
    assert {Path(name).suffix for name in here} == {".css", ".html"}
    assert here <= set(names)


@pytest.mark.parametrize("name", ["export", "calibration"])
def test_the_folders_beside_the_package_are_relative_links_into_it(name: str) -> None:
    link = ROOT / name
    if not link.is_symlink():  # a checkout without symbolic links has a file there that says where to look
        assert link.read_text() == f"edge_ad/{name}"
    assert (ROOT / "edge_ad" / name / "__init__.py").is_file()
    assert not link.is_symlink() or link.readlink() == Path("edge_ad") / name


def test_the_wheel_tells_type_checkers_that_it_is_typed_and_carries_the_licence(names: list[str]) -> None:
    assert "edge_ad/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_wheel_has_a_working_command(wheel: Path, tmp_path: Path) -> None:
    # Dependencies are borrowed from the environment that runs the tests; what is tested is edge-ad's own install.
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    where = "import edge_ad, edge_ad.export, edge_ad.calibration; print(edge_ad.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", where], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert Path(shown.stdout.strip()) == target / "edge_ad" / "__init__.py"
    script = target / "bin" / "edge-ad"
    helped = subprocess.run([script, "--help"], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert helped.returncode == 0, helped.stderr
    assert "build-engine" in helped.stdout
