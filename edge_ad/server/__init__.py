"""The HTTP server of a stream: the live page, metrics and the HTTP trigger, behind tokens."""

from edge_ad.server.access import Limits
from edge_ad.server.metrics import MetricsSink, metrics_sink
from edge_ad.server.page import PageSink, web_sink
from edge_ad.server.predictions import PredictionServer
from edge_ad.server.server import HttpServer
from edge_ad.server.trigger import HttpTrigger, http_trigger
from edge_ad.server.users import Role, User, read_users

__all__ = [
    "HttpServer",
    "HttpTrigger",
    "Limits",
    "MetricsSink",
    "PageSink",
    "PredictionServer",
    "Role",
    "User",
    "http_trigger",
    "metrics_sink",
    "read_users",
    "web_sink",
]
