"""What each role may do on the page, and who did it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.cli import main
from edge_ad.errors import DataError, UsageError
from edge_ad.server import HttpServer, HttpTrigger, Role, User, read_users
from edge_ad.streaming.records import RecordStore, VerdictRow
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.records.trail_check import verify_trail
from tests.server.live_page import Answer, LivePage, judged

_USERS = [
    User("Vera", Role.VIEWER, "token-of-the-viewer"),
    User("Otto", Role.OPERATOR, "token-of-the-operator"),
    User("Ella", Role.ENGINEER, "token-of-the-engineer"),
]
_SHARED = "token-that-all-share"
_TOKENS = {user.role.word: user.token for user in _USERS} | {"shared": _SHARED}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    store.commit([VerdictRow("line", "b1", 0, 1.0, 1.5, 1.0, True, 3.0, 4.5)])
    store.close()
    return path


@pytest.fixture
def page(database: Path, tmp_path: Path) -> Iterator[LivePage]:
    with LivePage(token=_SHARED, users=_USERS, database=database, corrections=tmp_path / "corrected") as page:
        yield page


def _post(page: LivePage, who: str, path: str, **body: object) -> Answer:
    return page.post(path, body, authorization=f"Bearer {_TOKENS[who]}")


_CHANGES = {
    "/api/threshold": {"value": 0.5},
    "/api/pause": {},
    "/api/resume": {},
    "/api/records/confirm": {"ids": [1]},
    "/api/finds/1/label": {"label": "good", "frame": 0},
}
_ENGINEERS = ("/api/threshold", "/api/pause", "/api/resume")


@pytest.mark.parametrize("who", ["viewer", "operator", "engineer", "shared"])
def test_a_role_may_do_what_is_its_own_and_is_told_what_is_not(who: str, page: LivePage) -> None:
    page.show(judged(0, 2.0))
    for path in ("/", "/api/events", "/api/finds", "/api/records.csv", "/api/database.csv"):
        assert page.get(path, authorization=f"Bearer {_TOKENS[who]}").status == 200, path
    for path, body in _CHANGES.items():
        needed = "engineer" if path in _ENGINEERS else "operator"
        answer = _post(page, who, path, by="Ada", **body)
        if who == "viewer" or (who, needed) == ("operator", "engineer"):
            name = {"viewer": "Vera", "operator": "Otto"}[who]
            assert answer.status == 403, path
            assert answer.text == f"{name} ({who}) may not do this: it needs the role {needed}.\n"
        else:
            assert answer.status == 200, (path, answer.text)
    assert page.control.threshold == (0.5 if who in ("engineer", "shared") else 1.0)


def test_what_no_rule_names_needs_an_engineer(page: LivePage) -> None:
    assert _post(page, "operator", "/api/whatever-comes-later").status == 403
    assert _post(page, "engineer", "/api/whatever-comes-later").status == 404


def test_a_change_names_who_showed_the_token_whatever_the_request_says(page: LivePage, database: Path) -> None:
    _post(page, "engineer", "/api/threshold", value=0.7, by="Otto")
    _post(page, "shared", "/api/pause", by="Ada")
    threshold, pause = page.control.take_events()
    assert threshold.data["by"] == "Ella (engineer, 127.0.0.1)"
    assert pause.text == "Paused by Ada (127.0.0.1)."
    assert _post(page, "operator", "/api/records/confirm", ids=[1]).json == {"records": 1, "changed": 1}
    with RecordReader(database) as reader:
        (event,) = reader.events(RecordFilter())
    assert (event["event"], event["data"]) == ("confirmed good", {"by": "Otto (operator, 127.0.0.1)", "ids": [1]})
    assert verify_trail(database).problems == []


@pytest.mark.parametrize("ids", [None, [], ["1"], [True], [1.0], [0], 1])
def test_numbers_of_records_that_are_none_are_refused(ids: object, page: LivePage) -> None:
    assert _post(page, "operator", "/api/records/confirm", ids=ids).status == 400


def test_a_record_that_is_not_there_changes_nothing(page: LivePage, database: Path) -> None:
    assert _post(page, "operator", "/api/records/confirm", ids=[1, 99]).status == 400
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT confirmed FROM verdicts").fetchall() == [("",)]
    connection.close()


@pytest.mark.parametrize("user", _USERS, ids=lambda user: user.role.word)
def test_a_session_has_the_role_of_its_token_and_the_page_knows_it(user: User, page: LivePage) -> None:
    cookie = page.log_in(user.token).headers["set-cookie"].partition(";")[0]
    html = page.get("/", cookie=cookie).text
    assert f'<body data-role="{user.role.word}" data-user="{user.name}">' in html
    answer = page.post("/api/pause", {}, cookie=cookie)
    assert answer.status == (200 if user.role is Role.ENGINEER else 403)


def test_without_tokens_a_person_at_the_machine_is_an_engineer(database: Path) -> None:
    with LivePage(database=database) as page:
        assert '<body data-role="engineer" data-user="">' in page.get("/").text
        assert page.post("/api/pause", {"by": "Ada"}).status == 200


def test_users_lock_the_page_and_no_further_token_is_made() -> None:
    with LivePage(users=_USERS) as page:
        assert page.sink.token is None
        assert page.get("/api/events").status == 401
        assert page.get("/api/events", authorization="Bearer token-of-the-viewer").status == 200
    assert HttpServer(users=_USERS).has_given_token


def test_a_trigger_needs_an_operator_or_its_own_token() -> None:
    server = HttpServer(users=_USERS)
    trigger = HttpTrigger(server, "0.0.0.0:0", "token-of-the-trigger")
    access = server.access.at("0.0.0.0", 0, is_loopback=False, needs_token=True)
    roles = {token: access.user_with(token, "/trigger") for token in (_TOKENS["viewer"], "token-of-the-trigger")}
    assert [user and user.role for user in roles.values()] == [Role.VIEWER, Role.OPERATOR]
    assert access.user_with("token-of-the-trigger", "/api/events") is None
    trigger.close()


def test_a_file_of_users_is_read(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("# the line\nAda Lovelace:engineer:a-token:with-colon\n\n  Bob : Viewer\n")
    ada, bob = read_users(path)
    assert (ada.name, ada.role, ada.token, ada.is_new) == ("Ada Lovelace", Role.ENGINEER, "a-token:with-colon", False)
    assert (bob.name, bob.role, bob.is_new) == ("Bob", Role.VIEWER, True)
    assert len(bob.token) == 24
    assert "a-token" not in repr(ada)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 users"),
        ("Ada", "Line 1 .* has no role"),
        ("Ada:boss:secret-secret", "Line 1 .* has no role"),
        (":viewer:secret-secret", "has no name"),
        ("Ada:viewer:short", "has no token"),
        ("Ada:viewer:", "has no token"),
        ("Ada:viewer\nAda:engineer", "Line 2 .* another line"),
        ("Ada:viewer:secret-secret\nBob:engineer:secret-secret", "Line 2 .* another line"),
    ],
)
def test_a_wrong_line_is_named_and_no_token_is_shown(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_users(path)
    assert re.search(said, caught.value.message)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_users(tmp_path / "none")
    command = ["stream", "--bundle", str(tmp_path), "--source", str(tmp_path), "--web", "--web-users"]
    assert main([*command, str(tmp_path / "none")]) == 2
    assert "The users of the page cannot be read" in capsys.readouterr().err
