"""``edge-ad inspect``."""

import json

import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.runtime.engines import build_engine


def test_a_person_sees_what_was_trained_and_that_the_files_are_whole(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(bundle.root)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for shown in ("blue", "tiles", "32 x 32", "model.onnx", "2, every SHA-256 as recorded", "No engines"):
        assert shown in out


def test_a_program_gets_the_whole_manifest_and_the_engines(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    build_engine(bundle, backend="onnxruntime")
    assert main(["inspect", str(bundle.root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["manifest"]["graphs"]["fp32"]["threshold"]["value"] == 0.5
    assert shown["verified_files"] == 2
    assert shown["engines"][0]["sidecar"]["backend"] == "onnxruntime"


def test_a_damaged_file_is_named_and_exits_1(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    graph = bundle.root / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    assert main(["inspect", str(bundle.root)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "model.onnx" in err.splitlines()[0]


def test_a_changed_file_of_an_engine_is_named(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    engine = build_engine(bundle, backend="onnxruntime")
    name = next(iter(engine.sidecar.files))
    (engine.path / name).write_bytes(b"something else")
    assert main(["inspect", str(bundle.root)]) == 1
    error = capsys.readouterr().err
    assert f"{name} was changed or damaged" in error
    assert "edge-ad build-engine" in error


def test_the_fields_of_a_bundle_do_nothing_to_a_terminal(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = bundle.root / "manifest.json"
    document = json.loads(manifest.read_text())
    document |= {"method": "\x1b]0;title\x07", "product": "tiles\x1b[2J\r\n\u202e", "versions": {"\x9b1m": "\x1bc"}}
    manifest.write_text(json.dumps(document))
    main(["inspect", str(bundle.root)])
    shown = "".join(capsys.readouterr())
    assert shown
    assert not any(sign in shown for sign in "\x1b\x07\x9b\r\u202e")
