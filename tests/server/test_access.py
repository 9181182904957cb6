"""Who may pass."""

from __future__ import annotations

import time

import pytest

from edge_ad.errors import UsageError
from edge_ad.server import Limits
from edge_ad.server.access import Access, Standing
from edge_ad.server.budgets import Budgets
from edge_ad.server.sessions import SESSION_S, Sessions

_TOKEN = "a-token-of-the-user"
_COOKIE = "edge_ad"
_HERE, _ELSEWHERE = "192.0.2.7", "192.0.2.8"
_RIGHT = {"authorization": f"Bearer {_TOKEN}"}
_WRONG = {"authorization": "Bearer wrong"}


@pytest.fixture
def access() -> Access:
    return Access(_TOKEN, limits=Limits(guesses=4, guesses_per_s=0.1))


def _with_cookie(value: str) -> dict[str, str]:
    return {"cookie": f"other=1; {_COOKIE}={value}; more"}


def _spend_all(access: Access, client: str) -> None:
    for _ in range(4):
        assert access.standing(_WRONG, client) is Standing.WRONG


def _pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)


@pytest.mark.parametrize("header", [f"Bearer {_TOKEN}", f"bearer  {_TOKEN} "])
def test_token_opens(access: Access, header: str) -> None:
    assert access.standing({"authorization": header}, _HERE) is Standing.LOGGED_IN


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", f"Bearer {_TOKEN}x", f"Bearer {_TOKEN[:-1]}", "Bearer ä"])
def test_nothing_else_opens(access: Access, header: str) -> None:
    assert access.standing({"authorization": header}, _HERE) is Standing.WRONG


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": f"Basic {_TOKEN}"}, {"cookie": "a=1"}]
)
def test_who_shows_nothing_is_anonymous(access: Access, headers: dict[str, str]) -> None:
    assert access.standing(headers, _HERE) is Standing.ANONYMOUS


def test_wrong_tokens_logins_and_sessions_share_the_budget_of_an_address(access: Access) -> None:
    assert access.standing(_WRONG, _HERE) is Standing.WRONG
    assert access.try_token("wrong", _HERE) is Standing.WRONG
    assert access.standing(_with_cookie("wrong"), _HERE) is Standing.WRONG
    assert access.standing(_WRONG, _HERE) is Standing.WRONG
    for headers in (_WRONG, _with_cookie("wrong"), _RIGHT):
        assert access.standing(headers, _HERE) is Standing.BLOCKED
    assert access.try_token(_TOKEN, _HERE) is Standing.BLOCKED


def test_guesses_of_one_address_are_nothing_to_another(access: Access) -> None:
    _spend_all(access, _HERE)
    assert access.standing(_RIGHT, _HERE) is Standing.BLOCKED
    assert access.standing(_RIGHT, _ELSEWHERE) is Standing.LOGGED_IN
    assert access.try_token(_TOKEN, _ELSEWHERE) is Standing.LOGGED_IN


def test_right_tokens_cost_nothing(access: Access) -> None:
    assert {access.standing(_RIGHT, _HERE) for _ in range(50)} == {Standing.LOGGED_IN}


def test_budget_refills_with_time(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    _spend_all(access, _HERE)
    assert access.wait_s(_HERE) == 10
    _pass_time(monkeypatch, 10.5)
    assert access.wait_s(_HERE) == 0
    assert access.standing(_WRONG, _HERE) is Standing.WRONG
    assert access.standing(_RIGHT, _HERE) is Standing.BLOCKED


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        ("192.0.2.7", "192.0.2.8", False),
        ("", "unix:", True),
    ],
)
def test_ipv6_shares_by_its_first_half(access: Access, one: str, other: str, is_shared: bool) -> None:
    _spend_all(access, one)
    assert access.standing(_RIGHT, other) is (Standing.BLOCKED if is_shared else Standing.LOGGED_IN)


def test_memory_of_budgets_is_bounded_and_forgets_what_was_spent_longest_ago() -> None:
    budgets = Budgets(0.1, 1, most_addresses=100)
    addresses = [f"2001:db8:{number:x}::1" for number in range(1000)]
    assert all(budgets.spend(address) for address in addresses)
    assert len(budgets) == 100
    assert not budgets.spend(addresses[-1])
    assert budgets.spend(addresses[0])


def test_budget_may_be_spent_in_advance_up_to_the_longest_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    _pass_time(monkeypatch, 0)
    budgets = Budgets(2.0, 3)
    waits = [budgets.reserve(_HERE, 1.4) for _ in range(6)]
    assert waits == pytest.approx([0, 0, 0, 0.5, 1.0, 1.4])
    assert budgets.reserve(_HERE, 1.6) == pytest.approx(1.5)  # nothing was taken by the one that had to wait too long
    assert budgets.reserve(_ELSEWHERE, 1.4) == 0


