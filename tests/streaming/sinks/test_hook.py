"""The command hook: what it is told, one at a time, never for ever, never through a shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edge_ad.credentials import MQTT_PASSWORD, MQTT_USER, TRIGGER_TOKEN, WEB_TOKEN, WEBHOOK_TOKEN
from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Event
from edge_ad.streaming.sinks import hook_sink
from edge_ad.streaming.sinks.hook import HookSink
from tests.streaming.fakes import FakeSource
from tests.streaming.results import PATIENCE_S, Told, make_result, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the commands are those of a POSIX system")


def _begun(command: str, told: Told | None = None, *, timeout_s: float = PATIENCE_S) -> HookSink:
    sink = hook_sink(command, timeout_s=timeout_s)
    assert isinstance(sink, HookSink)
    sink.attach(told or Told())
    sink.begin(FakeSource(None))
    return sink


def _ng(**data: object) -> Event:
    return Event("ng", 1_700_000_000.0, "camera; rm -rf /", 'Part "3" is $(defective).', data)


def _script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hook.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_defect_runs_the_command_with_its_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in (WEB_TOKEN, TRIGGER_TOKEN, WEBHOOK_TOKEN, MQTT_USER, MQTT_PASSWORD, "EDGE_AD_SECRET_OF_TOMORROW"):
        monkeypatch.setenv(secret, "s3cret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LINE", "7")
    out = tmp_path / "out"
    script = _script(tmp_path, 'env > "$1"')
    sink = _begun(f"{script} '{out}'")
    sink.write(make_result(), None)
    sink.event(_ng(score=1.5, threshold=1.0, frame=7, path="/data/a 1.png", part=3, regions=[{"x": 1}]))
    sink.close()
    assert "s3cret" not in out.read_text()
    assert "NOTIFY_SOCKET" not in out.read_text()
    assert "LINE=7" in out.read_text().splitlines()  # what the user set for the command is the user's
    facts = dict(line.split("=", 1) for line in out.read_text().splitlines() if line.startswith("EDGE_AD_"))
    assert facts == {
        "EDGE_AD_EVENT": "ng",
        "EDGE_AD_VERDICT": "NG",
        "EDGE_AD_SOURCE": "camera; rm -rf /",
        "EDGE_AD_TIME": "2023-11-14T22:13:20.000+00:00",
        "EDGE_AD_TEXT": 'Part "3" is $(defective).',
        "EDGE_AD_SCORE": "1.5",
        "EDGE_AD_THRESHOLD": "1.0",
        "EDGE_AD_FRAME": "7",
        "EDGE_AD_PATH": "/data/a 1.png",
        "EDGE_AD_PART": "3",
        "EDGE_AD_REGIONS": '[{"x": 1}]',
    }


def test_command_is_told_why_a_part_is_defective_that_has_no_finite_score(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sink = _begun(str(_script(tmp_path, f"env > {out}")))
    sink.event(Event("ng", 1.0, data={"score": None, "threshold": 1.0, "reason": "not finite"}))
    sink.close()
    assert {"EDGE_AD_SCORE=", "EDGE_AD_REASON=not finite"} <= set(out.read_text().splitlines())


def test_a_source_that_is_lost_and_returns_runs_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sink = _begun(str(_script(tmp_path, f'echo "$EDGE_AD_EVENT" >> {out}')))
    for kind in ("source lost", "part", "source returned"):
        sink.event(Event(kind, 1.0, "camera"))
    sink.close()
    assert out.read_text().splitlines() == ["source lost", "source returned"]


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = _script(tmp_path, f'printf %s "$*" > {out}')
    sink = _begun(f"{script} '$HOME' '`id`' ; touch {tmp_path}/hacked")
    sink.event(_ng())
    sink.close()
    assert out.read_text() == f"$HOME `id` ; touch {tmp_path}/hacked"
    assert not (tmp_path / "hacked").exists()


def test_one_runs_at_a_time_in_order_and_the_stream_never_waits(tmp_path: Path) -> None:
    out, go_on = tmp_path / "out", tmp_path / "go on"
    waits = f"until test -e '{go_on}'; do sleep 0.01; done"
    script = _script(tmp_path, f"echo start $EDGE_AD_FRAME >> {out}; {waits}; echo end $EDGE_AD_FRAME >> {out}")
    sink = _begun(str(script))
    for number in range(5):
        sink.event(_ng(frame=number))
    go_on.touch()  # none has ended before
    sink.close()
    assert out.read_text().split("\n")[:-1] == [f"{what} {n}" for n in range(5) for what in ("start", "end")]


def test_a_command_that_hangs_is_killed_with_its_children_and_is_an_alarm(tmp_path: Path) -> None:
    told = Told()
    sink = _begun(str(_script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait")), told, timeout_s=2.0)
    sink.event(_ng())
    wait_until(lambda: told.kinds == ["alarm"])
    assert "took longer than 2 s" in told.events[0].text
    sink.close()
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not _is_running(child))


def test_a_command_that_runs_at_the_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.streaming.sinks.hook._CLOSE_S", 0.2)
    child = tmp_path / "child"
    sink = _begun(str(_script(tmp_path, f"sleep 600 & echo $! > {child}; wait")), timeout_s=3600)
    sink.event(_ng())
    wait_until(lambda: child.is_file() and child.read_text().endswith("\n"))
    sink.close()  # returns, although the command has an hour
    wait_until(lambda: not _is_running(int(child.read_text())))


def test_a_failure_is_one_alarm_until_it_works_again(tmp_path: Path) -> None:
    told = Told()
    sink = _begun(str(_script(tmp_path, f"test -e {tmp_path}/relay")), told)
    for _ in range(3):
        sink.event(_ng())
    wait_until(lambda: told.kinds == ["alarm"])
    assert "ended with 1" in told.events[0].text
    sink.event(told.events[0])  # its own alarm does not run it again
    (tmp_path / "relay").touch()
    sink.event(_ng())
    sink.close()
    assert told.kinds == ["alarm", "alarm cleared"]


def test_a_hook_that_is_far_behind_drops_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.streaming.sinks.hook._CLOSE_S", 0.0)
    sink = _begun(str(_script(tmp_path, "sleep 600")))
    for number in range(40):
        sink.event(_ng(frame=number))
    assert 23 <= sink.dropped <= 24  # one runs, or is about to
    sink.close()


@pytest.mark.parametrize("command", ["", "   ", "echo 'open", "/no/such/program --x"])
def test_what_cannot_be_run_is_refused_at_once(command: str) -> None:
    with pytest.raises(UsageError):
        hook_sink(command)


def _is_running(pid: int) -> bool:
    if sys.platform == "linux":
        try:
            return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
