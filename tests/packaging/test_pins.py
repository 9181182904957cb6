"""The constraints files cover what ``pyproject.toml`` asks for, on every Python that is supported."""

from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def _read(name: str) -> list[Requirement]:
    lines = (Path(__file__).parents[2] / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


MAIN, TORCHVISION = _read("constraints.txt"), _read("constraints-torchvision.txt")
PINS = MAIN + [pin for pin in TORCHVISION if pin.name != "torch"]
WANTED = [Requirement(text) for text in requires("edge-ad") or []]
UNPINNED = {"tensorrt", "pycuda", "cuda-bindings"}  # a device's own, tied to its driver


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_direct_dependency_is_pinned_once_to_a_version_it_allows(python: str) -> None:
    for wanted in WANTED:
        if wanted.name in UNPINNED:
            continue
        pins = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
        valid = [pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
        assert len(valid) == 1, f"{wanted.name} has {len(valid)} pins for Python {python}"
        (specifier,) = valid[0].specifier
        assert specifier.operator == "=="
        assert wanted.specifier.contains(specifier.version), f"{valid[0]} is outside {wanted}"


def test_no_pin_names_one_build_of_a_package() -> None:
    # torch==2.13.0+cpu could not be installed from the public index, nor beside a CUDA build.
    assert not [str(pin) for pin in PINS if "+" in str(pin.specifier)]


def test_the_environment_of_torchvision_has_another_torch_and_nothing_else_pinned_twice() -> None:
    assert {pin.name for pin in MAIN} & {pin.name for pin in TORCHVISION} == {"torch"}
    (wanted,) = (wanted for wanted in WANTED if wanted.name == "torch")
    (pin,) = (pin for pin in TORCHVISION if pin.name == "torch")
    assert all(wanted.specifier.contains(specifier.version) for specifier in pin.specifier)
