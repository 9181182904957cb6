"""``edge-ad serve``: verdicts on photos that others send."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_ad.cli.console import note
from edge_ad.cli.options import (
    AnyProductOption,
    BackendOption,
    PlainHttpOption,
    PrecisionOption,
    TargetArgument,
    ThreadsOption,
    TrustOption,
)
from edge_ad.credentials import WEB_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_ad.detector import Detector
    from edge_ad.server import HttpServer

__all__ = ["serve"]

_LOOK_S = 0.5
_MOST_BYTES, _LONGEST_BODY_S = 64 << 20, 30.0


def serve(
    target: TargetArgument,
    address: Annotated[
        str, typer.Option("--listen", metavar="[HOST:]PORT", help="Where; by default for this machine only.")
    ] = "127.0.0.1:8090",
    token: Annotated[
        str | None,
        typer.Option("--web-token", envvar=WEB_TOKEN, help="What other machines must send; else one is made."),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--web-host",
            metavar="NAME",
            help="Host name under which a reverse proxy on this machine serves it. Repeatable.",
        ),
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 0,
    trust: TrustOption = None,
    plain_http: PlainHttpOption = False,
    any_product: AnyProductOption = False,
) -> None:
    """Judge photos that are sent by HTTP: POST /predict, with an image file as the body.

    Photos that wait are judged together. What cannot be judged is answered with 422 and the reason, never with OK.
    """
    from edge_ad.cli.bundle_places import opened_detector
    from edge_ad.cli.stream_options import Registry, StreamEngine
    from edge_ad.listen_address import parse_address
    from edge_ad.server import HttpServer, Limits, PredictionServer
    from edge_ad.verdict_report import judge_contents

    limits = Limits(body_bytes=_MOST_BYTES, body_s=_LONGEST_BODY_S)
    server = HttpServer(token, hosts=hosts or (), limits=limits)
    where = parse_address(address, port=8090, option="--listen")
    engine = StreamEngine(backend=backend, precision=precision, threads=threads, takes_any_product=any_product)
    with opened_detector(target, engine, Registry(trust, plain_http)) as detector:

        def judge(photos: Sequence[tuple[str, bytes]]) -> list[Mapping[str, Any]]:
            return [verdict.to_dict() for verdict in judge_contents(detector, photos)]

        part = PredictionServer(server, where, judge, _facts(detector), detector.batch_size)
        server.open()
        try:
            _tell(server, part.where().url)
            while not threading.Event().wait(_LOOK_S):
                server.check()
        finally:
            server.close()


def _facts(detector: Detector) -> dict[str, Any]:
    return {
        "product": detector.product,
        "method": detector.method,
        "engine": detector.engine,
        "threshold": detector.threshold,
    }


def _tell(server: HttpServer, url: str) -> None:
    if server.is_new_token:
        note(f"Token: {server.token}")
    header = " -H 'Authorization: Bearer TOKEN'" if server.token else ""
    note(f"Judging photos at {url}predict (Ctrl-C ends it).")
    note(f"curl{header} --data-binary @photo.png '{url}predict?id=part-1'")
