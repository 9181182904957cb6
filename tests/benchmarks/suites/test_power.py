"""Reading what a machine says of its power."""

from pathlib import Path

import pytest

from benchmarks.suites.machine import clocks, parse_nvpmodel
from benchmarks.suites.power.rapl import energy_joules, find_zones, read_zones
from benchmarks.suites.power.tegrastats import mean_power_w, parse_line, total_mw

# Lines as boards print them, one for each form that a release has had.
ORIN_JETPACK_5 = (
    "11-21-2025 08:49:48 RAM 13983/62780MB (lfb 424x4MB) SWAP 126/31390MB (cached 0MB) CPU [90%@2201,100%@2201,off] "
    "EMC_FREQ 1%@2133 GR3D_FREQ 14%@[407,407] VIC_FREQ 115 NVDLA0_FREQ @1600 APE 174 CV0@73.625C CPU@77.281C "
    "Tboard@62C SOC2@70C Tdiode@62.25C CV2@-256C tj@77.281C VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW "
    "VIN_SYS_5V0 4968mW/5048mW VDDQ_VDD2_1V8AO 1091mW/1091mW"
)
ORIN_NANO_JETPACK_6 = (
    "11-15-2024 08:38:09 RAM 6185/7620MB (lfb 8x2MB) SWAP 851/3810MB (cached 1MB) "
    "CPU [15%@729,11%@729,14%@729,13%@729,11%@729,8%@729] EMC_FREQ 43%@2133 GR3D_FREQ 63%@[621] NVDEC off NVJPG off "
    "VIC off OFA off APE 200 cpu@53.968C soc2@52.437C gpu@53.343C tj@53.968C VDD_IN 12479mW/12479mW "
    "VDD_CPU_GPU_CV 4667mW/4667mW VDD_SOC 2817mW/2817mW"
)
ORIN_NANO_JETPACK_6_IDLE = (
    "04-27-2026 14:59:41 RAM 775/7620MB (lfb 3x4MB) SWAP 0/3810MB (cached 0MB) CPU [1%@729,0%@729,0%@729,0%@729] "
    "GR3D_FREQ 0% cpu@48.468C soc2@47.531C gpu@48.562C tj@49.156C VDD_IN 4761mW/4778mW VDD_CPU_GPU_CV 515mW/501mW "
    "VDD_SOC 1428mW/1428mW "
)
ORIN_THREE_VALUES = (
    "10-01-2026 20:36:32 RAM 974/7546MB (lfb 6x4MB) SWAP 0/5821MB (cached 0MB) CPU [0%@729,0%@883] GR3D_FREQ 12% "
    "cpu@49.843C/49.843C tj@50.875C/50.875C VDD_IN 4548mW/4600mW/4900mW VDD_CPU_GPU_CV 483mW/483mW/483mW"
)
XAVIER_JETPACK_4 = (
    "RAM 2673/7765MB (lfb 118x4MB) SWAP 0/3883MB (cached 0MB) CPU [12%@1190,8%@1190,off,off] EMC_FREQ 7% GR3D_FREQ 33% "
    "AO@35C GPU@33C PMIC@100C thermal@33.9C VDD_IN 3902/3611 VDD_CPU_GPU_CV 1331/1180 VDD_SOC 997/941"
)


