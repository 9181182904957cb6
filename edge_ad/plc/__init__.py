"""Servers through which a PLC gets verdicts and asks for them: Modbus TCP and OPC UA."""

from edge_ad.plc.modbus import ModbusServer
from edge_ad.plc.opcua import OpcuaServer
from edge_ad.plc.results import ResultRule
from edge_ad.plc.server import PlcServer

__all__ = ["ModbusServer", "OpcuaServer", "PlcServer", "ResultRule"]
