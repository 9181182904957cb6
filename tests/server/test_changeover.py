"""Recipes and the golden check on the page: who may do what, and what the audit says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge_ad.errors import UsageError
from edge_ad.server import Role, User
from edge_ad.streaming.frame import NO_RECIPE, RecipeMark
from edge_ad.streaming.golden import GoldenPlan
from edge_ad.streaming.golden.state import Judged
from edge_ad.streaming.requests import RecipeAnswer
from tests.server.live_page import Answer, LivePage

_USERS = {
    "viewer": User("Vera", Role.VIEWER, "token-of-the-viewer"),
    "operator": User("Otto", Role.OPERATOR, "token-of-the-operator"),
    "engineer": User("Ella", Role.ENGINEER, "token-of-the-engineer"),
}
_PARTS = [{"id": "M1", "expect": "OK"}, {"id": "M2", "expect": "NG"}]


@pytest.fixture
def page() -> Iterator[LivePage]:
    with LivePage(users=_USERS.values()) as page:
        yield page


def _post(page: LivePage, who: str, path: str, **body: object) -> Answer:
    return page.post(path, body, authorization=f"Bearer {_USERS[who].token}")


def _serve_recipes(page: LivePage) -> list[tuple[str, str, bool]]:
    """Answer requests for recipes as a stream with the recipe Plate does."""
    seen = list[tuple[str, str, bool]]()

    def serve() -> None:
        asked = page.control.take_recipe_request()
        assert asked is not None
        seen.append((asked.name, asked.by, asked.is_prepared_only))
        if asked.name == "Plate":
            asked.answer.set_result(RecipeAnswer(RecipeMark("Plate", "ab"), 7, was_warm=True, ms=3.0))
        else:
            asked.answer.set_exception(UsageError(f"There is no recipe {asked.name}."))

    page.control.serve_requests(serve, lambda: {"Plate": 7, "Rod": 0})
    return seen


def test_an_operator_switches_the_recipe_by_name_or_number_and_is_told_why_not(page: LivePage) -> None:
    seen = _serve_recipes(page)
    listed = page.get("/api/recipes", authorization=f"Bearer {_USERS['viewer'].token}").json
    assert listed["recipes"] == [{"name": "Plate", "number": 7}, {"name": "Rod", "number": 0}]
    assert _post(page, "viewer", "/api/recipe", recipe="Plate").status == 403
    done = _post(page, "operator", "/api/recipe", recipe="Plate").json
    assert done == {"recipe": "Plate", "hash": "ab", "number": 7, "was_warm": True, "ms": 3.0}
    assert _post(page, "operator", "/api/recipe", recipe=7, prepare=True).status == 200
    assert seen == [("Plate", "Otto (operator, 127.0.0.1)", False), ("Plate", "Otto (operator, 127.0.0.1)", True)]
    refused = _post(page, "engineer", "/api/recipe", recipe="Cup")
    assert (refused.status, refused.text) == (409, "There is no recipe Cup.\n")


@pytest.mark.parametrize("recipe", [None, "", 0, True, 1.5, ["Plate"]])
def test_what_is_no_name_or_number_is_refused(page: LivePage, recipe: object) -> None:
    _serve_recipes(page)
    assert _post(page, "operator", "/api/recipe", recipe=recipe).status == 400


def test_misspelt_or_doubled_name_is_refused_before_the_line_is_switched(page: LivePage) -> None:
    seen = _serve_recipes(page)
    refused = _post(page, "operator", "/api/recipe", recipe="Plate", prepar=True)
    assert refused.status == 400
    assert "Did you mean prepare?" in refused.text
    doubled = '{"by": "Otto", "recipe": "Plate", "recipe": "Rod"}'
    headers = {"content-type": "application/json", "authorization": f"Bearer {_USERS['operator'].token}"}
    assert page.request("POST", "/api/recipe", doubled, headers).status == 400
    assert seen == []


def test_a_stream_without_recipes_says_so(page: LivePage) -> None:
    refused = _post(page, "operator", "/api/recipe", recipe="Plate")
    assert refused.status == 409
    assert "--recipes" in refused.text


def test_an_operator_does_the_golden_check_and_an_engineer_waives_it(page: LivePage) -> None:
    golden = page.control.golden
    plan = GoldenPlan.model_validate({"every": "8h", "identify": "operator", "parts": _PARTS})
    golden.use(plan, NO_RECIPE, 1.0)
    assert _post(page, "operator", "/api/golden/part", part="M1").status == 400  # nobody has begun
    assert _post(page, "viewer", "/api/golden/begin").status == 403
    assert _post(page, "operator", "/api/golden/begin").json["state"] == "under way"
    for part, verdict in (("M2", "NG"), ("M1", "OK")):
        assert _post(page, "operator", "/api/golden/part", part=part).json["next"] == part
        golden.judged(Judged("", "", verdict, 0.5, 1.0, "b1", 7.0))
    assert _post(page, "viewer", "/api/golden/sign").status == 403
    assert _post(page, "operator", "/api/golden/sign").json["state"] == "valid"
    passed = golden.look(NO_RECIPE, 1.0)[-1]
    assert (passed.kind, passed.data["by"]) == ("golden check passed", "Otto (operator, 127.0.0.1)")
    golden.use(plan, RecipeMark("Plate", "ab"), 1.0)
    assert _post(page, "operator", "/api/golden/waive", why="lost").status == 403
    assert _post(page, "engineer", "/api/golden/waive", why=" ").status == 400
    assert _post(page, "engineer", "/api/golden/waive", why="at the laboratory").json["state"] == "valid"
    assert golden.look(RecipeMark("Plate", "ab"), 1.0)[-1].data["why"] == "at the laboratory"
