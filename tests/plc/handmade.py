"""Results made by hand, a stream that runs, and a client's view of the Modbus map."""

from __future__ import annotations

from dataclasses import replace

from pymodbus.client import ModbusTcpClient

from edge_ad.plc.results import PartResult, VerdictCode
from edge_ad.streaming.progress import Progress
from tests.streaming.results import PATIENCE_S, Told


def part_result(sequence: int = 1, **changes: object) -> PartResult:
    made = PartResult(sequence, sequence, "", VerdictCode.OK, "", 0.5, 1.0)
    return replace(made, **changes)  # type: ignore[arg-type]


class Running(Told):
    """The control of a stream that runs, whose progress a test may change."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Progress(seconds=1.0)
        self.report_from(lambda: self.now)


class Plc:
    """A Modbus client, which reads the map as a PLC would: from the table of the documentation."""

    def __init__(self, port: int) -> None:
        self.client = ModbusTcpClient("127.0.0.1", port=port, timeout=PATIENCE_S)
        assert self.client.connect()

    def bits(self) -> list[bool]:
        return list(self.client.read_discrete_inputs(0, count=16).bits)

    def registers(self) -> list[int]:
        return list(self.client.read_input_registers(0, count=56).registers)

    def number(self, first: int) -> int:
        words = self.client.read_input_registers(first, count=2).registers
        kind = self.client.DATATYPE.UINT32
        return int(self.client.convert_from_registers(words, kind))  # type: ignore[call-overload]

    def real(self, first: int) -> float:
        words = self.client.read_input_registers(first, count=2).registers
        found = self.client.convert_from_registers(words, self.client.DATATYPE.FLOAT32)
        assert isinstance(found, float)
        return found

    def acknowledge(self, sequence: int) -> None:
        self.client.write_registers(100, [sequence >> 16, sequence & 0xFFFF])

    def set(self, coil: int, is_set: bool) -> None:
        assert not self.client.write_coil(coil, is_set).isError()

    def close(self) -> None:
        self.client.close()
