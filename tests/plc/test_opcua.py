"""OPC UA against asyncua's client: nodes, events, methods, certificates, and a client that dies."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("asyncua", reason="asyncua is not installed")

from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography.x509.oid import ExtendedKeyUsageOID

from benchmarks.local_program import free_port
from edge_ad.cli.app import main
from edge_ad.errors import DeviceError, UsageError
from edge_ad.plc import OpcuaServer, ResultRule
from edge_ad.plc.opcua_security import CertificateFolder
from edge_ad.plc.opcua_types import MACHINE_VISION, OWN
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import Event, RecipeMark
from edge_ad.streaming.requests import RecipeAnswer
from edge_ad.streaming.session import Limits, run_stream
from tests.plc.handmade import Running
from tests.streaming.fakes import FakeEngine, FakeSource
from tests.streaming.results import PATIENCE_S, make_result, wait_until

BUNDLE = 4 * "89abcdef01234567"


class _Line:
    """A server and its sink, of a stream that runs."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.server = OpcuaServer(f"{host}:0", folder=folder)
        self.sink = self.server.sink(ResultRule())
        self.control = Running()
        self.sink.attach(self.control)
        self.sink.begin(FakeSource(None))
        self.url = f"opc.tcp://127.0.0.1:{self.server.port}/edge-ad"

    def put(self, *scores: float, first: int = 0) -> None:
        for index, score in enumerate(scores, first):
            self.sink.write(make_result(index, score), None)


def _client(url: str) -> Client:
    return Client(url, timeout=PATIENCE_S)


class _Plc:
    """What a client sees, by the names of the documentation."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.space = 0

    async def __aenter__(self) -> _Plc:
        await self.client.connect()
        await self.client.load_data_type_definitions()
        self.space = await self.client.get_namespace_index(OWN)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.disconnect()

    def node(self, name: str) -> Any:
        return self.client.get_node(ua.NodeId(f"VisionSystem{name}", self.space))

    async def read(self, name: str) -> Any:
        return await self.node(name).read_value()

    async def until(self, name: str, value: Any) -> None:
        limit = time.monotonic() + PATIENCE_S
        while (found := await self.read(name)) != value:
            assert time.monotonic() < limit, f"{name} does not become {value}: {found}"
            await asyncio.sleep(0.01)

    async def call(self, name: str, *values: Any) -> Any:
        parent, _, method = name.rpartition(".")
        return await self.node(parent).call_method(self.node(f"{parent}.{method}").nodeid, *values)


class _Heard:
    """Sequence numbers of the events that a subscription has brought."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.came = asyncio.Event()

    def event_notification(self, event: Any) -> None:
        self.events.append(event)
        self.came.set()

    @property
    def numbers(self) -> list[int]:
        return [event.SequenceNumber for event in self.events]

    async def until(self, count: int) -> None:
        while len(self.events) < count:
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), PATIENCE_S)


async def _hear(plc: _Plc, heard: _Heard) -> None:
    subscription = await plc.client.create_subscription(20, heard)
    types = [ua.NodeId("InspectionReadyEventType", plc.space)]
    await subscription.subscribe_events(plc.node(""), [plc.client.get_node(one) for one in types])


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Line]:
    line = _Line(tmp_path_factory.mktemp("opcua"))
    yield line
    line.sink.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Line]:
    """A server that other machines could reach."""
    line = _Line(tmp_path_factory.mktemp("guarded"), host="0.0.0.0")
    yield line
    line.sink.close()


def test_a_result_is_shown_as_plain_values_and_as_structures_of_the_standard(line: _Line) -> None:
    hot = np.zeros((48, 64), np.float32)
    hot[8:12, 20:30] = 3.0

    async def look() -> None:
        async with _Plc(_client(line.url)) as plc:
            before = await plc.read(".Latest.SequenceNumber")
            line.sink.write(make_result(0, 1.5, part="A-7", anomaly_map=hot, bundle=BUNDLE), None)
            await plc.until(".Latest.SequenceNumber", before + 1)
            shown = {name: await plc.read(f".Latest.{name}") for name in ("PartId", "Verdict", "Score", "Threshold")}
            assert shown == {"PartId": "A-7", "Verdict": 2, "Score": 1.5, "Threshold": 1.0}
            assert await plc.read(".Latest.BundleHash") == BUNDLE
            inspection = await plc.read(".Latest.Inspection")
            box = inspection.Regions[0]
            assert (box.X, box.Y, box.Width, box.Height, await plc.read(".Latest.RegionX")) == (20, 8, 10, 4, 20)
            result = await plc.read(".ResultManagement.Results.Latest")
            assert (result.PartId.Id, result.ResultState, result.IsPartial) == ("A-7", 1, False)
            assert result.ResultContent[0].Value == inspection
            handle, again, error = await plc.call(
                ".ResultManagement.GetResultById", result.ResultId, ua.Variant(0, ua.VariantType.Int32)
            )
            assert (handle, again, error) == (0, result, 0)

    asyncio.run(look())


