"""The page of a fleet: its data, its metrics, its rules, and what a person sees in a real browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_ad.fleet.devices import Devices
from edge_ad.listen_address import parse_address
from edge_ad.server import HttpServer, Role, User
from edge_ad.server.fleet import FleetPage
from tests.fleet.test_devices import report
from tests.server.browser import Browser
from tests.streaming.results import wait_until

_ROOT = Path(__file__).parents[2]
_HOSTILE = "<img src=x onerror=alert(1)>" + "w" * 120
_DIGEST = f"sha256:{'0123456789ab' * 5}cdef"


class Fleet:
    """A page of devices, without a broker."""

    def __init__(self, server: HttpServer, address: str) -> None:
        self.devices, self.is_connected = Devices(most=4), True
        where = parse_address(address, option="--listen")
        self._page = FleetPage(
            server,
            where,
            self.devices.seen,
            broker="broker.plant:1883",
            is_connected=lambda: self.is_connected,
            left_out=lambda: self.devices.left_out,
        )

    @property
    def url(self) -> str:
        return self._page.where().url

    def get(self, path: str, token: str = "", method: str = "GET") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        asked = urllib.request.Request(f"{self.url}{path}", headers=headers, method=method)
        try:
            with urllib.request.urlopen(asked) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def running(server: HttpServer | None = None, address: str = "127.0.0.1:0") -> Iterator[Fleet]:
    server = server or HttpServer()
    fleet = Fleet(server, address)
    server.open()
    try:
        yield fleet
    finally:
        server.close()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with running() as found:
        yield found


def fill(devices: Devices) -> None:
    health = {"fps": 29.6, "alarms": 0}
    devices.take("line-1/bundle", report(digest=_DIGEST, stream="answers", health=health, at=4e9), is_retained=False)
    devices.take("line-2/bundle", report("rolled back", message="12 instead of 30 fps"), is_retained=False)
    devices.take("line-3/bundle", report(), is_retained=True)  # of long ago
    devices.take(f"{_HOSTILE}/bundle", report("waiting", message=_HOSTILE), is_retained=False)
    devices.take("line-3/agent", b"offline", is_retained=True)


def test_the_data_and_the_metrics_say_how_devices_stand(fleet: Fleet) -> None:
    fill(fleet.devices)
    facts = json.loads(fleet.get("api/devices")[1])
    assert [device["name"] for device in facts["devices"]] == ["line-2", "line-3", _HOSTILE, "line-1"]
    assert facts["counts"] == {"failed": 1, "lost": 1, "waiting": 1, "working": 0, "current": 1}
    assert facts["devices"][1]["is_online"] is False
    assert facts["broker"] == {"address": "broker.plant:1883", "is_connected": True}
    status, text = fleet.get("metrics")
    assert status == 200
    assert 'edge_ad_device_stale{device="line-3"} 1.0' in text


def test_every_role_sees_the_page_and_nobody_changes_anything() -> None:
    users = [User("Ada", Role.VIEWER, "viewer-of-the-fleet"), User("Bob", Role.ENGINEER, "engineer-of-the-fleet")]
    with running(HttpServer(users=users)) as fleet:
        assert fleet.get("api/devices")[0] == 401
        assert fleet.get("metrics")[0] == 401
        assert fleet.get("api/devices", "viewer-of-the-fleet")[0] == 200
        assert "Fleet" in fleet.get("", "viewer-of-the-fleet")[1]
        for path in ("api/devices", "metrics", "api/pause", "api/recipe"):
            assert fleet.get(path, "engineer-of-the-fleet", "POST")[0] in (404, 405)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("width", [390, 1280])
def test_a_person_sees_failures_first_and_what_is_stale(fleet: Fleet, browser: Browser, width: int) -> None:
    fill(fleet.devices)
    browser.open(fleet.url, width=width, height=844)
    browser.wait_for("document.querySelectorAll('#devices tr').length === 4")
    standings = "[...document.querySelectorAll('#devices tr')].map((row) => row.dataset.standing)"
    assert browser.evaluate(standings) == ["failed", "lost", "waiting", "current"]
    assert browser.evaluate("document.querySelectorAll('#devices img').length") == 0
    assert "agent is offline" in browser.evaluate("document.querySelectorAll('#devices tr')[1].textContent")
    assert "0123456789ab" in browser.evaluate("document.querySelectorAll('#devices tr')[3].textContent")
    assert browser.evaluate("document.getElementById('left-out').hidden") is True
    fleet.devices.take("line-5/bundle", report(), is_retained=False)
    browser.wait_for(
        "document.getElementById('left-out').textContent.startsWith('At least 1 more device is not shown')"
    )
    assert browser.evaluate("document.getElementById('left-out').hidden") is False
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    browser.evaluate("document.querySelector('#count-lost').click()")
    assert browser.evaluate(standings) == ["lost"]
    browser.evaluate("document.querySelector('#count-lost').click()")
    browser.evaluate("document.querySelector('#search').focus()")
    browser.press("line-1")
    assert browser.evaluate(standings) == ["current"]
    assert browser.problems == []


def test_the_page_says_that_the_broker_or_the_server_is_away(browser: Browser) -> None:
    with running() as fleet:
        browser.open(fleet.url, width=1280, height=800)
        browser.wait_for("document.querySelector('#none').textContent.startsWith('No device has said anything')")
        fleet.is_connected = False
        browser.wait_for("document.querySelector('#connection').textContent === 'The broker does not answer'")
        assert browser.evaluate("document.body.dataset.stale") == "true"
    browser.wait_for("document.querySelector('#connection').textContent === 'No connection'")


@contextmanager
def started(*command: str, says: str) -> Iterator[str]:
    """A command that serves until it is ended: the address that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_ad", *command], cwd=_ROOT, stderr=subprocess.PIPE, text=True
    )
    with process as running_command:
        try:
            assert running_command.stderr is not None
            yield next(found[1] for line in running_command.stderr if (found := re.match(says, line)))
        finally:
            running_command.terminate()


def content(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def test_an_agent_serves_its_own_state(tmp_path: Path) -> None:
    command = ["follow", "127.0.0.1:1/line/screw:stable", "--into", str(tmp_path / "screw"), "--metrics", "127.0.0.1:0"]
    with started(*command, says=r"Metrics: (\S+)") as url:
        wait_until(lambda: re.search(r'step\{device="\S+",step="waiting"\} 1.0', content(url)) is not None)
        text = content(url)
    assert re.search(r'edge_ad_device_stale\{device="\S+"\} 0.0', text)
    assert "edge_ad_device_seen_timestamp_seconds" in text


def test_the_command_shows_the_page_while_the_broker_is_away() -> None:
    with started("fleet", "mqtt://127.0.0.1:1", "--listen", "127.0.0.1:0", says=r"The fleet is shown at (\S+)") as url:
        assert json.loads(content(f"{url}api/devices"))["broker"]["is_connected"] is False
        assert "<h1>Fleet</h1>" in content(url)
