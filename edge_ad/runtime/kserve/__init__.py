"""Engines on a model server that speaks KServe's protocol v2 over gRPC: Triton, OpenVINO Model Server, KServe."""

from edge_ad.runtime.kserve.address import ServerAddress, parse_server_address
from edge_ad.runtime.kserve.engine import KServeEngine, served_engine

__all__ = ["KServeEngine", "ServerAddress", "parse_server_address", "served_engine"]
