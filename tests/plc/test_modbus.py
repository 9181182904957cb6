"""Modbus TCP against clients that are not ours: pymodbus's and mbpoll."""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pymodbus", reason="pymodbus is not installed")

from pymodbus.exceptions import ModbusException

from edge_ad.cli.app import main
from edge_ad.errors import DeviceError
from edge_ad.plc import ModbusServer, ResultRule
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import NO_RECIPE, Event, RecipeMark
from edge_ad.streaming.golden import GoldenPlan
from edge_ad.streaming.golden.state import Judged
from edge_ad.streaming.requests import RecipeAnswer
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sinks import Sink
from tests.plc.handmade import Plc, Running
from tests.streaming.fakes import FakeEngine, FakeSource
from tests.streaming.results import PATIENCE_S, make_result, wait_until

READY, BUSY, OK, NG, FAULT, _, VALID, WAITING, LOST, ACCEPTED, REFUSED, ALARM = range(12)
ACKNOWLEDGE, TRIGGER = 0, 1
BUNDLE = "89abcdef" + 56 * "0"


class _Line:
    """A server and its sink, of a stream that runs."""

    def __init__(self, *, timeout_s: float | None = None) -> None:
        self.server = ModbusServer("127.0.0.1:0", timeout_s=timeout_s, end_s=30.0)
        self.sink: Sink = self.server.sink(ResultRule())
        self.control = Running()
        self.sink.attach(self.control)
        self.sink.begin(FakeSource(None))

    def put(self, *scores: float) -> None:
        for index, score in enumerate(scores):
            self.sink.write(make_result(index, score), None)


@pytest.fixture
def line() -> Iterator[_Line]:
    line = _Line()
    yield line
    line.sink.close()


@pytest.fixture
def plc(line: _Line) -> Iterator[Plc]:
    plc = Plc(line.server.port)
    yield plc
    plc.close()


def test_before_the_first_result_it_is_ready_and_says_neither_ok_nor_ng(plc: Plc) -> None:
    bits, registers = plc.bits(), plc.registers()
    assert (bits[READY], bits[FAULT], bits[OK], bits[NG], bits[VALID]) == (True, False, False, False, False)
    assert (registers[1], plc.number(2), registers[6]) == (0, 0, 0)
    assert math.isnan(plc.real(8))


def test_a_result_is_read_by_the_documented_map(line: _Line, plc: Plc) -> None:
    hot = np.zeros((48, 64), np.float32)
    hot[8:12, 20:30] = 3.0
    line.sink.write(make_result(0, 1.5, part="70000", anomaly_map=hot, bundle=BUNDLE), None)
    bits, registers = plc.bits(), plc.registers()
    assert (bits[OK], bits[NG], bits[VALID]) == (False, True, True)
    assert [plc.number(place) for place in (2, 4, 20, 22)] == [1, 70000, 0x89ABCDEF, 1_700_000_000]
    assert (registers[6], registers[7], plc.real(8), plc.real(10)) == (2, 0, 1.5, 1.0)
    assert registers[12:20] == [1, 20, 8, 10, 4, 1, 1, 1]
    assert bytes(byte for word in registers[40:56] for byte in divmod(word, 256)).rstrip(b"\0") == b"70000"
    assert registers[0] == sum(1 << bit for bit, is_set in enumerate(bits) if is_set and bit != 5) | registers[0] & 32
    assert plc.client.read_holding_registers(2, count=22).registers == registers[2:24]


def test_the_next_result_comes_after_the_acknowledgement_by_the_bit(line: _Line, plc: Plc) -> None:
    line.put(0.5, 1.5)
    assert (plc.number(2), plc.bits()[OK], plc.bits()[WAITING], plc.bits()[BUSY]) == (1, True, True, True)
    plc.set(ACKNOWLEDGE, True)
    bits = plc.bits()
    assert (plc.number(2), bits[VALID], bits[OK]) == (1, False, False)
    plc.set(ACKNOWLEDGE, False)
    assert (plc.number(2), plc.bits()[NG], plc.bits()[WAITING]) == (2, True, False)


def test_a_client_can_neither_change_results_nor_reach_beyond_the_map(plc: Plc) -> None:
    for answer in (
        plc.client.write_register(6, 1),
        plc.client.write_registers(98, [0, 0, 0]),
        plc.client.write_register(106, 1),
        plc.client.write_coil(40, True),
        plc.client.read_input_registers(50, count=20),
    ):
        assert answer.isError()
    assert plc.registers()[6] == 0


@pytest.mark.parametrize("kind", ["source lost", "paused", "stop"])
def test_under_a_fault_nothing_is_ok(line: _Line, plc: Plc, kind: str) -> None:
    line.put(0.5)
    assert plc.bits()[OK]
    line.control.pause("me") if kind == "paused" else line.control.stop() if kind == "stop" else None
    line.sink.event(Event(kind, 0.0, "camera"))
    bits = plc.bits()
    assert (bits[READY], bits[FAULT], bits[OK]) == (False, True, False)
    assert plc.registers()[1] == {"source lost": 4, "paused": 5, "stop": 2}[kind]


