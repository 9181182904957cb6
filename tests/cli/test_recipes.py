"""Recipes: every fault at once, every option of `stream`, and a command line that wins."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.cli.app import load_verb
from edge_ad.cli.recipe_file import read_recipe
from edge_ad.cli.recipe_model import recipe_model, settings
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.records.store import RecordStore
from edge_ad.strict_yaml import parse_yaml


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _parts(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    for number in range(count):
        image = np.full((32, 32, 3), 60 + number, np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


@pytest.mark.parametrize(
    ("text", "value"),
    [("12:30", "12:30"), ("no", "no"), ("2026-11-29", "2026-11-29"), ("007", "007"), ("1e-3", 1e-3), ("true", True)],
)
def test_yaml_means_what_it_looks_like(text: str, value: object) -> None:
    assert parse_yaml(f"a: {text}".encode()) == {"a": value}


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "a: {b: 1, b: 2}", "a: &x 1\nb: *x", "1: 2", "a: !!python/name:os", "["]
)
def test_yaml_that_means_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|references|twice"):
        parse_yaml(text.encode())


def test_every_option_of_stream_but_the_recipes_themselves_can_stand_in_a_recipe() -> None:
    options = {parameter.name: parameter.opts[0].removeprefix("--") for parameter in load_verb("stream").params}
    others = {"recipe", "recipes", "most_bundles", "most_mb", "golden", "trust", "plain_http", "every_s"}
    assert {name: one for name, one in options.items() if name not in others} == {
        setting.parameter: name for name, setting in settings().items()
    }


def test_check_shows_every_fault_in_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "bundle: nowhere\npart: 2/q\nbatch: 0\nloop: yes\nregoin: 1\nprecision: int9\nexposure: a\n"
    path = _write(tmp_path / "plate.yaml", text)
    assert main(["recipe", "check", str(path)]) == 2
    out, err = capsys.readouterr()
    fields = [line.removeprefix(f"{path}: ").partition(":")[0] for line in out.splitlines()]
    assert sorted(fields) == ["batch", "bundle", "exposure", "loop", "part", "precision", "regoin"]
    assert "did you mean region?" in out
    assert err.startswith("error: 7 faults")


def test_check_finds_values_that_the_stream_would_refuse(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    good = "exposure: 8000\ngain: 0\nfps: 5\ntrigger: http:8081\ngpio: gpiochip0,ng=17,pulse=50ms\nmqtt: mqtt://h/t\n"
    path = _write(tmp_path / "plate.yaml", f"bundle: {bundle.root}\n{good}webhook: https://h/x\n")
    assert main(["recipe", "check", str(path)]) == 0
    wrong = "exposure: -8\ngain: -1\nfps: 0\nwidth: 0\ntrigger: bogus\ngpio: gpiochip0\nmqtt: h\nwebhook: h\n"
    path = _write(tmp_path / "plate.yaml", f"bundle: {bundle.root}\n{wrong}")
    capsys.readouterr()
    assert main(["recipe", "check", str(path)]) == 2
    fields = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()]
    assert sorted(fields) == ["exposure", "fps", "gain", "gpio", "mqtt", "trigger", "webhook", "width"]


@pytest.mark.parametrize("bundle", ["~nobody-here/plate", "x" * 400])
def test_path_that_no_machine_has_is_a_fault(bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path / "plate.yaml", f"bundle: {bundle}\n")
    assert main(["recipe", "check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err.startswith("error: 1 fault")
    assert main(["stream", "--recipe", str(path), "--source", str(tmp_path), "--headless"]) != 0
    assert "bug" not in capsys.readouterr().err


def test_check_of_a_folder_finds_names_twice_and_what_a_running_stream_cannot_change(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path / "a.yaml", f"bundle: {bundle.root}\nnumber: 1\nname: Plate\n")
    _write(tmp_path / "b.yaml", f"bundle: {bundle.root}\nnumber: 1\nname: Plate\nregion: 10%,0%,50%,50%\n")
    _write(tmp_path / "c.yaml", f"bundle: {bundle.root}\ntrigger: every:2\nthreshold: 0.4\n")
    assert main(["recipe", "check", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert [line.split(": ")[1] for line in out.splitlines()] == ["name", "number", "trigger"]
    (tmp_path / "b.yaml").unlink()
    (tmp_path / "c.yaml").unlink()
    assert main(["recipe", "check", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipes"][0]["name"] == "Plate"


def test_check_of_a_folder_finds_what_only_some_recipes_give(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path / "a.yaml", f"bundle: {bundle.root}\npart: 2/5\nexposure: 100\n")
    _write(tmp_path / "b.yaml", f"bundle: {bundle.root}\npart: 1/3\ngain: 2\n")
    _write(tmp_path / "c.yaml", "part: 1/1\nexposure: 50\ngain: 1\n")
    _write(tmp_path / "d.yaml", f"bundle: {bundle.root}\nexposure: 50\ngain: 1\n")
    (tmp_path / "e.yaml").symlink_to("nowhere")
    assert main(["recipe", "check", str(tmp_path)]) == 2
    lines = [line.removeprefix(f"{tmp_path}/").split(": ")[:2] for line in capsys.readouterr().out.splitlines()]
    assert sorted(lines) == [
        ["a.yaml", "gain"],
        ["b.yaml", "exposure"],
        ["c.yaml", "bundle"],
        ["d.yaml", "part"],
        ["e.yaml", "cannot be read"],
    ]


def test_schema_describes_what_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert settings().keys() <= schema["properties"].keys()
    assert schema["additionalProperties"] is False
    assert recipe_model().model_validate({"web": True, "camera": 0}).model_dump(exclude_none=True) == {
        "web": "",
        "cameras": ["0"],
    }


def test_stream_takes_its_options_from_a_recipe_and_the_command_line_wins(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = _parts(tmp_path / "parts")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    text = f"bundle: {bundle.root}\nsource: {parts}\nheadless: true\nverdict-file: ../lines.jsonl\nthreshold: 0.01\n"
    _write(recipes / "plate.yaml", text)
    assert main(["stream", "--recipe", str(recipes / "plate.yaml"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["defective"], summary["threshold"]) == (3, 3, 0.01)
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 3
    chosen = ["--recipes", str(recipes), "--recipe=plate", "--threshold", "0.9", "--overwrite", "--json"]
    assert main(["stream", *chosen]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == 0.9


def test_stream_says_at_its_start_which_recipes_it_cannot_be_switched_to(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, recipes = _parts(tmp_path / "parts"), tmp_path / "recipes"
    recipes.mkdir()
    for name, more in (("a", "number: 1"), ("b", "number: 1"), ("c", "part: 1/2"), ("d", "number: x")):
        _write(recipes / f"{name}.yaml", f"bundle: {bundle.root}\n{more}\n")
    chosen = ["--recipes", str(recipes), "--recipe", "a", "--source", str(parts), "--headless", "--json"]
    assert main(["stream", *chosen]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("The stream cannot be switched")]
    assert len(said) == 3
    for word in ("d.yaml: number", "2 recipes have the number 1.", "c has a part rule"):
        assert any(word in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "nowhere.yaml"], "no recipe nowhere.yaml"),
        (["--recipes", "."], "which recipe the stream begins with"),
        (["--recipes", ".", "--recipe", "rod"], "has no recipe rod"),
        (["--recipe", "plate.yaml"], "part: '2/q'"),
    ],
)
def test_wrong_recipe_ends_the_command_with_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    _write(tmp_path / "plate.yaml", "part: 2/q\n")
    monkeypatch.chdir(tmp_path)
    assert main(["stream", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err.splitlines()[0]
    assert len(err.splitlines()) == 2


_GOLDEN = "every: 8h\nparts: [{id: M1, expect: OK}, {id: M2, expect: NG}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_GOLDEN, "needs a trigger that gives ids"),
        (_GOLDEN + "identify: order\n", "when the next part comes"),
        (_GOLDEN + "every: 9h\n", "every is given twice"),
        ("golden: {every: 8h}\n", "leave out the line golden:"),
        ("- M1\n", "write NAME: VALUE"),
        (_GOLDEN.replace("NG", "bad") + "on-failure: ignore\n", "on-failure"),
    ],
)
def test_golden_check_that_cannot_be_done_is_one_line(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = _write(tmp_path / "golden.yaml", text)
    assert main(["stream", "--bundle", str(bundle.root), "--camera", "0", "--golden", str(path), "--headless"]) == 2
    assert said in capsys.readouterr().err.splitlines()[0]


def test_golden_check_needs_one_verdict_where_several_cameras_look_at_a_part(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path / "golden.yaml", _GOLDEN + "identify: operator\n")
    folders = [part for name in ("left", "right") for part in ("--source", f"{name}={_parts(tmp_path / name)}")]
    asked = ["stream", "--bundle", str(bundle.root), *folders, "--golden", str(path), "--headless", "--json"]
    assert main(asked) == 2
    assert "needs one verdict on the part" in capsys.readouterr().err


def test_golden_check_of_a_recipe_is_asked_for_and_recorded(tmp_path: Path, bundle: Bundle) -> None:
    parts, database = _parts(tmp_path / "parts"), tmp_path / "line.sqlite"
    golden = "golden:\n  " + (_GOLDEN + "identify: order\n").replace("\n", "\n  ")
    recipe = _write(tmp_path / "plate.yaml", f"bundle: {bundle.root}\nname: Plate A\n{golden}")
    chosen = ["--recipe", str(recipe), "--source", str(parts), "--database", str(database), "--headless", "--json"]
    assert main(["stream", *chosen]) == 0
    with RecordReader(database) as reader:
        assert {record["recipe"] for record in reader.records(RecordFilter())} == {"Plate A"}
        kinds = [event["event"] for event in reader.events(RecordFilter())]
    assert {"recipe switched", "golden check due"} <= set(kinds)


def test_a_line_that_a_golden_check_stopped_is_not_freed_by_starting_the_stream_again(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, database = _parts(tmp_path / "parts"), tmp_path / "line.sqlite"
    golden = "golden:\n  " + (_GOLDEN + "identify: operator\n").replace("\n", "\n  ")
    recipe = _write(tmp_path / "plate.yaml", f"bundle: {bundle.root}\nname: Plate A\n{golden}")
    data = {"recipe": "Plate A", "recipe_hash": read_recipe(recipe).hash}
    store = RecordStore(database, source="line")
    store.commit([Event("golden check failed", 1_700_000_000.0, text="failed", data=data)])
    store.close()
    chosen = ["--recipe", str(recipe), "--source", str(parts), "--database", str(database), "--headless", "--json"]
    assert main(["stream", *chosen]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 0
    with RecordReader(database) as reader:
        assert list(reader.records(RecordFilter())) == []
