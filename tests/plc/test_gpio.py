"""Digital outputs: options, moments of pulses, libgpiod's interface, and what is left when the stream dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import psutil
import pytest

from edge_ad.errors import DeviceError, UsageError
from edge_ad.plc.gpio import GpioSink
from edge_ad.plc.gpio_options import GpioOptions, Line
from edge_ad.plc.gpio_process import GpioLines
from edge_ad.plc.gpio_pulses import PulseSchedule
from edge_ad.plc.results import ResultRule
from tests.plc import gpio_double
from tests.plc.handmade import Running
from tests.streaming.fakes import FakeSource
from tests.streaming.results import make_result, wait_until

_ALL = "gpiochip0,ok=27,ng=17,ready=22,alive=23,pulse=50ms"


class _Bench:
    """A schedule, what its lines show, and what it told."""

    def __init__(self, text: str) -> None:
        self.active: set[str] = set()
        self.told: list[str] = []
        self.lost = 0
        self.schedule = PulseSchedule(GpioOptions.parse(text), self._set, self._tell)

    def _set(self, output: str, is_active: bool) -> None:
        self.active = self.active | {output} if is_active else self.active - {output}

    def _tell(self, text: str, lost: int) -> None:
        self.told.append(text)
        self.lost += lost


def test_options_name_chip_lines_pulse_and_delay() -> None:
    found = GpioOptions.parse("/dev/gpiochip1,ng=!17,ok=EJECT.2,pulse=20ms,delay=250mm@500mm/s")
    assert found.chip == "/dev/gpiochip1"
    assert found.outputs == {"ng": Line(17, is_inverted=True), "ok": Line("EJECT.2")}
    assert (found.pulse_s, found.delay_s) == (0.02, 0.5)
    by_counts = GpioOptions.parse("gpiochip0,ng=17,delay=120p,encoder=5")
    assert (by_counts.chip, by_counts.delay_counts, by_counts.encoder) == ("/dev/gpiochip0", 120, Line(5))
    assert GpioOptions.from_dict(by_counts.to_dict()) == by_counts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ng=17",
        "gpiochip0",
        "gpiochip0,ng=17,ng=18",
        "gpiochip0,ng=17,ok=17",
        "gpiochip0,ng=1 7",
        "gpiochip0,ng=17,pulse=0ms",
        "gpiochip0,ng=17,pulse=fast",
        "gpiochip0,ng=17,delay=120p",
        "gpiochip0,ng=17,encoder=5",
        "gpiochip0,ng=17,delay=10mm@0mm/s",
        "gpiochip0,ng=17,lamp=4",
    ],
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--gpio"):
        GpioOptions.parse(text)


def test_a_pulse_begins_at_its_delay_after_the_capture_and_ends_after_its_length() -> None:
    bench = _Bench(_ALL + ",delay=300ms")
    bench.schedule.ask("ng", captured_at=10.0, now=10.1)
    assert bench.schedule.run(10.29) == pytest.approx(10.3)
    assert bench.active == set()
    assert bench.schedule.run(10.301) == pytest.approx(10.351)
    assert bench.active == {"ng"}
    assert bench.schedule.run(10.352) is None
    assert bench.active == set()
    assert bench.told == []


def test_without_a_delay_a_pulse_begins_at_once() -> None:
    bench = _Bench(_ALL)
    bench.schedule.ask("ok", captured_at=3.0, now=10.0)
    assert bench.active == {"ok"}


def test_a_verdict_that_comes_too_late_hits_no_other_part() -> None:
    bench = _Bench(_ALL + ",delay=300ms")
    bench.schedule.ask("ng", captured_at=10.0, now=10.36)
    assert bench.active == set()
    assert "60 ms too late" in bench.told[0]
    assert bench.lost == 1
    bench.schedule.ask("ng", captured_at=10.0, now=10.34)  # within the length of a pulse
    assert bench.active == {"ng"}


def test_two_pulses_that_run_into_each_other_are_told() -> None:
    bench = _Bench(_ALL)
    bench.schedule.ask("ng", 10.0, 10.0)
    bench.schedule.ask("ng", 10.03, 10.03)
    bench.schedule.run(10.06)
    assert bench.active == {"ng"}
    assert "ran into each other" in bench.told[0]
    bench.schedule.run(10.081)
    assert bench.active == set()


def test_a_delay_by_encoder_counts_from_the_capture_and_stands_still_with_the_conveyor() -> None:
    bench = _Bench("gpiochip0,ng=17,pulse=50ms,delay=5p,encoder=5")
    for at in (1.0, 1.1, 1.2, 1.3):
        bench.schedule.edge(at, at)
    bench.schedule.ask("ng", captured_at=1.15, now=1.35)  # captured at a count of 2: due at 7
    assert bench.schedule.run(9.0) is None
    for at in (9.1, 9.2):
        bench.schedule.edge(at, at)
    bench.schedule.run(9.2)
    assert bench.active == set()
    bench.schedule.edge(9.3, 9.3)
    bench.schedule.run(9.3)
    assert bench.active == {"ng"}
    for at in (9.4, 9.5, 9.6):
        bench.schedule.edge(at, at)
    bench.schedule.ask("ng", captured_at=1.15, now=9.7)  # three counts after its place
    assert "3 pulses of the encoder too late" in bench.told[0]


def test_a_pulse_is_given_at_its_count_though_the_edges_after_it_came_in_the_same_moment() -> None:
    bench = _Bench("gpiochip0,ng=17,pulse=50ms,delay=5p,encoder=5")
    bench.schedule.ask("ng", captured_at=1.0, now=1.0)
    for edge in range(20):  # of a fast encoder, read together
        bench.schedule.edge(1.001 + 1e-4 * edge, now=1.01)
    assert (bench.active, bench.told) == ({"ng"}, [])
    bench.schedule.run(1.07)
    bench.schedule.ask("ng", captured_at=1.08, now=1.08)
    for edge in range(20):
        bench.schedule.edge(1.081 + 1e-4 * edge, now=1.2)  # read long after they came
    assert bench.active == set()
    assert "119 ms too late" in bench.told[0]


def test_ready_needs_a_word_every_second_and_alive_changes_meanwhile() -> None:
    bench = _Bench(_ALL)
    bench.schedule.say_ready(True, 10.0)
    shown = []
    for step in range(5):
        bench.schedule.run(10.0 + 0.25 * step)
        shown.append("alive" in bench.active)
    assert shown == [True, False, True, False, True]
    assert "ready" in bench.active
    bench.schedule.run(11.01)
    assert bench.active == set()
    assert "says nothing" in bench.told[0]
    bench.schedule.say_ready(True, 12.0)
    bench.schedule.ask("ng", 12.0, 12.0)
    bench.schedule.make_safe()
    assert bench.active == set()
    assert bench.schedule.run(13.5) is None


def test_lines_are_asked_of_libgpiod_as_its_interface_is(monkeypatch: pytest.MonkeyPatch) -> None:
    gpiod = pytest.importorskip("gpiod", reason="the extra gpio is not installed")
    requests = [create_autospec(gpiod.LineRequest, instance=True) for _ in range(2)]
    asked = create_autospec(gpiod.request_lines, side_effect=requests)
    monkeypatch.setattr(gpiod, "request_lines", asked)
    outputs, encoder = requests
    encoder.wait_edge_events.return_value = True
    encoder.read_edge_events.return_value = [
        SimpleNamespace(timestamp_ns=2_500_000_000, line_seqno=1),
        SimpleNamespace(timestamp_ns=3_500_000_000, line_seqno=4),  # two were lost in a full buffer
    ]
    lines = GpioLines(GpioOptions.parse("gpiochip0,ng=!17,ready=READY,delay=3p,encoder=5"))
    settings = asked.call_args_list[0].kwargs["config"]
    assert settings[17].direction is gpiod.line.Direction.OUTPUT
    assert settings[17].active_low
    assert settings["READY"].output_value is gpiod.line.Value.INACTIVE
    assert asked.call_args_list[1].kwargs["config"][5].edge_detection is gpiod.line.Edge.RISING
    lines.set("ready", True)
    outputs.set_value.assert_called_once_with("READY", gpiod.line.Value.ACTIVE)
    assert lines.edges() == [2.5, 3.5, 3.5, 3.5]
    lines.close()
    outputs.release.assert_called_once_with()
    encoder.release.assert_called_once_with()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "lines.log"


@pytest.fixture
def sink(log: Path) -> Iterator[GpioSink]:
    sink = GpioSink(GpioOptions.parse(_ALL), ResultRule(), command=gpio_double.command(log))
    control = Running()
    sink.attach(control)
    sink.control = control  # type: ignore[attr-defined]
    sink.begin(FakeSource(None))
    yield sink
    sink.close()


def test_verdicts_are_pulses_and_at_the_end_all_lines_are_inactive(sink: GpioSink, log: Path) -> None:
    wait_until(lambda: ("ready", 1) in gpio_double.changes(log))
    sink.write(make_result(0, 0.5, at=time.perf_counter()), None)
    wait_until(lambda: ("ok", 0) in gpio_double.changes(log))
    sink.write(make_result(1, 1.5, at=time.perf_counter()), None)
    sink.close()
    pulses = [change for change in gpio_double.changes(log) if change[0] in ("ok", "ng")]
    assert pulses[:4] == [("ok", 1), ("ok", 0), ("ng", 1), ("ng", 0)]
    assert set(gpio_double.changes(log)[-5:-1]) == {(name, 0) for name in ("ok", "ng", "ready", "alive")}
    assert sink.dropped == 0


def test_a_fault_of_the_stream_ends_ready(sink: GpioSink, log: Path) -> None:
    wait_until(lambda: ("ready", 1) in gpio_double.changes(log))
    sink.control.pause("Ada")  # type: ignore[attr-defined]
    wait_until(lambda: ("ready", 0) in gpio_double.changes(log))


def test_a_process_that_is_killed_raises_an_alarm(sink: GpioSink, log: Path) -> None:
    wait_until(lambda: ("ready", 1) in gpio_double.changes(log))
    (child,) = (each for each in psutil.Process().children() if str(log) in " ".join(each.cmdline()))
    child.kill()
    wait_until(lambda: "alarm" in sink.control.kinds)  # type: ignore[attr-defined]
    sink.write(make_result(0, 1.5), None)
    assert sink.dropped == 1


def test_a_stream_that_is_killed_leaves_no_line_active_and_no_pulse_to_come(log: Path) -> None:
    text = f"""
