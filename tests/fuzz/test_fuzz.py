"""What once found something finds nothing any more, nor do a few new inputs; and the harness finds what is there."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.console import complaint
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.runner import corpus_of, fuzz
from tests.fuzz.target import Target, pack, unpack
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import Worker

_NEEDS = {"runs": "torch", "mqtt": "paho.mqtt.client"} | dict.fromkeys(("page", "trigger", "metrics"), "granian")
_NEW_INPUTS = 8


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_a_few_new_inputs_find_nothing(name: str, tmp_path: Path) -> None:
    if name in _NEEDS:
        pytest.importorskip(_NEEDS[name])
    report = fuzz(TARGETS[name](), seed=0, seconds=600, most=_NEW_INPUTS, out=tmp_path)
    assert report.findings == {}
    assert report.tried == _NEW_INPUTS + len(corpus_of(name))


class Misbehaving(Target):
    """Does what its input says."""

    name = "misbehaving"
    limit_s = 0.5
    limit_mib = 64

    def make(self, rng: random.Random) -> bytes:
        return rng.choice((b"fine", b"raise"))

    def run(self, content: bytes) -> str:
        match content:
            case b"raise":
                raise ValueError("part 17")
            case b"exit":
                sys.exit(0)
            case b"crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case b"hang":
                time.sleep(60)
            case b"memory":
                kept = bytearray(os.urandom(1 << 20) * 256)
                time.sleep(60)
                del kept
        return ""


@pytest.mark.parametrize("what", ["raise", "exit", "crash", "hang"])
def test_a_finding_ends_neither_the_run_nor_the_target(what: str) -> None:
    words = {"raise": "ValueError in test_fuzz.py:run: part N", "exit": "SystemExit", "crash": "ended with -11"}
    with Worker(Misbehaving()) as worker:
        for _ in range(2):
            assert words.get(what, "hang") in worker.try_input(what.encode())
            assert worker.try_input(b"fine") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_too_much_memory_is_a_finding() -> None:
    target = Misbehaving()
    target.limit_s = 60.0  # type: ignore[misc]
    with Worker(target) as worker:
        assert worker.try_input(b"memory").startswith("memory")
        assert worker.try_input(b"fine") == ""


def test_inputs_that_find_something_are_counted_and_kept(tmp_path: Path) -> None:
    report = fuzz(Misbehaving(), seed=0, seconds=600, most=20, out=tmp_path)
    ((finding, paths),) = report.kept.items()
    assert report.findings[finding] > 3
    assert [path.read_bytes() for path in paths] == [b"raise"]


@pytest.mark.parametrize("name", ["images", "trigger", "camera", "mqtt"])
def test_a_seed_makes_the_same_inputs(name: str) -> None:
    made = []
    for _ in range(2):
        target = TARGETS[name]()
        target.prepare()
        made.append([target.make(random.Random(f"{index}")) for index in range(20)])
    assert made[0] == made[1]
    assert len(set(made[0])) > 10


def test_mutations_change_something_and_do_not_fail() -> None:
    content = b'{"a": [1, {"b": null}], "c": "text"}'
    texts = {mutate_json(content, random.Random(seed)) for seed in range(300)}
    assert len(texts) > 100
    assert len({mutate_bytes(content, random.Random(seed)) for seed in range(300)}) > 100
    assert mutate_bytes(b"", random.Random(0)) is not None


def test_files_come_back_as_they_were_packed() -> None:
    files = {"manifest.json": b"{}", "engines/a/model.xml": b"\0" * 100}
    assert unpack(pack(files)) == files
    assert pack(files) == pack(files)


def test_what_a_command_must_never_say_is_found() -> None:
    bug = 'Traceback:\n  File "/x/manifest.py", line 7, in read\nerror: KeyError: 17 (this is a bug in edge-ad).\n'
    assert complaint(1, bug).startswith("bug in manifest.py:read: error: KeyError: N")
    assert complaint(1, "error: The file is damaged.\nhint: Copy it again.\n") == ""
    assert complaint(0, "") == ""
    assert complaint(1, "") == "exit code 1 without an error line"
    assert complaint(139, "error: x") == "exit code 139"