def test_the_nodes_have_the_names_and_types_of_the_standard(line: _Line) -> None:
    async def look() -> None:
        async with _Plc(_client(line.url)) as plc:
            standard = await plc.client.get_namespace_index(MACHINE_VISION)
            root = plc.node("")
            assert await root.read_type_definition() == ua.NodeId(1003, standard)
            path = [f"{standard}:VisionStateMachine", f"{standard}:AutomaticModeStateMachine", "0:CurrentState", "0:Id"]
            state = await root.get_child(path)
            assert await state.read_value() == ua.NodeId(5059, standard)  # ContinuousExecution
            await root.get_child([f"{standard}:ResultManagement", f"{standard}:GetResultById"])
            with pytest.raises(ua.UaStatusCodeError):
                await plc.node(".Latest.Verdict").write_value(1, ua.VariantType.Int32)

    asyncio.run(look())


def test_a_client_that_knows_nothing_of_us_reads_the_structures(line: _Line) -> None:
    program = f"""
import asyncio
from asyncua import Client

async def look():
    async with Client({line.url!r}) as client:
        await client.load_data_type_definitions()
        space, standard = [await client.get_namespace_index(uri) for uri in ({OWN!r}, {MACHINE_VISION!r})]
        path = [f"{{space}}:VisionSystem"] + [f"{{standard}}:{{name}}" for name in ("ResultManagement", "Results")]
        results = await client.nodes.objects.get_child(path)
        result = await (await results.get_child([f"{{space}}:Latest"])).read_value()
        print(result.PartId.Id, result.ResultContent[0].Value.Score)

asyncio.run(look())
"""
    line.sink.write(make_result(0, 1.25, part="B-8", bundle=BUNDLE), None)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "B-8 1.25\n"


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_results_come_as_events_once_each_and_in_order(line: _Line, count: int) -> None:
    may_put = threading.Semaphore(250)

    def produce() -> None:
        for index in range(count):
            may_put.acquire()
            line.put(0.5, first=index)

    class Counting(_Heard):
        def event_notification(self, event: Any) -> None:
            super().event_notification(event)
            may_put.release()

    async def listen() -> list[int]:
        heard = Counting()
        async with _Plc(_client(line.url)) as plc:
            before = await plc.read(".Latest.SequenceNumber")
            await _hear(plc, heard)
            threading.Thread(target=produce, daemon=True).start()
            await heard.until(count)
            assert heard.events[0].Inspection.Score == 0.5
            assert heard.events[0].ResultId.Id.endswith(f"-{before + 1}")
        return [number - before for number in heard.numbers]

    assert asyncio.run(listen()) == list(range(1, count + 1))
    assert line.server.dropped == 0


def test_a_client_that_dies_and_returns_gets_what_it_missed(line: _Line) -> None:
    async def die_and_return() -> list[int]:
        heard = _Heard()
        first = _Plc(_client(line.url))
        await first.__aenter__()
        before = await first.read(".Latest.SequenceNumber")
        await _hear(first, heard)
        line.put(0.5, 0.5)
        await heard.until(2)
        first.client.uaclient.protocol.transport.abort()  # no goodbye: the cable is out
        await asyncio.to_thread(wait_until, lambda: line.server.clients == 0)
        line.put(1.5, 0.5)
        async with _Plc(_client(line.url)) as again:
            await again.until(".Latest.SequenceNumber", before + 4)
            missed, lost = await again.call(".GetResultsSince", ua.Variant(before + 2, ua.VariantType.UInt32))
            assert lost == 0
            got = [*heard.numbers, *(result.SequenceNumber for result in missed)]
            return [number - before for number in got]

    assert asyncio.run(die_and_return()) == [1, 2, 3, 4]


