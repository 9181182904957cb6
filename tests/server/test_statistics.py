"""The page of statistics: made by a process of its own, with a form, and one line for what cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.streaming.records import RecordStore, VerdictRow
from tests.server.browser import Browser
from tests.server.live_page import Answer, LivePage
from tests.streaming.results import PATIENCE_S

_START = 1_700_006_400.0


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "line.sqlite"
    store = RecordStore(path, source="line")
    rows = [
        VerdictRow("<i>cam", "b1", n, _START + 300 * n, 0.5 + (n % 7) / 100, 1.0, n % 40 == 39, 3.0, 4.5)
        for n in range(9 * 288)
    ]
    store.commit(rows)
    store.close()
    return path


@pytest.fixture
def recorded(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LivePage]:
    """A page that gives the process which draws as long as a busy machine takes."""
    monkeypatch.setattr("edge_ad.server.statistics._LONGEST_S", 5 * PATIENCE_S)
    with LivePage(database=database) as page:
        yield page


def _get(page: LivePage, query: str = "") -> Answer:
    return page.request("GET", f"/statistics{query}", timeout_s=5 * PATIENCE_S)  # a process draws


def test_a_period_is_chosen_by_the_form_and_nothing_runs_on_the_page(recorded: LivePage) -> None:
    answer = _get(recorded, "?since=2023-11-23T00:00&until=2023-11-24T00:00&subgroup=14400&shift=&rules=nelson")
    assert answer.status == 200
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.text.count("<svg") >= 3
    assert 'value="2023-11-23T00:00"' in answer.text
    assert '<option value="14400" selected>' in answer.text
    assert "&lt;i&gt;cam" in answer.text
    assert re.search(r"<script|<i>cam|\bon[a-z]+=", answer.text) is None


@pytest.mark.parametrize("query", ["?since=yesterday", "?shift=6-14", "?subgroup=1", "?rules=mine"])
def test_what_the_form_cannot_say_is_one_line(query: str, recorded: LivePage) -> None:
    answer = _get(recorded, query)
    assert answer.status == 400
    assert len(answer.text.splitlines()) == 1


def test_without_a_database_there_is_no_such_page(shared_page: LivePage) -> None:
    assert shared_page.get("/statistics").status == 404


def test_the_page_fits_monitor_and_tablet_and_leads_back(recorded: LivePage, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(recorded.sink.url, width=1280, height=900)
        browser.wait_for("document.querySelector('#statistics:not([hidden])')")
        for width in (1280, 820):
            browser.open(f"{recorded.sink.url.rstrip('/')}/statistics", width=width, height=1000)
            browser.wait_for("document.querySelectorAll('.chart svg').length >= 3")
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert browser.problems == []
            browser.driver.save_screenshot(str(tmp_path / f"statistics-{width}.png"))
        browser.evaluate("document.querySelector('.back a').click()")
        browser.wait_for("document.querySelector('#verdict')")
