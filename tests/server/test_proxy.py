"""The page behind a real nginx that speaks TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.server import Limits
from tests.server.browser import Browser
from tests.server.live_page import LivePage, judged, read_state
from tests.server.nginx import NAME, Nginx

_TOKEN = "a-token-of-the-user"
_RIGHT = {"authorization": f"Bearer {_TOKEN}"}
_WRONG = {"authorization": "Bearer wrong"}
_LIMITS = Limits(guesses=3, guesses_per_s=1e-6)


@pytest.fixture
def page() -> Iterator[LivePage]:
    with LivePage(token=_TOKEN, limits=_LIMITS, hosts=[NAME]) as page:
        yield page


@pytest.fixture
def proxy(page: LivePage, tmp_path: Path) -> Iterator[Nginx]:
    with Nginx(page.port, tmp_path) as proxy:
        yield proxy


def test_login_change_and_logout_through_the_proxy(page: LivePage, proxy: Nginx) -> None:
    login = proxy.log_in(_TOKEN)
    assert (login.status, login.headers["location"]) == (303, "/")
    assert "secure" in login.headers["set-cookie"].lower().split("; ")
    cookie = login.headers["set-cookie"].partition(";")[0]
    change = json.dumps({"value": 0.25, "by": "Ada"})
    answer = proxy.request(
        "POST", "/api/threshold", change, content_type="application/json", cookie=cookie, source="127.0.0.2"
    )
    assert answer.json == {"threshold": 0.25}
    (event,) = page.control.take_events()
    assert event.data["by"] == "Ada (127.0.0.2)"
    assert proxy.request("POST", "/logout", cookie=cookie).headers["location"] == "/login"
    assert proxy.request("GET", "/api/events", cookie=cookie).status == 401


def test_proxy_may_pass_on_the_public_name(page: LivePage) -> None:
    for host in (NAME, f"{NAME}:8443"):
        answer = page.log_in(_TOKEN, host=host, origin=f"https://{NAME}:8443", sec_fetch_site="same-origin")
        assert answer.status == 303, host
    assert page.log_in(_TOKEN, host="evil.example").status == 421
    assert page.log_in(_TOKEN, origin="https://evil.example").status == 403


def test_guesses_of_one_client_of_the_proxy_are_nothing_to_another(proxy: Nginx) -> None:
    for _ in range(3):
        assert proxy.request("GET", "/api/events", **_WRONG).status == 401
    assert proxy.log_in(_TOKEN).status == 429
    assert proxy.log_in(_TOKEN, x_forwarded_for="127.0.0.9").status == 429  # what a client claims counts for nothing
    assert proxy.request("GET", "/api/events", **_RIGHT).status == 429
    assert proxy.request("GET", "/api/events", source="127.0.0.2", **_RIGHT).status == 200
    assert proxy.log_in(_TOKEN, source="127.0.0.3").status == 303


def test_last_of_several_forwarding_headers_counts(page: LivePage) -> None:
    """A proxy may add a line of its own below those of the client."""
    ask = "GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n"
    ask += "x-forwarded-for: 203.0.113.{}\r\nx-forwarded-for: 192.0.2.{}\r\n\r\n"
    wrong = [page.raw(ask.format("wrong", number, 7).encode()).split()[1] for number in range(4)]
    assert wrong == [b"401", b"401", b"401", b"429"]
    assert page.raw(ask.format(_TOKEN, 99, 7).encode()).split()[1] == b"429"
    assert page.raw(ask.format(_TOKEN, 1, 8).encode()).split()[1] == b"200"


def test_state_comes_through_the_proxy_as_it_happens(page: LivePage, proxy: Nginx) -> None:
    page.show(judged(3, 0.5))
    connection = proxy.connect()
    connection.request("GET", "/api/live", headers=_RIGHT)
    response = connection.getresponse()
    assert [read_state(response)["sources"][0]["frame"] for _ in range(2)] == [3, 3]
    connection.close()
    response.close()


def test_person_logs_in_and_out_through_the_proxy(
    page: LivePage, proxy: Nginx, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page.show(judged(7, 0.5))
    rules = (f"host-resolver-rules=MAP {NAME} 127.0.0.1", "ignore-certificate-errors")
    with Browser(tmp_path_factory.mktemp("profile"), *rules) as browser:
        browser.open(f"https://{NAME}:{proxy.port}/", width=1366, height=768)
        browser.wait_for("document.activeElement.id === 'token'")
        browser.press(_TOKEN)
        browser.press("\ue007")  # Enter
        browser.wait_for("document.querySelector('#word').textContent === 'OK'")
        browser.wait_for("document.querySelector('#picture').width === 640")
        (cookie,) = browser.call("Network.getCookies")["cookies"]
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
        browser.evaluate("document.querySelector('#logout button').click()")
        browser.wait_for("document.activeElement.id === 'token'")
        assert browser.call("Network.getCookies")["cookies"] == []
        assert page.get("/api/events", cookie=f"{cookie['name']}={cookie['value']}").status == 401
        browser.evaluate("window.isBeforeGoingBack = true")
        browser.driver.back()
        browser.wait_for("!window.isBeforeGoingBack && document.activeElement.id === 'token'")
        assert browser.evaluate("location.pathname") == "/login"