def test_a_client_of_an_earlier_run_gets_all_that_is_kept(line: _Line) -> None:
    async def ask() -> tuple[list[int], int]:
        async with _Plc(_client(line.url)) as plc:
            newest = await plc.read(".Latest.SequenceNumber")
            found, lost = await plc.call(".GetResultsSince", ua.Variant(newest + 5000, ua.VariantType.UInt32))
            return [result.SequenceNumber for result in found], lost

    line.put(0.5)
    wait_until(lambda: bool(line.server.since(0)[0]))
    numbers, lost = asyncio.run(ask())
    assert numbers[-1] - numbers[0] + 1 == len(numbers) > 0
    assert lost == numbers[0] - 1


def test_a_list_of_results_is_of_what_was_asked_for_or_refused(line: _Line) -> None:
    async def ask(state: int, part: str, job: str = "") -> list[tuple[str, int]]:
        async with _Plc(_client(line.url)) as plc:
            structure, whole = ua.VariantType.ExtensionObject, ua.VariantType.UInt32
            ids = (ua.RecipeIdExternalDataType, ua.RecipeIdInternalDataType, ua.ConfigurationIdDataType)
            kinds = (ua.MeasIdDataType, ua.PartIdDataType, *ids, ua.ConfigurationIdDataType, ua.ProductIdDataType)
            given = [ua.Variant(kind(Id=part if kind is ua.PartIdDataType else ""), structure) for kind in kinds]
            job_id = ua.Variant(ua.JobIdDataType(Id=job), structure)
            numbers = [ua.Variant(2, whole), ua.Variant(0, whole), ua.Variant(0, ua.VariantType.Int32)]
            answer = await plc.call(
                ".ResultManagement.GetResultListFiltered",
                ua.Variant(state, ua.VariantType.Int32),
                *given,
                job_id,
                *numbers,
            )
            return [(one.PartId.Id, one.ResultState) for one in answer[3]]

    line.put(0.5, 1.5, math.nan)
    wait_until(lambda: any(math.isnan(one.score) for one in line.server.since(0)[0][-1:]))
    newest = asyncio.run(ask(0, ""))
    assert [state for _, state in newest] == [4, 1]
    assert {state for _, state in asyncio.run(ask(1, ""))} == {1}
    assert asyncio.run(ask(0, newest[1][0])) == [newest[1]]
    with pytest.raises(ua.UaStatusCodeError, match="not supported"):
        asyncio.run(ask(0, "", job="another"))


def test_a_file_that_is_no_certificate_lets_nobody_in_and_shuts_nobody_out(tmp_path: Path) -> None:
    from asyncua.crypto import cert_gen
    from cryptography.hazmat.primitives.serialization import Encoding

    certificates = CertificateFolder(tmp_path / "own")
    asyncio.run(certificates.prepare("urn:line", "line"))
    key = cert_gen.generate_private_key()
    certificate = cert_gen.generate_self_signed_app_certificate(key, "plc", {}, [], [], 10).public_bytes(Encoding.DER)
    (certificates.trusted / "plc.der").write_bytes(certificate)
    (certificates.trusted / "a.der").mkdir()  # cannot be read as a file
    (certificates.trusted / "notes.txt").write_text("of the plant")
    assert certificates.trusts(certificate)
    assert not certificates.trusts(b"")


def test_under_a_fault_nothing_is_ok(line: _Line) -> None:
    async def look() -> None:
        async with _Plc(_client(line.url)) as plc:
            line.put(0.5)
            await plc.until(".Latest.IsOk", True)
            line.sink.event(Event("source lost", 0.0, "camera"))
            await plc.until(".Latest.IsOk", False)
            assert (await plc.read(".Status.Ready"), await plc.read(".Status.Fault")) == (False, 4)
            assert (await plc.read(".VisionStateMachine.CurrentState")).Text == "Error"
            assert (await plc.read(".SystemState")).State == 5
            line.sink.event(Event("source returned", 0.0, "camera"))
            await plc.until(".Latest.IsOk", True)

    asyncio.run(look())


def test_a_client_pauses_and_resumes_and_cannot_select_a_recipe(line: _Line) -> None:
    nothing = [ua.Variant(0, ua.VariantType.Int32), ua.Variant("", ua.VariantType.String)]

    async def call() -> None:
        async with _Plc(_client(line.url)) as plc:
            await plc.call(".Pause")
            await plc.until(".Status.Fault", 5)
            await plc.call(".Resume")
            await plc.until(".Status.Fault", 0)
            assert await plc.call(".VisionStateMachine.AutomaticModeStateMachine.Stop", *nothing) == 0
            assert line.control.is_paused
            await plc.call(".Resume")
            for name, values in (
                (".SelectRecipe", ["screws"]),
                (".Trigger", ["1"]),
                (".VisionStateMachine.Halt", nothing),
                (
                    ".RecipeManagement.PrepareRecipe",
                    [ua.RecipeIdExternalDataType(Id="screws"), ua.RecipeIdInternalDataType()],
                ),
            ):
                with pytest.raises(ua.uaerrors.BadNotSupported):
                    await plc.call(name, *values)

    asyncio.run(call())


