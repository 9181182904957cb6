"""The page in a real browser: what a person sees, on a phone and on a monitor."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.server import Role, User
from edge_ad.server.history import GalleryRule
from edge_ad.streaming.frame import Event
from tests.server.browser import Browser
from tests.server.live_page import LivePage, judged
from tests.streaming.results import wait_until

_ENTER, _TAB, _ESCAPE = "\ue007", "\ue004", "\ue00c"  # as WebDriver names them
_COLOURS = {"OK": (61, 128, 16), "NG": (48, 31, 207)}  # verdict → colour of its card, BGR


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> Iterator[LivePage]:
    """A page whose stream goes on; however long it takes or is kept waiting, the same part lies there."""
    monkeypatch.setattr("edge_ad.server.history.GalleryRule", partial(GalleryRule, longest_s=3600.0))
    monkeypatch.setattr("edge_ad.server.history._SAME_PART_S", 3600.0)
    with LivePage() as page:
        page.score = 0.5  # type: ignore[attr-defined]
        is_over = threading.Event()
        thread = threading.Thread(target=_live, args=(page, is_over))
        thread.start()
        yield page
        is_over.set()
        thread.join()


def _live(page: LivePage, is_over: threading.Event) -> None:
    number = 0
    while not is_over.wait(0.05):
        number += 1
        result = judged(number, page.score)  # type: ignore[attr-defined]
        page.show(replace(result, frame=replace(result.frame, source="<b>line & 2</b>")))
        page.pass_events()


def _text(browser: Browser, selector: str) -> str:
    return str(browser.evaluate(f"document.querySelector({selector!r}).textContent"))


def _cookies(browser: Browser) -> dict[str, str]:
    return {cookie["name"]: cookie["value"] for cookie in browser.call("Network.getCookies")["cookies"]}


def _share(browser: Browser, folder: Path, colour: tuple[int, int, int]) -> float:
    """Of the pixels that are shown, those that have the colour."""
    browser.driver.save_screenshot(str(folder / "page.png"))
    image = cv2.imread(str(folder / "page.png")).astype(int)
    return float((np.abs(image - colour).max(axis=2) <= 4).mean())


def test_verdict_is_big_on_phone_and_monitor(living: LivePage, browser: Browser, tmp_path: Path) -> None:
    browser.open(living.sink.url, width=390, height=844)
    browser.wait_for("document.querySelector('#word').textContent === 'OK'")
    browser.wait_for("document.querySelector('#picture').width === 640")
    for verdict, score in (("OK", 0.5), ("NG", 4.0)):
        living.score = score  # type: ignore[attr-defined]
        browser.wait_for(f"document.querySelector('#word').textContent === '{verdict}'")
        for width, height, least_share in ((390, 844, 0.08), (1920, 1080, 0.06)):
            browser.resize(width, height)
            # The colour of the card changes smoothly.
            wait_until(lambda: _share(browser, tmp_path, _COLOURS[verdict]) > least_share)  # noqa: B023
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    browser.wait_for("document.querySelectorAll('#finds img').length === 1")
    assert _text(browser, "#score") == "4.000"
    assert browser.problems == []


def test_a_defective_part_is_shown_with_its_file_and_times_with_their_zone(browser: Browser) -> None:
    with LivePage() as page:
        result = judged(1, 4.0)
        path = "/data/<b>parts</b>/photo 7.png"
        page.show(replace(result, frame=replace(result.frame, source="/data/parts", path=path)))
        page.control.emit(Event("alarm", 1_700_000_000.0, text="The disk is full."))
        page.pass_events()
        browser.call("Emulation.setTimezoneOverride", timezoneId="America/St_Johns")
        browser.open(page.sink.url, width=1366, height=768)
        browser.wait_for("document.querySelectorAll('#finds button').length === 1")
        browser.evaluate("document.querySelector('#finds button').click()")
        browser.wait_for("document.querySelector('#find').open")
        assert _text(browser, "#find-title") == "2023-11-14 18:43:21 UTC−03:30"
        assert path in _text(browser, "#find-facts")
        browser.wait_for("document.querySelector('#clock').textContent.includes(' UTC−0')")
        browser.wait_for("document.querySelector('#events time')?.title === '2023-11-14 18:43:20 UTC−03:30'")
        browser.call("Emulation.setTimezoneOverride", timezoneId="")
        assert browser.problems == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_a_defect_is_marked_with_its_kind_and_its_place(
    browser: Browser, tmp_path: Path, width: int, height: int
) -> None:
    with LivePage(corrections=tmp_path / "corrected") as page:
        page.show(judged(1, 4.0))
        browser.open(page.sink.url, width=width, height=height)
        browser.wait_for("document.querySelectorAll('#finds button').length === 1")
        browser.evaluate("document.querySelector('#finds button').click()")
        browser.wait_for("document.querySelector('#find-picture').naturalWidth > 0")
        browser.evaluate("document.querySelector('#find-mark').click()")
        browser.wait_for("!document.querySelector('#find-place').hidden")
        x, y, right = browser.evaluate("""(() => {
            const box = document.querySelector('#find-picture').getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2, box.x + box.width / 2 + 20];
        })()""")
        for kind, at in (("mousePressed", x), ("mouseMoved", right), ("mouseReleased", right)):
            browser.call("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", buttons=1, clickCount=1)
        browser.evaluate("document.querySelector('#find-kind').value = 'scratch'")
        browser.evaluate("document.querySelector('#find-by').value = 'Ada'")
        assert browser.evaluate("document.querySelector('#find').scrollHeight <= innerHeight")
        browser.evaluate("document.querySelector('#find-defect').click()")
        browser.wait_for("document.querySelector('#find-told').textContent.includes('a defect (scratch)')")
        (mask,) = (tmp_path / "corrected" / "masks" / "scratch").iterdir()
        rows, columns = np.nonzero(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE))
        assert abs(rows.mean() - 120) < 8
        assert abs(columns.min() - 160) < 12
        assert columns.max() > 164
        assert browser.problems == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_a_false_alarm_is_marked_and_taken_back_and_parts_are_listed(
    browser: Browser, tmp_path: Path, width: int, height: int
) -> None:
    with LivePage(corrections=tmp_path / "corrected") as page:
        page.show(judged(1, 4.0), judged(2, 0.5))
        data = {"part": 7, "part_id": "", "verdict": "NG", "frames": 2, "defective": 1, "score": 4.0}
        page.sink.event(Event("part", 1_700_000_000.0, "cam 0", "", data))
        browser.open(page.sink.url, width=width, height=height)
        browser.wait_for("document.querySelectorAll('#finds button').length === 1")
        browser.evaluate("document.querySelector('#finds button').click()")
        browser.wait_for("document.querySelector('#find').open")
        browser.evaluate("document.querySelector('#find-by').focus()")
        browser.press("Ada" + _ENTER)
        browser.wait_for("document.querySelector('#find-told').textContent.includes('false alarm')")
        assert browser.evaluate("document.querySelector('#find').scrollHeight <= innerHeight")
        assert len(list((tmp_path / "corrected" / "good").iterdir())) == 1
        browser.evaluate("document.querySelector('#find-label').click()")
        browser.wait_for("document.querySelector('#find-told').textContent === ''")
        assert list((tmp_path / "corrected" / "good").iterdir()) == []
        browser.press(_ESCAPE)
        browser.evaluate("document.querySelector('[data-finds=passes]').click()")
        browser.wait_for("document.querySelector('#finds-title').textContent === 'Passed'")
        browser.evaluate("document.querySelector('[data-log=parts]').click()")
        browser.wait_for("document.querySelector('#parts').textContent.includes('Part 7 NG')")
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.problems == []


def test_threshold_is_changed_with_a_second_look_and_by_keyboard(living: LivePage, browser: Browser) -> None:
    browser.open(living.sink.url, width=1366, height=768)
    browser.wait_for("document.querySelector('#word').textContent === 'OK'")
    browser.evaluate("document.querySelector('#change').focus()")
    browser.press(_ENTER)
    browser.wait_for("document.activeElement.id === 'value'")
    browser.press("0,25")
    browser.wait_for("document.querySelector('#effect').textContent.includes('would be defective')")
    browser.press(_TAB * 2)
    browser.wait_for("document.activeElement.id === 'value-by'")
    browser.press("Ada")
    browser.press(_ENTER)
    browser.wait_for("document.activeElement.textContent === 'Change it'")
    assert living.control.threshold == 1.0
    browser.press(_ENTER)
    browser.wait_for("document.querySelector('#threshold').textContent === '0.2500'")
    browser.wait_for("document.querySelector('#events').textContent.includes('from 1 to 0.25 by Ada (127.0.0.1)')")
    assert living.control.threshold == 0.25


def test_page_never_shows_a_verdict_that_is_none(browser: Browser) -> None:
    with LivePage() as page:
        browser.open(page.sink.url, width=1366, height=768)
        browser.wait_for("document.querySelector('#why').textContent === 'Waiting for the first frame'")
        page.show(replace(judged(0), frame=replace(judged(0).frame, source="cam")))
        browser.wait_for("document.querySelector('#word').textContent === 'OK'")
        page.sink.event(Event("source lost", time.time(), "cam", "cam does not answer."))
        browser.wait_for("document.querySelector('#word').textContent === 'NO SIGNAL'")
        assert _text(browser, "#alarms span") == "cam does not answer."
        assert _text(browser, "#connection") == "No signal"
        assert float(browser.evaluate("getComputedStyle(document.querySelector('#picture')).opacity")) < 0.5
        page.sink.event(Event("source returned", time.time(), "cam"))
        browser.wait_for("document.querySelector('#why').textContent.startsWith('Last part')")
        assert _text(browser, "#connection") == "Live"
        assert float(browser.evaluate("getComputedStyle(document.querySelector('#picture')).opacity")) == 1.0
        page.control.pause("Ada")
        browser.wait_for("document.querySelector('#word').textContent === 'PAUSED'")
    browser.wait_for("document.querySelector('#connection').textContent === 'No connection'")
    assert _text(browser, "#word") == "–"


@pytest.mark.parametrize(
    ("score", "pixel", "why"),
    [(math.nan, 0.0, "The score is not finite"), (math.inf, 0.0, "The score is not finite"),
     (0.5, math.nan, "The anomaly map is not finite")],
)  # fmt: skip
def test_what_is_not_finite_is_said_and_is_no_good_part(browser: Browser, score: float, pixel: float, why: str) -> None:
    with LivePage() as page:
        page.show(judged(0, score, pixel=pixel))
        browser.open(page.sink.url, width=1366, height=768)
        browser.wait_for("document.querySelector('#word').textContent === 'NG'")
        assert _text(browser, "#why").startswith(why)
        told = [_text(browser, "#score"), _text(browser, "#threshold")]
        assert told == ["0.5000" if math.isfinite(score) else "not finite", "1.000"]
        browser.wait_for("document.querySelectorAll('#finds button').length === 1")
        assert _text(browser, "#finds b") == told[0]
        browser.evaluate("document.querySelector('#finds button').click()")
        browser.wait_for("document.querySelector('#find').open")
        assert _text(browser, "#find-facts").startswith(f"Score {told[0]} · threshold {told[1]} · ")
        browser.press(_ESCAPE)
        browser.evaluate("document.querySelector('#change').click()")
        browser.wait_for("document.querySelector('#threshold-dialog').open")
        assert _text(browser, "#old-value") == told[1]
        assert browser.problems == []


def test_login_and_the_picture_of_a_find(browser: Browser) -> None:
    with LivePage(token="a-token-of-the-user") as page:
        page.show(replace(judged(7, 3.0), frame=replace(judged(7).frame, source="<i>cam</i>")))
        browser.open(page.sink.url, width=390, height=844)
        browser.wait_for("document.activeElement.id === 'token'")
        browser.press("a-token-of-the-user")
        browser.press(_ENTER)
        browser.wait_for("document.querySelectorAll('#finds button').length === 1")
        browser.evaluate("document.querySelector('#finds button').click()")
        browser.wait_for("document.querySelector('#find-picture').naturalWidth === 640")
        assert "frame 7 · <i>cam</i>" in _text(browser, "#find-facts")
        browser.press(_ESCAPE)
        browser.wait_for("!document.querySelector('#find').open")
        assert not browser.evaluate("document.querySelector('#logout').hidden")


def test_page_goes_to_the_login_when_its_session_ends_elsewhere(browser: Browser) -> None:
    with LivePage(token="a-token-of-the-user") as page:
        page.show(judged(7))
        browser.open(page.sink.url, width=390, height=844)
        browser.wait_for("document.activeElement.id === 'token'")
        browser.press("a-token-of-the-user")
        browser.press(_ENTER)
        browser.wait_for("document.querySelector('#word').textContent === 'OK'")
        session = _cookies(browser)[f"edge_ad_{page.port}"]
        assert page.post("/logout", {}, cookie=f"edge_ad_{page.port}={session}").status == 303
        browser.wait_for("document.activeElement.id === 'token'")
        assert f"edge_ad_{page.port}" not in _cookies(browser)


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.word)
def test_the_page_shows_what_a_role_may_do_and_asks_no_name_of_a_person(
    browser: Browser, role: Role, tmp_path: Path
) -> None:
    user = User("Ada", role, "a-token-of-her-own")
    with LivePage(users=[user], corrections=tmp_path / "corrected") as page:
        page.show(judged(0, 2.0))
        browser.open(page.sink.url, width=1280, height=800)
        fill = f"document.querySelector('#token').value = {user.token!r}"
        browser.evaluate(f"({fill}, document.querySelector('form').requestSubmit())")
        browser.wait_for("document.querySelector('#finds button') !== null")
        browser.evaluate("document.querySelector('#finds button').click()")
        browser.wait_for("document.querySelector('#find').open")
        shown = {
            name: bool(browser.evaluate(f"document.querySelector('#{name}').getClientRects().length > 0"))
            for name in ("pause", "change", "find-label", "find-defect", "find-by", "download")
        }
        assert browser.problems == []
    engineer, operator = role is Role.ENGINEER, role >= Role.OPERATOR
    expected = {"pause": engineer, "change": engineer, "find-label": operator, "find-defect": operator}
    expected |= {"find-by": False, "download": True}
    assert shown == expected
