"""The tables of the documents and the recorded rows they come from."""

import pytest

from benchmarks.write_tables import DOCUMENTS, rewrite, tables


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return {name: source.text() for name, source in tables().items()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_document_shows_the_recorded_rows(document: object, made: dict[str, str]) -> None:
    text = document.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert "<!-- table: " in text
    assert rewrite(text, made) == text, "run python -m benchmarks.write_tables"


def test_every_table_is_shown_somewhere(made: dict[str, str]) -> None:
    every = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert [name for name in made if f"<!-- table: {name} -->" not in every] == []


def test_a_figure_that_was_changed_by_hand_is_noticed(made: dict[str, str]) -> None:
    text = DOCUMENTS[0].read_text(encoding="utf-8")
    changed = text.replace("| `metal_plate` | ", "| `metal_plate` | 9", 1)
    assert changed != text
    assert rewrite(changed, made) == text


def test_a_table_that_does_not_exist_is_refused(made: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        rewrite("<!-- table: nothing -->\nx\n<!-- end of table -->", made)


def test_every_table_says_what_made_it(made: dict[str, str]) -> None:
    for text in made.values():
        assert "*From `benchmarks/results/" in text
        assert "made by `python -m benchmarks" in text