def test_ten_thousand_results_come_once_each_and_in_order(line: _Line, plc: Plc) -> None:
    count, may_put = 10_000, threading.Semaphore(500)
    results = [make_result(index % 2, index % 2, part=str(index)) for index in range(1, count + 1)]

    def produce() -> None:
        for result in results:
            may_put.acquire()
            line.sink.write(result, None)

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    seen: list[tuple[int, int]] = []
    while len(seen) < count:  # one request acknowledges what was read before, and reads
        last = seen[-1][0] if seen else 0
        answer = plc.client.readwrite_registers(
            read_address=0, read_count=6, write_address=100, values=[last >> 16, last & 0xFFFF]
        )
        status, _, *words = answer.registers
        sequence, part = words[0] << 16 | words[1], words[2] << 16 | words[3]
        if status >> VALID & 1 and sequence != last:
            seen.append((sequence, part))
            may_put.release()
    producer.join()
    assert seen == [(number, number) for number in range(1, count + 1)]
    assert [plc.number(24), plc.number(26)] == [0, 0]


def test_a_client_that_dies_and_returns_misses_nothing(line: _Line) -> None:
    first = Plc(line.server.port)
    line.put(0.5, 0.5)
    assert first.number(2) == 1
    first.client.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: line.server.clients == 0)
    first.close()
    line.put(1.5)
    again, seen = Plc(line.server.port), []
    while again.bits()[VALID]:
        seen.append(again.number(2))
        again.acknowledge(seen[-1])
    again.close()
    assert seen == [1, 2, 3]


def test_what_nobody_takes_is_counted_raised_as_alarm_and_shown(plc: Plc, line: _Line) -> None:
    line.put(*[0.5] * 1003)
    assert (plc.number(24), plc.registers()[28], plc.bits()[LOST]) == (2, 1000, True)
    assert line.control.kinds == ["alarm"]
    assert line.sink.dropped == 2
    plc.acknowledge(1)
    assert plc.number(2) == 4


def test_a_time_out_puts_out_the_next_one() -> None:
    line = _Line(timeout_s=0.01)
    plc = Plc(line.server.port)
    line.put(0.5, 0.5)
    wait_until(lambda: plc.number(26) == 2)
    assert plc.number(2) == 2
    plc.close()
    line.sink.close()


def test_a_stream_answers_the_parts_that_the_plc_asks_for(engine: FakeEngine) -> None:
    server = ModbusServer("127.0.0.1:0")
    trigger = server.trigger()
    source, found = FakeSource(None, is_live=True, interval_s=0.005), list[tuple[int, int]]()
    control = Running()

    def play() -> None:
        wait_until(lambda: server.port > 0)
        plc = Plc(server.port)
        wait_until(lambda: plc.bits()[READY])
        for number in (31, 32):
            plc.client.write_registers(102, [0, number])
            plc.set(TRIGGER, True)
            assert plc.bits()[ACCEPTED]
            wait_until(lambda: plc.bits()[VALID])
            found.append((plc.number(2), plc.number(4)))
            plc.acknowledge(plc.number(2))
            assert not plc.bits()[BUSY]
            plc.set(TRIGGER, False)
        assert not plc.bits()[ACCEPTED]
        control.stop()
        plc.close()

    player = threading.Thread(target=play)
    player.start()
    summary = run_stream(
        engine,
        source,
        threshold=9.0,
        control=control,
        sinks=[server.sink(ResultRule())],
        filters=FilterOptions(trigger=trigger),
        limits=Limits(max_seconds=120),
    )
    player.join()
    assert found == [(1, 31), (2, 32)]
    assert (summary.ended_by, summary.frames) == ("stopped", 2)