@pytest.mark.parametrize(
    ("line", "rails", "total"),
    [
        (
            ORIN_JETPACK_5,
            {"VDD_GPU_SOC": 3150, "VDD_CPU_CV": 14312, "VIN_SYS_5V0": 4968, "VDDQ_VDD2_1V8AO": 1091},
            (23521, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO"),
        ),
        (ORIN_NANO_JETPACK_6, {"VDD_IN": 12479, "VDD_CPU_GPU_CV": 4667, "VDD_SOC": 2817}, (12479, "VDD_IN")),
        (ORIN_NANO_JETPACK_6_IDLE, {"VDD_IN": 4761, "VDD_CPU_GPU_CV": 515, "VDD_SOC": 1428}, (4761, "VDD_IN")),
        (ORIN_THREE_VALUES, {"VDD_IN": 4548, "VDD_CPU_GPU_CV": 483}, (4548, "VDD_IN")),
        (XAVIER_JETPACK_4, {"VDD_IN": 3902, "VDD_CPU_GPU_CV": 1331, "VDD_SOC": 997}, (3902, "VDD_IN")),
    ],
)
def test_the_momentary_power_of_every_rail_is_read(line: str, rails: dict[str, int], total: tuple[int, str]) -> None:
    sample = parse_line(line)
    assert sample is not None
    assert sample.rails_mw == rails
    assert total_mw(sample.rails_mw) == total


def test_load_clocks_memory_and_temperatures_are_read() -> None:
    sample = parse_line(ORIN_JETPACK_5)
    assert sample is not None
    assert (sample.ram_mb, sample.ram_total_mb) == (13983, 62780)
    assert (sample.gpu_percent, sample.gpu_mhz) == (14, 407)
    assert sample.cpu_mhz == (2201, 2201)
    assert sample.temperatures_c["tj"] == 77.281
    assert "CV2" not in sample.temperatures_c  # -256: the sensor is off
    idle = parse_line(ORIN_NANO_JETPACK_6_IDLE)
    assert idle is not None
    assert (idle.gpu_percent, idle.gpu_mhz) == (0, None)


def test_power_is_the_mean_of_the_lines_and_other_lines_are_passed_over() -> None:
    watts, rails = mean_power_w(["starting", ORIN_NANO_JETPACK_6, ORIN_NANO_JETPACK_6_IDLE, ""]) or (0.0, "")
    assert watts == pytest.approx((12.479 + 4.761) / 2)
    assert rails == "VDD_IN"
    assert mean_power_w(["RAM 1/2MB (lfb 1x4MB) CPU [1%@729] GR3D_FREQ 0%"]) is None  # not root: no rails


def zone(root: Path, folder: str, name: str, energy_uj: int | None, range_uj: int = 1000) -> None:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    if energy_uj is not None:
        (path / "energy_uj").write_text(f"{energy_uj}\n")


def test_packages_and_memory_are_added_and_what_is_inside_them_is_not(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 100)
    zone(tmp_path, "intel-rapl:0:0", "core", 50)
    zone(tmp_path, "intel-rapl:0:1", "dram", 10)
    zone(tmp_path, "intel-rapl:1", "psys", 500)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 100)
    zones, why = find_zones(tmp_path)
    assert ([item.name for item in zones], why) == (["package-0", "dram"], "")
    before = read_zones(zones)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("400")
    (tmp_path / "intel-rapl:0:1" / "energy_uj").write_text("60")
    assert energy_joules(zones, before, read_zones(zones)) == pytest.approx(350e-6)


def test_a_counter_that_starts_again_is_continued(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 900, range_uj=1000)
    zones, _ = find_zones(tmp_path)
    before = read_zones(zones)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("150")
    assert energy_joules(zones, before, read_zones(zones)) == pytest.approx(250e-6)


def test_a_machine_without_counters_says_why(tmp_path: Path) -> None:
    assert find_zones(tmp_path / "none") == ([], "this system has no powercap")
    assert find_zones(tmp_path)[1] == "this processor shows no RAPL counter"
    zone(tmp_path, "intel-rapl:0", "package-0", None)
    assert find_zones(tmp_path)[1] == "the RAPL counters may be read by root only"


def test_clocks_and_governor_are_read(tmp_path: Path) -> None:
    for core, khz in (("cpu0", 1_500_000), ("cpu1", 2_000_000)):
        folder = tmp_path / core / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{khz}\n")
        (folder / "scaling_governor").write_text("schedutil\n")
    found = clocks(tmp_path, tmp_path / "cpuinfo")
    assert (found["mhz"], found["governor"]) == ([1500.0, 2000.0], "schedutil")
    (tmp_path / "cpuinfo").write_text("processor : 0\ncpu MHz\t\t: 2100.5\n")
    assert clocks(tmp_path / "none", tmp_path / "cpuinfo")["mhz"] == [2100.5]


def test_the_power_mode_of_a_jetson_is_read() -> None:
    assert parse_nvpmodel("NV Power Mode: 15W\n2\n") == "15W"
    assert parse_nvpmodel("NVPM ERROR") is None
