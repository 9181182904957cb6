"""What is read from /proc/cpuinfo."""

import os

import pytest

from edge_ad.runtime.target import available_cores, parse_cpuinfo, processor

_X86 = "processor\t: 0\nmodel name\t: {name}\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\nmodel name\t: other\n"


@pytest.mark.parametrize(
    ("flags", "target"),
    [
        ("avx2 avx512f avx512_vnni amx_int8 amx_bf16", "x86_64-amx"),
        ("avx2 avx512f avx512_vnni", "x86_64-avx512-vnni"),
        ("avx2 avx_vnni", "x86_64-avx-vnni"),
        ("avx2 avx512f", "x86_64-avx512"),
        ("avx2", "x86_64-avx2"),
        ("sse4_2", "x86_64-base"),
    ],
)
def test_an_x86_target_is_its_best_capability(flags: str, target: str) -> None:
    found = parse_cpuinfo(_X86.format(name="Some CPU", flags=flags), "x86_64")
    assert found.target == target
    assert found.name == "Some CPU"
    assert found.flags == tuple(flag for flag in flags.split() if flag != "sse4_2")


def test_an_arm_target_reads_features() -> None:
    text = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\nCPU implementer : 0x41\n"
    assert parse_cpuinfo(text, "aarch64").target == "aarch64-dotprod"
    assert parse_cpuinfo(text.replace("asimddp", "asimddp i8mm"), "aarch64").target == "aarch64-i8mm"


@pytest.mark.parametrize(
    ("machine", "target"), [("AMD64", "x86_64-base"), ("arm64", "aarch64-base"), ("", "unknown-base")]
)
def test_without_cpuinfo_the_target_is_the_architecture(machine: str, target: str) -> None:
    assert parse_cpuinfo("", machine).target == target


def test_this_machine_has_a_target_and_a_core() -> None:
    assert processor().target.startswith(processor().architecture)
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