def test_a_client_selects_and_prepares_recipes_and_is_told_why_not(line: _Line) -> None:
    mark, control, seen = RecipeMark("screws", BUNDLE), line.control, list[tuple[str, bool]]()

    def serve() -> None:
        asked = control.take_recipe_request()
        assert asked is not None
        seen.append((asked.name, asked.is_prepared_only))
        if asked.name != "screws":
            asked.answer.set_exception(UsageError(f"There is no recipe {asked.name}."))
            return
        if not asked.is_prepared_only:
            control.use_bundle(control.bundle, 1.0, mark, 7)
        asked.answer.set_result(RecipeAnswer(mark, 7, was_warm=True))

    control.serve_requests(serve, lambda: {"screws": 7})

    async def call() -> None:
        async with _Plc(_client(line.url)) as plc:
            with pytest.raises(ua.uaerrors.BadInvalidState):
                await plc.call(".SelectRecipe", "plates")
            assert await plc.read(".Status.RecipeRefusal") == "There is no recipe plates."
            external, internal = ua.RecipeIdExternalDataType(Id="screws"), ua.RecipeIdInternalDataType()
            found, is_complete, error = await plc.call(".RecipeManagement.PrepareRecipe", external, internal)
            assert (found.Id, found.Hash, is_complete, error) == ("screws", bytes.fromhex(BUNDLE), True, 0)
            assert await plc.read(".Status.Recipe") == ""
            await plc.call(".SelectRecipe", "screws")
            assert (await plc.read(".Status.Recipe"), await plc.read(".Status.RecipeHash")) == ("screws", BUNDLE)
            assert await plc.read(".Status.RecipeRefusal") == ""
            before = await plc.read(".Latest.SequenceNumber")
            line.sink.write(replace(make_result(0, 0.5), recipe=mark), None)
            await plc.until(".Latest.SequenceNumber", before + 1)
            assert (await plc.read(".ResultManagement.Results.Latest")).InternalRecipeId.Id == "screws"

    asyncio.run(call())
    control.serve_requests(lambda: None)
    assert seen == [("plates", False), ("screws", True), ("screws", False)]


def test_a_stream_answers_the_parts_that_a_client_asks_for(tmp_path: Path, engine: FakeEngine) -> None:
    server = OpcuaServer("127.0.0.1:0", folder=tmp_path)
    trigger = server.trigger()
    control, found = Running(), list[tuple[int, str]]()

    async def play() -> None:
        async with _Plc(_client(server.url)) as plc:
            await plc.until(".Status.Ready", True)
            assert await plc.call(".Trigger", "part 31") == "part 31"
            await plc.until(".Latest.SequenceNumber", 1)
            part = ua.PartIdDataType(Id="32")
            others = [ua.RecipeIdExternalDataType(), ua.ProductIdDataType(), ua.Variant([], ua.VariantType.Variant)]
            job, error = await plc.call(
                ".VisionStateMachine.AutomaticModeStateMachine.StartSingleJob", ua.MeasIdDataType(), part, *others
            )
            assert (job.Id, error) == ("32", 0)
            await plc.until(".Latest.SequenceNumber", 2)
            kept, _ = await plc.call(".GetResultsSince", ua.Variant(0, ua.VariantType.UInt32))
            found.extend((result.SequenceNumber, result.PartId) for result in kept)

    def run() -> None:
        try:
            wait_until(lambda: server.port > 0)
            asyncio.run(play())
        finally:
            control.stop()

    player = threading.Thread(target=run)
    player.start()
    summary = run_stream(
        engine,
        FakeSource(None, is_live=True, interval_s=0.005),
        threshold=9.0,
        control=control,
        sinks=[server.sink(ResultRule())],
        filters=FilterOptions(trigger=trigger),
        limits=Limits(max_seconds=120),
    )
    player.join()
    assert found == [(1, "part 31"), (2, "32")]
    assert (summary.ended_by, summary.frames) == ("stopped", 2)


