"""The pages of labelled defects and of the line's story show what was recorded."""

from types import ModuleType

import pytest

from benchmarks import labelled_markdown, line_story_markdown
from benchmarks.write_tables import rewrite


@pytest.mark.parametrize("writer", [labelled_markdown, line_story_markdown], ids=lambda writer: writer.__name__)
def test_the_page_has_the_recorded_figures(writer: ModuleType) -> None:
    text = writer.PAGE.read_text(encoding="utf-8")
    assert rewrite(text, writer.made()) == text, f"run python -m {writer.__name__}"


def test_rows_stand_by_product_and_number_of_labels() -> None:
    metrics = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.7, "pro": 0.6}
    rows = [
        {"product": "plate", "labelled": "10", "classifier_auroc": 0.95, **metrics},
        {"product": "plate", "labelled": "patch-gaussian", **metrics},
    ]
    lines = labelled_markdown.table(rows).splitlines()
    assert lines[2] == "| `plate` | `patch-gaussian` |  | 0.900 |  | 0.800 | 0.700 | 0.600 |"
    assert lines[3] == "| `plate` | `supersimplenet` | 10 | 0.900 | 0.950 | 0.800 | 0.700 | 0.600 |"
