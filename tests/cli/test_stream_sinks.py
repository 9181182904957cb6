"""What the sinks of a stream refuse before anything is opened, and what is said about its one HTTP server."""

from pathlib import Path

import pytest

from benchmarks.local_program import free_port
from edge_ad.cli.stream_outputs import Outputs
from edge_ad.cli.stream_setup import open_sinks
from edge_ad.errors import UsageError
from edge_ad.server import HttpServer


def test_a_limit_of_records_without_a_database_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a database") as refused:
        open_sinks(Outputs(keep_records_days=3.0), HttpServer())
    assert "--database" in (refused.value.hint or "")


def test_corrections_without_a_page_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--corrections has no effect without --web"):
        open_sinks(Outputs(corrections=tmp_path, headless=True), HttpServer())


def test_several_addresses_of_the_one_server_are_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    page, numbers = free_port(), free_port()
    open_sinks(Outputs(web=str(page), metrics=str(numbers), headless=True), HttpServer())
    assert capsys.readouterr().err.splitlines() == [
        f"Live page: http://127.0.0.1:{page}/",
        f"One HTTP server listens at http://127.0.0.1:{page}/ (everything), http://127.0.0.1:{numbers}/ (/metrics).",
    ]


def test_one_address_may_be_shared(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    open_sinks(Outputs(web=str(port), metrics=str(port), headless=True), HttpServer())
    assert capsys.readouterr().err.splitlines() == [f"Live page: http://127.0.0.1:{port}/"]


def test_token_of_metrics_that_others_can_read_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    server, port = HttpServer(), free_port()
    open_sinks(Outputs(metrics=f"0.0.0.0:{port}", headless=True), server)
    assert capsys.readouterr().err.splitlines() == [f"Token for this run: {server.token}"]
