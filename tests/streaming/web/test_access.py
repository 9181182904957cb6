"""Who may pass."""

from __future__ import annotations

import time

import pytest

from edge_ad.streaming.web.access import SESSION_S, Access

_TOKEN = "a-token-of-the-user"
_COOKIE = "edge_ad_8080"


@pytest.fixture
def access() -> Access:
    return Access(_TOKEN)


def _with_cookie(value: str) -> dict[str, str]:
    return {"cookie": f"other=1; {_COOKIE}={value}; more"}


def test_token_opens_and_nothing_else_does(access: Access) -> None:
    assert access.is_logged_in({"authorization": f"Bearer {_TOKEN}"}, _COOKIE)
    assert access.is_logged_in({"authorization": f"bearer  {_TOKEN} "}, _COOKIE)
    for header in (
        "",
        "Bearer",
        "Bearer ",
        f"Basic {_TOKEN}",
        f"Bearer {_TOKEN}x",
        f"Bearer {_TOKEN[:-1]}",
        "Bearer ä",
    ):
        assert not access.is_logged_in({"authorization": header}, _COOKIE)


def test_session_outlives_a_restart_and_ends_with_the_token(access: Access) -> None:
    session = _with_cookie(access.session())
    assert access.is_logged_in(session, _COOKIE)
    assert Access(_TOKEN).is_logged_in(session, _COOKIE)
    assert not Access("another-token-of-the-user").is_logged_in(session, _COOKIE)
    assert not access.is_logged_in(session, "edge_ad_8081")


def test_session_ends_in_time(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    session = _with_cookie(access.session())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SESSION_S + 1)
    assert not access.is_logged_in(session, _COOKIE)


@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: f"9{value}", lambda value: value.upper()])
def test_changed_sessions_are_refused(access: Access, change: object) -> None:
    assert not access.is_logged_in(_with_cookie(change(access.session())), _COOKIE)  # type: ignore[operator]


@pytest.mark.parametrize("value", ["", ".", "1.", "²³.0", f"{10**30}.0", "-1.0", "9" * 5000, "\udcff"])
def test_nonsense_is_no_session(access: Access, value: str) -> None:
    assert not access.is_logged_in(_with_cookie(value), _COOKIE)


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "LOCALHOST"])
def test_page_of_this_machine_answers_to_its_names(host: str) -> None:
    assert Access(None).knows_host(host)


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]"]
)
def test_page_of_this_machine_answers_to_no_other_name(host: str | None) -> None:
    assert not Access(None).knows_host(host)
    assert Access(_TOKEN, is_public=True).knows_host(host)


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({}, True),
        ({"origin": "http://line-pc:8080"}, True),
        ({"origin": "http://line-pc:8080", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://page.example"}, True),
        ({"origin": "http://line-pc:3000"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://line-pc:8080", "sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_requests_of_other_sites_are_told_apart(headers: dict[str, str], is_own: bool) -> None:
    access = Access(_TOKEN, hosts=["page.example"], is_public=True)
    assert access.is_own_origin({"host": "line-pc:8080", **headers}) is is_own
