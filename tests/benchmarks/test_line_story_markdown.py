"""The page of retraining shows what was recorded."""

from benchmarks.line_story_markdown import PAGE, made
from benchmarks.write_tables import rewrite


def test_the_page_has_the_recorded_figures() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rewrite(text, made()) == text, "run python -m benchmarks.line_story_markdown"