import os, signal, sys, time
sys.path.insert(0, {str(gpio_double.ROOT)!r})
from pathlib import Path
from edge_ad.plc.gpio import GpioSink
from edge_ad.plc.gpio_options import GpioOptions
from edge_ad.plc.results import ResultRule
from tests.plc import gpio_double
from tests.plc.handmade import Running
from tests.streaming.fakes import FakeSource
from tests.streaming.results import make_result, wait_until
log = Path({str(log)!r})
sink = GpioSink(GpioOptions.parse({_ALL!r} + ",delay=60s"), ResultRule(), command=gpio_double.command(log))
sink.attach(Running())
sink.begin(FakeSource(None))
wait_until(lambda: ("ready", 1) in gpio_double.changes(log))
sink.write(make_result(0, 1.5, at=time.perf_counter()), None)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", text], check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: ("closed", 1) in gpio_double.changes(log))
    final = dict(gpio_double.changes(log))
    assert not any(final[name] for name in ("ok", "ng", "ready", "alive"))
    assert ("ng", 1) not in gpio_double.changes(log)


def test_a_chip_that_is_not_there_is_one_line() -> None:
    pytest.importorskip("gpiod", reason="the extra gpio is not installed")
    with pytest.raises(DeviceError, match="no GPIO chip /dev/gpiochip77"):
        GpioSink(GpioOptions.parse("gpiochip77,ng=1"), ResultRule())


def test_lines_that_cannot_be_had_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("gpiod", reason="the extra gpio is not installed")
    (tmp_path / "chip").touch()
    sink = GpioSink(GpioOptions.parse(f"{tmp_path / 'chip'},ng=1"), ResultRule())
    with pytest.raises(DeviceError, match="cannot be used"):
        sink.begin(FakeSource(None))
