"""``edge-ad follow``: a folder that stays at what a tag names."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_json, print_line
from edge_ad.cli.options import (
    LONGEST_WATCH_S,
    AnyProductOption,
    BackendOption,
    JsonOption,
    OptionalValueCommand,
    PlainHttpOption,
    TrustOption,
)
from edge_ad.credentials import WEB_TOKEN, credential
from edge_ad.errors import EdgeAdError, UsageError

if TYPE_CHECKING:
    from edge_ad.fleet.report import DeviceReport
    from edge_ad.fleet.state import FollowState

__all__ = ["COMMAND", "follow"]


class FollowCommand(OptionalValueCommand):
    """Accepts ``--metrics`` without an address."""

    may_be_bare = frozenset({"--metrics"})


COMMAND = FollowCommand


def follow(
    reference: Annotated[str, typer.Argument(metavar="REGISTRY/NAME:TAG", help="The tag to follow.")],
    into: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the bundle, for stream --watch-bundle.")],
    every: Annotated[
        float, typer.Option(min=1.0, max=LONGEST_WATCH_S, metavar="S", help="Seconds between two looks at the tag.")
    ] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    backend: BackendOption = "auto",
    build: Annotated[bool, typer.Option("--build/--no-build", help="Build the engine of this device.")] = True,
    golden: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with OK and NG: photos that a new bundle must judge so."),
    ] = None,
    trust: TrustOption = None,
    health: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Metrics of the stream: http://127.0.0.1:9464/metrics. Go back if it suffers."
        ),
    ] = None,
    trial: Annotated[float, typer.Option(min=0.0, metavar="S", help="How long a new bundle is tried.")] = 120.0,
    min_fps: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Smallest share of the frames per second of before.")
    ] = 0.8,
    max_defective: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Largest share of defective frames during the trial.")
    ] = 1.0,
    mqtt: Annotated[
        str | None, typer.Option(metavar="URL", help="Publish the state, retained, at mqtt://host/prefix.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="[HOST:PORT]", help="Serve the state for Prometheus; 127.0.0.1:9465 if nothing is given."),
    ] = None,
    plain_http: PlainHttpOption = False,
    any_product: AnyProductOption = False,
    as_json: JsonOption = False,
) -> None:
    """Follow a tag of a registry: pull what it names, build its engine, verify it, and swap the folder.

    A bundle that is not signed as asked, is damaged or of another product, does not give its trained numbers here or
    judges a golden photo wrongly is refused, and the present one stays. With --health, the stream that uses the folder
    is watched for a while; if it suffers, the folder goes back. A refused bundle is not tried again. While the registry
    is away, the device keeps what it has.

    Raises:
        UsageError: The reference, the folder or an address cannot be used.
        EdgeAdError: With --once, the tag's bundle is not in use afterwards.
    """
    from edge_ad.fleet import ArtifactReference, read_public_key
    from edge_ad.fleet.follow import Follower, FollowOptions
    from edge_ad.fleet.health import HealthLimits, read_health
    from edge_ad.fleet.preparation import Preparation, check_golden_folder
    from edge_ad.fleet.publisher import ReportPublisher
    from edge_ad.fleet.report import DeviceReport
    from edge_ad.streaming.mqtt import Broker

    tag = ArtifactReference.parse(reference)
    if tag.is_pinned:
        raise UsageError("A digest never changes: there is nothing to follow.", "Name a tag, or use edge-ad pull.")
    if golden is not None:
        check_golden_folder(golden)
    limits = HealthLimits(least_fps_share=min_fps, most_defective_share=max_defective)
    keys = tuple(read_public_key(path) for path in trust or ())
    options = FollowOptions(keys, plain_http, any_product, health, limits, trial)
    if health is not None:
        read_health(health)  # a wrong address is refused now
    with ExitStack() as stack:
        broker = None if mqtt is None else Broker.parse(mqtt)
        tellers: list[Callable[[DeviceReport], None]] = []
        if broker is not None:
            tellers.append(stack.enter_context(ReportPublisher(broker)).publish)
        if metrics is not None:
            name = socket.gethostname() if broker is None else broker.prefix()
            tellers.append(stack.enter_context(_served(metrics, name)))

        def tell(state: FollowState) -> None:
            is_watched = health is not None
            report = DeviceReport.of(state, every_s=every, is_watched=is_watched, health=follower.health)
            for teller in tellers:
                teller(report)

        steps = Preparation(backend=backend, builds=build, golden=golden, log=note).steps()
        follower = Follower(tag, into, steps, options, tell=tell, log=note)
        stack.enter_context(follower.alone())
        while True:
            state = follower.check()
            if once:
                _report(state, as_json=as_json)
                return
            time.sleep(every)


@contextmanager
def _served(metrics: str, name: str) -> Iterator[Callable[[DeviceReport], None]]:
    """Inside, what the given function was told last is served for Prometheus."""
    from edge_ad.fleet.devices import OwnDevice
    from edge_ad.listen_address import parse_address
    from edge_ad.server import HttpServer
    from edge_ad.server.fleet import DeviceMetrics

    own, server = OwnDevice(name), HttpServer(credential(WEB_TOKEN))
    part = DeviceMetrics(server, parse_address(metrics, port=9465, option="--metrics"), own.seen)
    server.open()
    try:
        if server.is_new_token:
            note(f"Token: {server.token}")
        note(f"Metrics: {part.where().url}metrics")
        yield own.tell
    finally:
        server.close()


def _report(state: FollowState, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
    else:
        print_line(f"{state.step} {state.digest}".rstrip())
    if state.step != "current":
        raise EdgeAdError(f"The bundle of {state.reference} is not in use: {state.step}. {state.message}")
