"""The container files agree with the program: its commands, its metrics, and the files that an image needs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_ad.server.metrics import StreamMetrics
from edge_ad.streaming.frame import Event, Unjudged
from edge_ad.streaming.progress import Progress, SourceProgress
from tests.docs.pages import ROOT
from tests.docs.test_commands import parse
from tests.streaming.results import Told, make_result

CONTAINERS = ROOT / "containers"
_QUERIES = re.compile(r"\b(edge_ad_\w+)(?:\{([^}]*)\})?")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, of the extra docs")
    text = (CONTAINERS / "compose.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def test_the_command_of_the_compose_file_is_taken(compose: dict[str, Any]) -> None:
    parse(compose["services"]["line"]["command"])


def test_the_compose_file_names_files_that_are_there(compose: dict[str, Any]) -> None:
    build = compose["services"]["line"]["build"]
    assert (CONTAINERS / build["context"] / build["dockerfile"]).is_file()
    mounts = [mount.split(":")[0] for service in compose["services"].values() for mount in service.get("volumes", ())]
    assert [mount for mount in mounts if mount.startswith("./") and not (CONTAINERS / mount).exists()] == []


def test_prometheus_reads_the_port_of_the_metrics_with_the_token(compose: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml")
    (job,) = yaml.safe_load(compose["configs"]["prometheus"]["content"])["scrape_configs"]
    command = compose["services"]["line"]["command"]
    port = command[command.index("--metrics") + 1].rsplit(":", 1)[1]
    assert job["static_configs"] == [{"targets": [f"line:{port}"]}]
    assert job["authorization"] == {"credentials": "${EDGE_AD_WEB_TOKEN}"}


def test_nothing_of_the_line_but_its_page_is_reached_from_outside(compose: dict[str, Any]) -> None:
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}
    assert {name for name, published in ports.items() if published} == {"line", "grafana"}
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)


def test_every_query_of_the_dashboard_is_of_a_metric_that_is_served() -> None:
    metrics = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    samples = [sample for family in metrics.text_string_to_metric_families(_served()) for sample in family.samples]
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    board = json.loads((CONTAINERS / "grafana" / "edge-ad.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked = [found for query in queries for found in _QUERIES.findall(query)]
    assert len(asked) > 15
    assert {name for name, _ in asked} - labels.keys() == set()
    for name, selector in asked:
        assert set(re.findall(r"(\w+)[=~!]+\"", selector)) <= labels[name], (name, selector)


def test_every_group_and_legend_of_the_dashboard_is_a_label_that_is_served() -> None:
    board = json.loads((CONTAINERS / "grafana" / "edge-ad.json").read_text(encoding="utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    used = {name for target in targets for name in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])}
    grouped = {name for target in targets for name in re.findall(r"by \((\w+)\)", target["expr"])}
    served = set(re.findall(r"[{,](\w+)=\"", _served()))
    assert (used | grouped) - served == set()


def _served() -> str:
    """The metrics of a stream that has seen everything once."""
    metrics, control = StreamMetrics(), Told()
    row = SourceProgress(name="line", dropped=1, reconnects=1, fps=25.0)
    control.report_from(lambda: Progress(sink_drops={"mqtt": 1}, sources=(row,)))
    metrics.control = control
    result = make_result(source="line")
    metrics.add(result, "line")
    metrics.add_unjudged(Unjudged(result.frame, "black"), "line")
    metrics.add_event(Event("alarm", 0.0, data={"alarm": "records"}))
    with_scene = _with_scene(result)
    metrics.add(with_scene, "line")
    return metrics.expose().decode()


def _with_scene(result: Any) -> Any:
    from dataclasses import replace

    from edge_ad.scene import SceneLimits, SceneMeasures, SceneReading

    measures = SceneMeasures(*[1.0] * len(SceneMeasures._fields))
    limits = SceneLimits.of([measures] * 20)
    assert limits is not None
    return replace(result, scene=SceneReading(measures, limits))


@pytest.mark.parametrize("path", sorted(CONTAINERS.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_what_an_image_copies_is_there_and_is_sent(path: Path) -> None:
    sent = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    copied = [
        word for line in re.findall(r"^COPY (.+)$", path.read_text("utf-8"), re.MULTILINE) for word in line.split()[:-1]
    ]
    assert copied
    assert [name for name in copied if name not in sent or not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", sorted(CONTAINERS.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_every_extra_of_an_image_exists(path: Path) -> None:
    wanted = re.findall(r"'\.\[([\w,-]+)\]'", path.read_text(encoding="utf-8"))
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert wanted
    assert [name for name in wanted[0].split(",") if not re.search(rf"^{name} = \[", declared, re.MULTILINE)] == []