def test_a_result_that_comes_after_the_next_part_was_asked_for_is_ok_for_nobody(tmp_path: Path) -> None:
    line = _Line(tmp_path)
    trigger = line.server.trigger()
    assert line.server.ask("A") == "A"
    assert trigger.fires(make_result(0, at=time.perf_counter() + 1).frame)
    assert line.server.ask("B") == "B"
    line.sink.write(make_result(0, 0.5, part="A"), None)
    seen = asyncio.run(_latest(line.url, 1))
    line.sink.write(make_result(1, 0.5, part="B"), None)
    assert [seen, asyncio.run(_latest(line.url, 2))] == [("A", False), ("B", True)]
    line.sink.close()


async def _latest(url: str, sequence: int) -> tuple[str, bool]:
    async with _Plc(_client(url)) as plc:
        await plc.until(".Latest.SequenceNumber", sequence)
        return await plc.read(".Latest.PartId"), await plc.read(".Latest.IsOk")


def test_a_server_that_cannot_start_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "own.key").write_text("without its certificate")
    server, before = OpcuaServer("127.0.0.1:0", folder=tmp_path), set(threading.enumerate())
    with pytest.raises(UsageError, match=r"no own\.der"):
        server.open()
    wait_until(lambda: set(threading.enumerate()) <= before)


async def _client_with_certificate(url: str, folder: Path, server: OpcuaServer) -> Client:
    uri, key, certificate = f"urn:{folder.name}:plc", folder / "plc.pem", folder / "plc.der"
    folder.mkdir(exist_ok=True)
    await setup_self_signed_certificate(
        key, certificate, uri, socket.gethostname(), [ExtendedKeyUsageOID.CLIENT_AUTH], {}
    )
    client = _client(url)
    client.application_uri = uri
    await client.set_security(
        SecurityPolicyBasic256Sha256, certificate, key, server_certificate=server.certificates.certificate
    )
    return client


def test_elsewhere_only_clients_whose_certificate_is_trusted_may_do_anything(guarded: _Line, tmp_path: Path) -> None:
    line, certificates = guarded, guarded.server.certificates

    async def knock() -> None:
        with pytest.raises((ua.UaError, ConnectionError, asyncio.TimeoutError, TimeoutError)):
            async with _Plc(Client(line.url, timeout=2)) as anonymous:
                await anonymous.read(".Latest.Verdict")
        client = await _client_with_certificate(line.url, tmp_path / "plc", line.server)
        with pytest.raises(ua.UaError):
            async with _Plc(client) as unknown:
                await unknown.read(".Latest.Verdict")
        (rejected,) = certificates.rejected.glob("*.der")
        rejected.rename(certificates.trusted / "plc.der")
        client = await _client_with_certificate(line.url, tmp_path / "plc", line.server)
        async with _Plc(client) as known:
            assert (await known.read(".Latest.Verdict"), await known.read(".Latest.IsOk")) == (0, False)
            assert math.isnan(await known.read(".Latest.Score"))

    asyncio.run(knock())
    assert certificates.key.stat().st_mode & 0o077 == 0


def test_on_a_channel_without_security_nobody_gets_in_from_elsewhere(guarded: _Line) -> None:
    line = guarded

    async def sneak() -> None:
        client = _client(line.url)
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
            await client.uaclient.create_session(_session_parameters(line.url))
            with pytest.raises(ua.uaerrors.BadSessionNotActivated):
                await client.get_node(ua.NodeId("VisionSystem.Latest.Verdict", 3)).read_value()
            token = ua.ActivateSessionParameters(UserIdentityToken=ua.AnonymousIdentityToken(PolicyId="anonymous"))
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await client.uaclient.activate_session(token)
        finally:
            client.disconnect_socket()

    asyncio.run(sneak())


def _session_parameters(url: str) -> Any:
    parameters = ua.CreateSessionParameters()
    parameters.EndpointUrl, parameters.SessionName, parameters.ClientNonce = url, "sneak", 32 * b"1"
    parameters.RequestedSessionTimeout = 60_000
    return parameters


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match="in use") as failure:
            OpcuaServer(f"127.0.0.1:{port}", folder=tmp_path)
    assert "--opcua" in failure.value.hint


def test_a_port_that_another_program_takes_before_the_stream_begins_is_one_line(tmp_path: Path) -> None:
    port = free_port()
    server = OpcuaServer(f"127.0.0.1:{port}", folder=tmp_path)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(DeviceError, match=f"port {port} .* in use"):
        server.open()


def test_certificates_without_a_server_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    words = ["--source", str(tmp_path / "images"), "--headless", "--opcua-certificates", str(tmp_path)]
    assert main(["stream", *words]) == 2
    assert "--opcua-certificates has no effect" in capsys.readouterr().err
