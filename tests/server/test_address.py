"""Where the page listens, and what is said when it cannot."""

from __future__ import annotations

import socket
import sys

import pytest

from edge_ad.errors import DeviceError, MissingDependencyError, UsageError
from edge_ad.listen_address import parse_address
from edge_ad.server import web_sink


@pytest.mark.parametrize(
    ("text", "ip", "port", "is_loopback"),
    [
        ("", "127.0.0.1", 8080, True),
        ("9000", "127.0.0.1", 9000, True),
        (":9000", "127.0.0.1", 9000, True),
        ("localhost:81", "127.0.0.1", 81, True),
        ("127.0.0.2", "127.0.0.2", 8080, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("192.0.2.7:80", "192.0.2.7", 80, False),
        ("[::1]:80", "::1", 80, True),
        ("[::]", "::", 8080, False),
    ],
)
def test_address_is_read(text: str, ip: str, port: int, is_loopback: bool) -> None:
    address = parse_address(text)
    assert (address.ip, address.port, address.is_loopback) == (ip, port, is_loopback)


@pytest.mark.parametrize("text", ["a b:80", "host:", "host:99999", "host:-1", "http://host:80", "::1"])
def test_other_texts_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)


def test_host_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UsageError, match="The host nowhere has no address"):
        parse_address("nowhere:80")


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "granian", None)
    with pytest.raises(MissingDependencyError) as caught:
        web_sink()
    assert "edge-ad[web]" in caught.value.hint


def test_address_is_shown_as_a_browser_takes_it() -> None:
    assert parse_address("[::1]:80").url == "http://[::1]:80/"
    assert parse_address("0.0.0.0:80").url == f"http://{socket.gethostname()}:80/"


def test_port_in_use_is_said_before_the_stream_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=f"port {port} of 127.0.0.1: it is in use"):
            web_sink(f"127.0.0.1:{port}")


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.7 is not an address of this machine"):
        web_sink("192.0.2.7:8080")


def test_other_machines_need_a_token_and_this_one_does_not() -> None:
    assert web_sink("127.0.0.1:0").token is None
    one, another = web_sink("0.0.0.0:0"), web_sink("0.0.0.0:0")
    assert one.is_new_token
    assert one.token is not None
    assert len(one.token) >= 24
    assert one.token != another.token
    given = web_sink("0.0.0.0:0", "a-token-of-the-user")
    assert (given.token, given.is_new_token) == ("a-token-of-the-user", False)


@pytest.mark.parametrize(
    "token", ["", "short", "with a space in it", "umlaute-äöü-äöü", "x" * 300, "a\nb\rc-d-e-f-g-h"]
)
def test_poor_tokens_are_refused(token: str) -> None:
    with pytest.raises(UsageError, match="12 to 256 visible"):
        web_sink("127.0.0.1:0", token)
