"""How a PLC gets verdicts and asks for them: Modbus TCP, OPC UA, and digital outputs."""

from edge_ad.plc.gpio import GpioSink
from edge_ad.plc.gpio_options import GpioOptions
from edge_ad.plc.modbus import ModbusServer
from edge_ad.plc.opcua import OpcuaServer
from edge_ad.plc.results import ResultRule
from edge_ad.plc.server import PlcServer

__all__ = ["GpioOptions", "GpioSink", "ModbusServer", "OpcuaServer", "PlcServer", "ResultRule"]
