"""The report as one HTML page that needs nothing beside it, and as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.report.results import Results
from benchmarks.report.rows import LatencyRow
from benchmarks.report.sections import Section
from benchmarks.report.style import STYLE
from benchmarks.report.tables import Table, markdown

__all__ = ["render_markdown", "render_page"]

_TITLE = "edge-ad: benchmarks"


def render_page(results: Results, sections: Sequence[Section], sheets: Mapping[str, bytes] | None = None) -> str:
    """Render the report; every text from outside is escaped.

    Args:
        results: What was recorded.
        sections: Its sections.
        sheets: Name → content of a PNG file, for picture sheets.

    Returns:
        A complete HTML document.
    """
    pictures = "".join(_picture(name, content) for name, content in (sheets or {}).items())
    body = [
        f'<h1>Benchmarks</h1><p class="lead">{escape(_lead(results))}</p>',
        _cards(results.latency),
        *(_section(section) for section in sections),
        f"<h2>Picture sheets</h2>{pictures}" if pictures else "",
        _machines(results),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_TITLE}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><style>{STYLE}</style></head><body>'
        f"<main>{''.join(body)}</main></body></html>\n"
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


def _picture(name: str, content: bytes) -> str:
    encoded = base64.b64encode(content).decode("ascii")
    return f'<h3>{escape(name)}</h3><img alt="{escape(name)}" src="data:image/png;base64,{encoded}">'


def _cards(rows: Sequence[LatencyRow]) -> str:
    best: dict[str, LatencyRow] = {}
    for row in rows:
        if row.batch == 1 and (row.product not in best or row.end_to_end.p50_ms < best[row.product].end_to_end.p50_ms):
            best[row.product] = row
    cards = []
    for product, row in best.items():
        auroc = None if row.accuracy is None else row.accuracy.metrics.get("image_auroc")
        accuracy = "accuracy not measured" if auroc is None else f"image AUROC {auroc:.3f}"
        small = (
            f"{row.method}, {row.engine.backend} {row.engine.precision}, p99 {row.end_to_end.p99_ms:.3g} ms; {accuracy}"
        )
        cards.append(
            f'<div class="card"><span>{escape(product)}</span><b>{row.end_to_end.p50_ms:.3g} ms</b>'
            f"<small>{escape(small)}</small></div>"
        )
    return f'<div class="cards wide">{"".join(cards)}</div>' if cards else ""


def _section(section: Section) -> str:
    legend = "".join(f'<i><span class="{css}"></span>{escape(name)}</i> ' for css, name in section.legend)
    charts = "".join(_chart(title, drawing, is_wide=section.is_wide) for title, drawing in section.charts)
    return (
        f'<h2>{escape(section.title)}</h2><p class="note">{escape(section.lead)}</p>'
        + (f'<p class="legend">{legend}</p>' if legend else "")
        + (charts if section.is_wide else f'<div class="two">{charts}</div>')
        + ("" if section.table is None else _table(section.table))
        + "".join(f'<p class="note">{escape(note)}</p>' for note in section.notes)
    )


def _chart(title: str, drawing: str, *, is_wide: bool) -> str:
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    if is_wide:  # a phone scrolls what it could not show legibly
        return f'{heading}<div class="scroll chart">{drawing}</div>'
    return f"<div>{heading}{drawing}</div>"


def _table(table: Table) -> str:
    numbers = table.is_number
    head = "".join(_cell("th", text, is_number) for text, is_number in zip(table.header, numbers, strict=True))
    body = "".join(
        f"<tr{' class=' + chr(34) + 'bad' + chr(34) if number in table.flagged else ''}>"
        + "".join(_cell("td", text, is_number) for text, is_number in zip(row, numbers, strict=True))
        + "</tr>"
        for number, row in enumerate(table.rows)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(tag: str, text: str, is_number: bool) -> str:
    css = ' class="number"' if is_number else ""
    shown = f'<span class="fine">{escape(text)}</span>' if text == "not measured" else escape(text)
    return f"<{tag}{css}>{shown}</{tag}>"


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


def _machines(results: Results) -> str:
    blocks = []
    for facts in _distinct_machines(results):
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items()
        )
        blocks.append(f'<table class="facts">{rows}</table>')
    hashes = "".join(
        f"<tr><td>{escape(row.product)}</td><td>{escape(row.engine.precision)}</td><td>{escape(row.graph_sha256)}</td></tr>"
        for row in results.latency
        if row.batch == 1
    )
    graphs = f"<details><summary>SHA-256 of the graphs</summary><table>{hashes}</table></details>" if hashes else ""
    return f"<h2>Machine</h2>{''.join(blocks)}{graphs}" if blocks else ""
