"""Times are shown with their zone, and read in the same one, also when the clock is changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from edge_ad.cli import main
from edge_ad.cli.console import local_time
from edge_ad.streaming.records import RecordStore, VerdictRow

pytestmark = pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its zone")

_AUTUMN = 1_761_436_800.0  # 2025-10-26T00:00:00Z: an hour later Berlin's clock goes back from 03:00 to 02:00


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def change(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A record every half an hour, from an hour before the clock goes back."""
    path = tmp_path / "line.sqlite"
    store = RecordStore(path, source="line")
    rows = [VerdictRow("line", "b", n, _AUTUMN + 1800 * (n - 2), 0.5, 1.0, False, 1.0, 1.0) for n in range(12)]
    store.commit(rows)
    store.close()
    return path


def _frames(capsys: pytest.CaptureFixture[str], database: Path, *arguments: str) -> list[int]:
    assert main(["records", "list", str(database), *arguments, "--json"]) == 0
    return [record["frame"] for record in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "UTC"])
def test_a_time_that_was_shown_finds_the_records_from_then_on(
    zone: str, database: Path, in_zone: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    in_zone(zone)
    assert main(["records", "list", str(database), "--json"]) == 0
    shown = [record["time"] for record in json.loads(capsys.readouterr().out)]
    for frame, text in enumerate(shown):
        assert datetime.fromisoformat(text).timestamp() == _AUTUMN + 1800 * (frame - 2)
        assert _frames(capsys, database, "--since", text) == list(range(frame, 12))
    last = shown[-1][:19]  # without its zone
    assert _frames(capsys, database, "--since", last) == [11]
    assert shown[0][-6:] == {"Europe/Berlin": "+02:00", "America/St_Johns": "-02:30", "Asia/Kathmandu": "+05:45"}.get(
        zone, "+00:00"
    )


def test_an_hour_that_was_twice_leaves_nothing_out_and_is_told(
    database: Path, in_zone: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    in_zone("Europe/Berlin")
    assert main(["records", "list", str(database), "--json", "--since", "2025-10-26T02:30"]) == 0
    output = capsys.readouterr()
    assert [record["frame"] for record in json.loads(output.out)] == list(range(3, 12))
    assert "existed twice; taking 2025-10-26 02:30:00+02:00" in output.err
    assert _frames(capsys, database, "--until", "2025-10-26T02:30") == [0, 1, 2, 3, 4]
    assert _frames(capsys, database, "--since", "2025-10-26T02:30+01:00") == list(range(5, 12))
    assert _frames(capsys, database, "--since", "2025-10-26 02:30+0100") == list(range(5, 12))
    assert _frames(capsys, database, "--since", "2025-10-26T02:30:00+01") == list(range(5, 12))
    assert _frames(capsys, database, "--since", "2025-10-26T01:30z") == list(range(5, 12))


def test_an_hour_that_never_was_is_refused_and_a_day_without_its_midnight_is_not(
    database: Path, in_zone: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    in_zone("Europe/Berlin")
    assert main(["records", "list", str(database), "--since", "2025-03-30T02:30"]) == 2
    error = capsys.readouterr().err
    assert "did not exist here" in error
    assert "2025-03-30 03:30:00+02:00" in error
    in_zone("Asia/Beirut")  # goes from 00:00 to 01:00
    assert _frames(capsys, database, "--since", "2025-03-30") == list(range(12))


def test_events_exports_and_trends_have_the_zone(
    database: Path, in_zone: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    in_zone("America/St_Johns")
    table = tmp_path / "out.csv"
    assert main(["records", "export", str(database), "--out", str(table)]) == 0
    assert "2025-10-25T20:30:00.000-02:30" in table.read_text()
    assert main(["records", "trend", str(database)]) == 0
    assert "2025-10-25 20:30-02:30" in capsys.readouterr().out
    assert local_time(_AUTUMN) == "2025-10-25 21:30:00-02:30"
