"""The page under misuse."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from http.client import HTTPConnection
from urllib.parse import quote, urlencode

import pytest

from tests.server.live_page import PATIENT, QUICK, LivePage, judged, read_state
from tests.streaming.results import PATIENCE_S, wait_until

_TOKEN = "a-token-of-the-user"
_TOO_LONG = (400, 431)  # in pieces it is refused before its end
_FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def locked() -> Iterator[LivePage]:
    with LivePage(token=_TOKEN) as page:
        yield page


@pytest.fixture(scope="module")
def quick_page() -> Iterator[LivePage]:
    """A page that cuts who keeps it waiting."""
    with LivePage(limits=QUICK) as page:
        yield page


def _status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def test_nothing_but_the_login_is_seen_without_the_token(locked: LivePage) -> None:
    for path in (
        "/",
        "/static/app.js",
        "/api/live",
        "/api/picture",
        "/stream.mjpg",
        "/api/records.csv",
        "/api/database.csv",
        "/x",
    ):
        answer = locked.get(path)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="edge-ad"'), path
    answer = locked.get("/", accept="text/html")
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert locked.post("/api/pause", {"by": "Ada"}).status == 401
    assert not locked.control.is_paused
    for path in ("/login", "/static/style.css", "/static/icon.svg"):
        assert locked.get(path).status == 200


def test_token_is_taken_from_its_header_only(locked: LivePage) -> None:
    assert locked.get("/api/events", authorization=f"Bearer {_TOKEN}").status == 200
    assert locked.get("/api/events", authorization=f"Bearer {_TOKEN}!").status == 401
    assert locked.get(f"/api/events?token={_TOKEN}").status == 401
    assert locked.get("/api/events", cookie=f"edge_ad_{locked.port}={_TOKEN}").status == 401


@pytest.fixture
def counting() -> Iterator[LivePage]:
    """A page where an address has three guesses, and gets none back."""
    with LivePage(token=_TOKEN, limits=replace(PATIENT, guesses=3, guesses_per_s=1e-6)) as page:
        yield page


def test_guesses_are_heard_until_the_budget_of_their_address_is_spent(counting: LivePage) -> None:
    seen = [counting.get("/api/events", authorization=f"Bearer guess-{number}") for number in range(40)]
    assert [answer.status for answer in seen] == [401] * 3 + [429] * 37
    assert int(seen[-1].headers["retry-after"]) > 0
    right = {"authorization": f"Bearer {_TOKEN}"}
    assert counting.get("/api/events", **right).status == 429
    assert counting.request("GET", "/api/events", headers=right, source="127.0.0.2").status == 200
    # What is forwarded counts behind a declared proxy only.
    assert counting.get("/api/events", x_forwarded_for="192.0.2.7", **right).status == 429


def test_guesses_over_one_connection_are_counted_too(counting: LivePage) -> None:
    with closing(HTTPConnection("127.0.0.1", counting.port, timeout=PATIENCE_S)) as client:
        for token, status in ((_TOKEN, 200), ("wrong", 401)):
            client.request("GET", "/api/events", headers={"authorization": f"Bearer {token}"})
            client.auto_open = 0  # type: ignore[assignment]  # the second goes the same way
            response = client.getresponse()
            assert (response.status, bool(response.read())) == (status, True)
    assert [counting.get("/api/events", authorization="Bearer wrong").status for _ in range(3)] == [401, 401, 429]


def test_wrong_logins_tokens_and_sessions_are_counted_alike(counting: LivePage) -> None:
    cookie = f"edge_ad_{counting.port}=wrong"
    assert counting.log_in("wrong").status == 401
    assert counting.get("/api/events", authorization="Bearer wrong").status == 401
    assert counting.get("/api/events", cookie=cookie).status == 401
    barred = counting.log_in(_TOKEN)
    assert (barred.status, int(barred.headers["retry-after"]) > 0, "set-cookie" in barred.headers) == (429, True, False)
    assert "Too many wrong tokens" in barred.text
    assert counting.get("/api/events", cookie=cookie).status == 429
    assert counting.get("/login").status == 200
    form = urlencode({"token": _TOKEN})
    assert counting.request("POST", "/login", form, _FORM, source="127.0.0.2").status == 303


def test_viewers_notice_nothing_of_the_guesses_at_their_address(counting: LivePage) -> None:
    cookie = counting.log_in(_TOKEN).headers["set-cookie"].partition(";")[0]
    for _ in range(5):
        counting.get("/api/events", authorization="Bearer wrong")
    assert counting.get("/api/events", cookie=cookie).status == 200


def test_logout_ends_the_session_for_every_copy_and_what_is_still_sent(locked: LivePage) -> None:
    locked.show(judged())
    cookie, other = (locked.log_in(_TOKEN).headers["set-cookie"].partition(";")[0] for _ in range(2))
    watched = [locked.open_stream(path, cookie=cookie) for path in ("/api/live", "/stream.mjpg")]
    bearer, response = locked.open_stream("/api/live", cookie=cookie, authorization=f"Bearer {_TOKEN}")
    read_state(watched[0][1])
    assert locked.post("/logout", {}, cookie=cookie).status == 303
    locked.show(judged(1))
    for connection, stream in watched:
        stream.read()  # to its end
        connection.close()
    dead = locked.get("/api/events", cookie=cookie)
    assert dead.status == 401
    assert "max-age=0" in dead.headers["set-cookie"].lower()  # so that a browser does not go on showing it
    assert locked.get("/api/events", cookie=other).status == 200
    again = locked.post("/logout", {}, cookie=cookie)
    assert (again.status, again.headers["location"]) == (303, "/login")
    read_state(response)
    bearer.close()
    response.close()


@pytest.mark.parametrize(
    "path",
    ["/", "/login", "/static/app.js", "/static/style.css", "/api/events", "/api/finds", "/api/trend",
     "/api/records.json", "/api/records.csv", "/api/database.csv", "/api/threshold/preview?value=1", "/api/live",
     "/stream.mjpg", "/api/picture", "/nothing", "/api/finds/99", "/api/pause", "/api/trend?span=x"],
)  # fmt: skip
def test_head_is_answered_as_get_is_without_the_body(shared_page: LivePage, path: str) -> None:
    shared_page.show(judged())
    got = shared_page.open_stream(path)
    head, raw = shared_page.request("HEAD", path), _head(shared_page, path)
    named = {name.lower(): value for name, value in got[1].getheaders()}
    got[0].close()
    got[1].close()
    assert (head.status, head.body, raw) == (got[1].status, b"", b"")
    told = set(named) - {"date", "content-length", "connection", "transfer-encoding", "x-serial", "content-disposition"}
    assert {name: head.headers.get(name) for name in told} == {name: named[name] for name in told}
    assert shared_page.sink.viewers == 0 or path in ("/api/live", "/stream.mjpg")


def test_head_of_who_is_refused_has_no_body(locked: LivePage) -> None:
    for path, host, status in (
        ("/api/events", "localhost", 401),
        ("/", "evil.example", 421),
        ("/login", "localhost", 200),
    ):
        answer = locked.raw(f"HEAD {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        assert _status(answer) == status
        assert answer.endswith(b"\r\n\r\n")


def test_login_gives_a_session_that_no_script_and_no_other_site_sees(locked: LivePage) -> None:
    wrong = locked.request("POST", "/login", urlencode({"token": "wrong"}), _FORM)
    assert (wrong.status, "set-cookie" in wrong.headers) == (401, False)
    assert "not the token" in wrong.text
    right = locked.request("POST", "/login", urlencode({"token": _TOKEN}), _FORM)
    assert (right.status, right.headers["location"]) == (303, "/")
    cookie, *attributes = right.headers["set-cookie"].lower().split("; ")
    assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
    assert _TOKEN not in cookie
    assert locked.get("/", cookie=cookie).status == 200
    assert locked.get("/login", cookie=cookie).headers["location"] == "/"
    out = locked.post("/logout", {}, cookie=cookie)
    assert "max-age=0" in out.headers["set-cookie"].lower()


def test_login_survives_nonsense(locked: LivePage) -> None:
    for body in ("", "token", "token=%ff%fe", "&".join(f"a{number}=1" for number in range(99)), "\x00"):
        assert locked.request("POST", "/login", body, _FORM).status == 401


def test_every_answer_carries_the_protecting_headers(locked: LivePage) -> None:
    for path in ("/login", "/", "/static/style.css", "/nothing"):
        headers = locked.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert not {name for name in headers if name.startswith("access-control-")}
        assert headers["server"] == "edge-ad"  # no version, and not what it is made of


def test_strange_host_is_refused_on_this_machine(shared_page: LivePage) -> None:
    assert shared_page.get("/", host="evil.example").status == 421
    assert shared_page.get("/", host=f"evil.example:{shared_page.port}").status == 421
    assert shared_page.post("/api/pause", {"by": "Ada"}, host="evil.example").status == 421
    assert _status(shared_page.raw(b"GET / HTTP/1.0\r\n\r\n")) == 421
    assert shared_page.get("/", host=f"localhost:{shared_page.port}").status == 200
    assert not shared_page.control.is_paused


def test_other_sites_change_nothing(page: LivePage) -> None:
    body = {"by": "Mallory"}
    assert page.post("/api/pause", body, origin="http://evil.example").status == 403
    assert page.post("/api/pause", body, origin="null").status == 403
    assert page.post("/api/pause", body, origin="http://localhost:3000").status == 403
    assert page.post("/api/pause", body, sec_fetch_site="cross-site").status == 403
    # What a form of another site can send.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert page.request("POST", "/api/pause", '{"by": "Mallory"}', {"content-type": kind}).status == 400
    assert not page.control.is_paused
    assert page.post("/api/pause", body, origin=f"http://127.0.0.1:{page.port}").status == 200


def test_preflight_gets_no_permission(shared_page: LivePage) -> None:
    for method in ("OPTIONS", "PUT", "DELETE", "TRACE", "PATCH"):
        answer = shared_page.request(method, "/api/threshold", headers={"origin": "http://evil.example"})
        assert answer.status == 405
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert shared_page.get("/api/pause").status == 405
    assert shared_page.post("/api/events", {}).status == 405


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/static/../../web/access.py", "/..%2f..%2faccess.py", "/%2e%2e/%2e%2e/etc/passwd",
     "/..%252f..%252fetc/passwd", "/....//....//etc/passwd", "/..\\..\\access.py", "/static/../app.py",
     "//etc/passwd", "/static/style.css%00.js", "/static/..%2fapp.py", "/static/%2e%2e/app.py",
     "/static/", "/index.html", "/__init__.py", "/api/finds/../../etc/passwd",
     "/api/finds/..%2f1", "http://127.0.0.1/etc/passwd", "/%ff%fe", "/static/style.css/x"],
)  # fmt: skip
def test_no_path_leads_to_a_file(shared_page: LivePage, path: str) -> None:
    answer = shared_page.raw(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode("latin-1"))
    assert _status(answer) in (400, 404), answer


def test_refusals_that_wait_for_their_turn_keep_nobody_else_waiting() -> None:
    limits = replace(PATIENT, refusals=1, refusals_per_s=1e-3)
    with LivePage(token=_TOKEN, limits=limits) as page, ExitStack() as stack:
        assert page.get("/x").status == 401
        waiting = [stack.enter_context(page.connect()) for _ in range(20)]
        for client in waiting:
            client.sendall(b"GET /login HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert page.get("/api/events", authorization=f"Bearer {_TOKEN}").status == 200
        assert page.request("GET", "/login", source="127.0.0.2").status == 200
        for client in waiting:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)


def test_huge_headers_are_refused(shared_page: LivePage) -> None:
    head = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
    assert _status(shared_page.raw(head + b"x: " + b"a" * 40_000 + b"\r\n\r\n")) in _TOO_LONG
    assert (
        _status(shared_page.raw(head + b"".join(b"x%d: 1\r\n" % number for number in range(4000)) + b"\r\n"))
        in _TOO_LONG
    )
    assert _status(shared_page.raw(b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")) in _TOO_LONG
    assert shared_page.get("/").status == 200


@pytest.mark.parametrize(
    "request_line", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 64 + b"\r\n\r\n",
                     b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", b"GET / HTTP/1.1\r\nx y: 1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_refused(shared_page: LivePage, request_line: bytes) -> None:
    answer = shared_page.raw(request_line + b"\r\n\r\n")
    assert answer == b"" or _status(answer) in (400, 421)
    assert shared_page.get("/").status == 200


@pytest.mark.parametrize("length", [b"content-length: 999999", b"content-length: 5000", b"transfer-encoding: chunked"])
def test_large_bodies_are_refused(shared_page: LivePage, length: bytes) -> None:
    head = b"POST /api/pause HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" + length + b"\r\n\r\n"
    body = b"1000\r\n" + b"a" * 4096 + b"\r\n1000\r\n" + b"a" * 4096 + b"\r\n0\r\n\r\n"
    assert _status(shared_page.raw(head + (body if b"chunked" in length else b"a" * 2000))) == 413


def test_body_that_does_not_come_is_not_waited_for() -> None:
    head = (
        b"POST /api/pause HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
    )
    with LivePage(limits=replace(PATIENT, body_s=QUICK.body_s)) as page:
        assert _status(page.raw(head)) == 413


def test_body_that_never_ends_is_cut(shared_page: LivePage) -> None:
    with shared_page.connect() as client:
        client.sendall(b"POST /api/pause HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        _send_until_cut(client, b"400\r\n" + b"a" * 1024 + b"\r\n")


def test_headers_that_come_byte_by_byte_are_cut(quick_page: LivePage) -> None:
    started = time.monotonic()
    with quick_page.connect() as client:
        _send_until_cut(client, b"x")
    assert time.monotonic() - started >= QUICK.idle_s


def test_silent_connection_is_cut(quick_page: LivePage) -> None:
    with quick_page.connect() as client:
        assert _is_cut(client)


def test_connection_that_was_used_once_and_is_silent_is_cut() -> None:
    with LivePage(limits=replace(PATIENT, idle_s=2.0)) as page, page.connect() as client:
        client.sendall(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = client.recv(1 << 16)
        while more := client.recv(1 << 16):
            answer += more
    assert _status(answer) == 200


def test_names_of_sources_do_not_become_markup(shared_page: LivePage) -> None:
    """Everything is sent as JSON and written as text."""
    shared_page.show(judged())
    assert shared_page.get("/api/events", accept="text/html").headers["content-type"] == "application/json"
    answer = shared_page.get("/nothing/" + quote("<script>alert(1)</script>"))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def _head(page: LivePage, path: str) -> bytes:
    """What follows the headers of an answer to HEAD, up to the end of the connection."""
    request = f"HEAD {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    with page.connect() as client:
        client.sendall(request.encode())
        answer = b""
        while chunk := client.recv(1 << 16):
            answer += chunk
    return answer.partition(b"\r\n\r\n")[2]


def _send_until_cut(client: socket.socket, piece: bytes) -> None:
    """Go on with sending pieces until the server has hung up."""

    def is_cut() -> bool:
        try:
            client.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    wait_until(is_cut)


def _is_cut(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