class _BlockedEngine(FakeEngine):
    """Gives no result for a frame until it is let go; the grey image of the warm-up passes."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go = threading.Event()

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if (images != 127).any():
            self.may_go.wait(PATIENCE_S)
        return super()._infer(images)


def test_a_stalled_engine_is_a_fault_until_it_gives_results_again() -> None:
    server, control, seen = ModbusServer("127.0.0.1:0"), Running(), list[int]()

    def play(engine: _BlockedEngine) -> None:
        try:
            wait_until(lambda: server.port > 0)
            plc = Plc(server.port)
            for fault in (3, 0):
                wait_until(lambda fault=fault: plc.registers()[1] == fault)  # type: ignore[misc]
                seen.append(fault)
                engine.may_go.set()
            plc.close()
        finally:
            engine.may_go.set()
            control.stop()

    with _BlockedEngine() as engine:
        player = threading.Thread(target=play, args=(engine,))
        player.start()
        source = FakeSource(None, is_live=True, interval_s=0.005)
        sinks = [server.sink(ResultRule())]
        run_stream(engine, source, threshold=9.0, control=control, sinks=sinks, limits=Limits(max_seconds=60))
        player.join()
    assert seen == [3, 0]


def test_at_the_end_the_plc_is_told_and_may_take_what_waits(line: _Line, plc: Plc) -> None:
    line.put(0.5, 1.5)
    wait_until(lambda: line.server.clients == 1)  # for a client that has not come the end does not wait
    closing = threading.Thread(target=line.sink.close)
    closing.start()
    wait_until(lambda: plc.registers()[1] == 2)
    assert [plc.bits()[bit] for bit in (READY, OK, VALID)] == [False, False, True]
    plc.acknowledge(1)
    with suppress(OSError, ModbusException):  # the server has nothing to wait for then, and may end before it answers
        plc.acknowledge(2)
    closing.join()
    assert line.sink.dropped == 0


def test_a_trigger_is_refused_while_the_stream_is_not_ready(line: _Line, plc: Plc) -> None:
    line.server.trigger()
    line.control.pause("me")
    line.sink.event(Event("paused", 0.0))
    plc.set(TRIGGER, True)
    bits = plc.bits()
    assert (bits[ACCEPTED], bits[REFUSED], bits[BUSY]) == (False, True, False)


def test_a_recipe_is_selected_by_its_number_and_told(line: _Line, plc: Plc) -> None:
    line.control.serve_requests(lambda: None, lambda: {"screws": 7, "plates": 8})
    assert plc.registers()[33:37] == [0, 0, 0, 0]
    plc.client.write_registers(104, [0, 7])
    assert plc.registers()[36] == 1
    asked = line.control.take_recipe_request()
    assert asked is not None
    assert (asked.name, asked.by) == ("screws", "the PLC (Modbus)")
    mark = RecipeMark("screws", "89abcdef" + 56 * "0")
    line.control.use_bundle(line.control.bundle, 1.0, mark, 7)
    asked.answer.set_result(RecipeAnswer(mark, 7, was_warm=True))
    assert plc.registers()[33:37] == [7, 0x89AB, 0xCDEF, 2]
    plc.client.write_registers(104, [0, 7])  # a PLC writes its outputs again and again
    assert line.control.take_recipe_request() is None
    plc.client.write_registers(104, [0, 9])
    assert plc.registers()[33:37] == [7, 0x89AB, 0xCDEF, 3]


def test_a_golden_check_is_told_and_one_that_failed_is_a_fault(line: _Line, plc: Plc) -> None:
    parts = [{"id": "M1", "expect": "OK"}, {"id": "M2", "expect": "NG"}]
    golden = line.control.golden
    golden.use(GoldenPlan.model_validate({"every": "8h", "parts": parts}), NO_RECIPE, 1.0)
    assert (plc.registers()[37], plc.bits()[12:14], plc.bits()[READY]) == (2, [True, False], True)
    for part in ("M1", "M2"):
        golden.judged(Judged(part, "", "OK", 0.5, 1.0, "b1", 7.0))
    line.sink.event(Event("golden check failed", 0.0))
    assert (plc.registers()[1], plc.registers()[37], plc.bits()[12:14]) == (7, 5, [False, True])
    assert not plc.bits()[READY]


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match="in use") as failure:
            ModbusServer(f"127.0.0.1:{port}")
    assert "--modbus" in failure.value.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plc-timeout", "1"], "--plc-timeout has no effect"),
        (["--trigger", "modbus"], "--modbus HOST:PORT"),
        (["--modbus", "127.0.0.1:0", "--trigger", "modbus:9"], "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (tmp_path / "images").mkdir()
    assert main(["stream", "--source", str(tmp_path / "images"), "--headless", *words]) == 2
    assert said in capsys.readouterr().err


def test_without_the_option_nothing_of_it_is_imported() -> None:
    program = "import sys, edge_ad.cli.stream, edge_ad.cli.stream_setup, edge_ad.streaming.sinks, edge_ad.plc\n"
    program += "print([name for name in ('pymodbus', 'asyncua') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="there is no mbpoll here: apt-get install mbpoll")
def test_mbpoll_reads_score_and_verdict_and_acknowledges(line: _Line) -> None:
    line.put(1.5)

    def mbpoll(*words: str) -> str:
        command = ["mbpoll", "-0", "-1", "-q", "-p", str(line.server.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "1.5" in mbpoll("-t", "3:float", "-B", "-r", "8", "127.0.0.1")
    assert "[6]: \t2" in mbpoll("-t", "3", "-r", "6", "127.0.0.1")
    mbpoll("-t", "4", "-r", "100", "127.0.0.1", "0", "1")
    assert "[6]: \t0" in mbpoll("-t", "1", "-r", "6", "127.0.0.1")
