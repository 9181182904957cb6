"""The report as one HTML page that needs nothing beside it, and as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.results import Results
from benchmarks.report.rows import LatencyRow
from benchmarks.report.sections import Section
from benchmarks.report.tables import markdown
from edge_ad.evaluation.charts import svg
from edge_ad.evaluation.page import markup, render

__all__ = ["render_markdown", "render_page"]

_TEMPLATES = Path(__file__).with_name("templates")


def render_page(results: Results, sections: Sequence[Section], sheets: Mapping[str, bytes] | None = None) -> str:
    """Render the report as a complete HTML document; every text from outside is escaped.

    Args:
        results: What was recorded.
        sections: Its sections.
        sheets: Name → content of a PNG file, for picture sheets.
    """
    drawings = [
        (section, [(title, markup(svg(chart, title or section.title))) for title, chart in section.charts])
        for section in sections
    ]
    return render(
        "benchmarks.html",
        _TEMPLATES,
        title="edge-ad: benchmarks",
        lead=_lead(results),
        cards=list(_cards(results.latency)),
        sections=drawings,
        sheets={name: base64.b64encode(content).decode("ascii") for name, content in (sheets or {}).items()},
        machines=_distinct_machines(results),
        graphs=[(row.product, row.engine.precision, row.graph_sha256) for row in results.latency if row.batch == 1],
    )


def render_markdown(results: Results, sections: Sequence[Section]) -> str:
    """The same figures as Markdown, without the charts."""
    parts = ["# Benchmarks", _lead(results)]
    for section in sections:
        parts += [f"## {section.title}", section.lead]
        if section.table is not None:
            parts.append(markdown(section.table))
        parts += section.notes
    parts.append("## Machine")
    parts += [", ".join(f"{name} {value}" for name, value in facts.items()) for facts in _distinct_machines(results)]
    return "\n\n".join(parts) + "\n"


def _lead(results: Results) -> str:
    dates = sorted(row.recorded[:10] for row in results.measurements)
    when = "" if not dates else f" from {dates[0]}" if dates[0] == dates[-1] else f" from {dates[0]} to {dates[-1]}"
    counts = {
        "engine": len(results.latency),
        "comparison": len(results.peers),
        "scaling curve": len(results.scaling),
        "training": len(results.accuracy),
    }
    words = [f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items() if count]
    return f"Recorded results{when}: {', '.join(words)}."


def _cards(rows: Sequence[LatencyRow]) -> Iterator[tuple[str, str, str]]:
    best: dict[str, LatencyRow] = {}
    for row in rows:
        if row.batch == 1 and (row.product not in best or row.end_to_end.p50_ms < best[row.product].end_to_end.p50_ms):
            best[row.product] = row
    for product, row in best.items():
        auroc = None if row.accuracy is None else row.accuracy.metrics.get("image_auroc")
        accuracy = "accuracy not measured" if auroc is None else f"image AUROC {auroc:.3f}"
        engine = f"{row.method}, {row.engine.backend} {row.engine.precision}"
        small = f"{engine}, p99 {row.end_to_end.p99_ms:.3g} ms; {accuracy}"
        yield product, f"{row.end_to_end.p50_ms:.3g} ms", small


def _distinct_machines(results: Results) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in results.measurements:
        facts = _machine_facts(row.machine)
        found.setdefault(str(facts), facts)
    return list(found.values())


def _machine_facts(machine: Mapping[str, Any]) -> dict[str, Any]:
    clocks = machine.get("clocks", {})
    mhz = clocks.get("mhz") or []
    facts = {
        "processor": machine.get("processor"),
        "cores": machine.get("cores"),
        "virtual machine": "yes" if machine.get("virtual") else "no",
        "clock": f"{min(mhz):.0f} to {max(mhz):.0f} MHz" if mhz else None,
        "governor": clocks.get("governor"),
        "power mode": machine.get("nvpmodel"),
        "system": machine.get("system"),
        "versions": ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items()),
    }
    return {name: value for name, value in facts.items() if value}
