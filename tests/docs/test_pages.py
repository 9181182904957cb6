"""The site is built without a warning, and what pages say about messages, events and links is so."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from edge_ad.cli.app import VERBS
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records.schema import open_for_writing
from tests.docs.pages import DOCS, PAGES, ROOT, name_of

_SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "edge_ad").rglob("*.py")))
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs, for Python 3.11 and newer"
)


def _build(config: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


@needs_mkdocs
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = _build(ROOT / "mkdocs.yml", tmp_path)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "reference" / "cli.html").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f'<h2 id="{verb}"' not in page] == []
    assert "<code>--camera [NAME=]N|ADDRESS</code>" in page  # as it is typed
    assert [shown for shown in ("\\|", "&amp;") if shown in page] == []
    assert 'id="edge_ad.detector.Detector.predict"' in (tmp_path / "reference" / "python.html").read_text("utf-8")


@needs_mkdocs
def test_a_broken_link_or_a_page_that_is_hard_to_read_ends_the_build(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    page = tmp_path / "docs" / "how-to" / "few_photos.md"
    hard = "Characteristically, multidimensional distributional representations necessitate regularisation " * 9
    page.write_text(f"# Few\n\n{hard}.\n\n[nowhere](nothing.md)\n", encoding="utf-8")
    built = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode != 0
    assert "how-to/few_photos.md: reading ease" in built.stderr
    assert "nothing.md" in built.stderr


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} | {
        "reference/cli.md",
        "reference/presets.md",
    } == listed


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists() and DOCS not in page.parents], ids=name_of)
def test_links_from_outside_the_site_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|mailto:)([^)#]+)(?:#([\w-]+))?\)", page.read_text(encoding="utf-8"))
    missing = [target for target, _ in targets if not (page.parent / target).exists()]
    headings = {target: _anchors(page.parent / target) for target, anchor in targets if anchor}
    assert missing == []
    assert [(target, anchor) for target, anchor in targets if anchor and anchor not in headings[target]] == []


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


def test_the_readme_is_short_and_its_figures_are_elsewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90
    assert "<!-- table" not in text


def test_the_messages_of_the_troubleshooting_page_are_real() -> None:
    text = (DOCS / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    titles = re.findall(r"^### (.*`.*)$", text, re.MULTILINE)
    quoted = [words for title in titles for words in re.findall("`([^`]+)`", title)]
    parts = [part.strip() for words in quoted for part in words.split("…") if len(part.strip()) > 4]
    joined = re.sub(r'"\s*\n\s*f?"', "", _SOURCE)  # a message may be written in two strings
    assert len(parts) > 15
    assert [part for part in parts if part not in joined] == []


def test_the_page_of_events_names_every_kind() -> None:
    kinds = set(re.findall(r'``"([a-z ]+)"``', Event.__doc__ or ""))
    listed = set(re.findall(r"^\| `([a-z ]+)` \|", (DOCS / "reference" / "events.md").read_text("utf-8"), re.MULTILINE))
    assert len(kinds) > 15
    assert kinds <= listed


def test_the_page_of_records_names_every_column(tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "line.sqlite")) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(records)")}
    text = (DOCS / "reference" / "records.md").read_text(encoding="utf-8")
    table = text[text.index("| column of `records` |") :].split("\n\n", 1)[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == columns


@pytest.fixture
def readability() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readability", DOCS / "hooks" / "readability.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_mkdocs
def test_reading_ease_is_that_of_flesch(readability: ModuleType) -> None:
    # Two sentences, 9 words, 11 syllables (pic-ture, cam-era as two or three: avoided).
    text = "The part is good. It goes to the table."
    assert readability.reading_ease(text) == pytest.approx(206.835 - 1.015 * 9 / 2 - 84.6 * 10 / 9)


@needs_mkdocs
def test_code_tables_and_addresses_are_no_prose(readability: ModuleType) -> None:
    page = "# Title\n\nLook [here](a/b.md).\n\n```sh\nls\n```\n\n    ls\n\n| a |\n\nUse `x`.\n"
    assert re.sub(r"\s+", " ", readability.prose(page)).strip() == "Look here. Use ."