def test_asking_remembers_nobody() -> None:
    budgets = Budgets(0.1, 1)
    assert [budgets.wait_s(f"192.0.2.{number}") for number in range(50)] == [0.0] * 50
    assert len(budgets) == 0


def test_open_session_counts_whatever_others_at_its_address_have_tried(access: Access) -> None:
    session = _with_cookie(access.log_in())
    _spend_all(access, _HERE)
    assert access.standing(session, _HERE) is Standing.LOGGED_IN


def test_session_ends_at_the_logout_for_every_copy(access: Access) -> None:
    name, other = access.log_in(), access.log_in()
    assert access.standing(_with_cookie(name), _HERE) is Standing.LOGGED_IN
    assert (
        access.at("127.0.0.1", 8081, is_loopback=True, needs_token=True).standing(_with_cookie(name), _HERE)
        is Standing.ANONYMOUS
    )
    access.log_out(name)
    access.log_out("no session at all")
    assert access.standing(_with_cookie(name), _ELSEWHERE) is Standing.WRONG
    assert access.standing(_with_cookie(other), _HERE) is Standing.LOGGED_IN


def test_session_ends_in_time_and_with_the_stream(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    session = _with_cookie(access.log_in())
    assert Access(_TOKEN).standing(session, _HERE) is Standing.WRONG
    _pass_time(monkeypatch, SESSION_S - 60)
    assert access.standing(session, _HERE) is Standing.LOGGED_IN
    _pass_time(monkeypatch, 120)
    assert access.standing(session, _HERE) is Standing.WRONG


def test_sessions_are_bounded_and_the_oldest_ends() -> None:
    sessions = Sessions()
    names = [sessions.begin() for _ in range(1025)]
    assert [sessions.is_open(name) for name in (names[0], names[1], names[-1])] == [False, True, True]


@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: f"9{value}", lambda value: value[::-1]])
def test_changed_sessions_are_refused(access: Access, change: object) -> None:
    session = _with_cookie(change(access.log_in()))  # type: ignore[operator]
    assert access.standing(session, _HERE) is Standing.WRONG


@pytest.mark.parametrize("value", [".", "1.", "²³.0", f"{10**30}.0", "-1.0", "9" * 5000, "\udcff", _TOKEN])
def test_nonsense_is_no_session(access: Access, value: str) -> None:
    assert access.standing(_with_cookie(value), _HERE) is Standing.WRONG


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "203.0.113.9, 192.0.2.7", "192.0.2.7"),  # what the client sent, what the proxy wrote
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7, unknown", "127.0.0.1"),
        ("192.0.2.99", "192.0.2.7", "192.0.2.99"),  # no proxy of this machine
    ],
)
def test_forwarded_address_counts_behind_a_declared_proxy(peer: str, forwarded: str, client: str) -> None:
    assert Access(_TOKEN, hosts=["line.example"]).client(peer, forwarded) == client


def test_forwarded_address_counts_for_nothing_without_a_declared_proxy() -> None:
    assert Access(_TOKEN, host="127.0.0.1").client("127.0.0.1", "192.0.2.7") == "127.0.0.1"


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "LOCALHOST"])
def test_page_of_this_machine_answers_to_its_names(host: str) -> None:
    assert Access(None).knows_host(host)


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]"]
)
def test_page_of_this_machine_answers_to_no_other_name(host: str | None) -> None:
    assert not Access(None).knows_host(host)
    assert not Access(None, hosts=["line.example"]).knows_host(host)
    assert Access(_TOKEN, is_public=True).knows_host(host)


def test_page_answers_to_the_names_of_its_proxy() -> None:
    access = Access(_TOKEN, hosts=["line.example", "Other.Example"])
    assert [access.knows_host(host) for host in ("line.example", "LINE.example:8443", "other.example")] == [True] * 3


@pytest.mark.parametrize("name", ["", "*", "https://line.example", "line.example:443", "line.example/", "a b", "a..b"])
def test_what_is_no_host_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match="is not a host name") as caught:
        Access(_TOKEN, hosts=[name])
    assert "\n" not in str(caught.value)


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
        ({"origin": "http://["}, False),
        ({"origin": "http://line-pc:8080", "sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_requests_of_other_sites_are_told_apart(headers: dict[str, str], is_own: bool) -> None:
    access = Access(_TOKEN, hosts=["page.example"], is_public=True)
    assert access.is_own_origin({"host": "line-pc:8080", **headers}) is is_own
