"""The routes that list the recipes of a stream, and switch between them."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.server.requests import json_object, json_response, who
from edge_ad.server.state import PageState

__all__ = ["recipe_routes"]

_LONGEST_S = 120.0  # a bundle that is not open yet is compiled and verified


def recipe_routes(state: PageState) -> list[Route]:
    """The routes of recipes.

    Args:
        state: Has the handle on the stream.
    """

    async def listed(request: Request) -> Response:
        control = state.control
        names = await asyncio.to_thread(control.recipes)
        found = [{"name": name, "number": number} for name, number in names.items()]
        return json_response({"recipe": control.recipe.name, "hash": control.recipe.hash, "recipes": found})

    async def switch(request: Request) -> Response:
        body = await json_object(request, "recipe", "prepare")
        asked, by, only_prepare = _asked(body), who(request, body), body.get("prepare", False)
        if not isinstance(only_prepare, bool):
            raise UsageError("prepare must be true or false.")
        answer = await asyncio.to_thread(state.control.switch_recipe, asked, by=by, only_prepare=only_prepare)
        try:
            done = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(answer)), _LONGEST_S)
        except asyncio.TimeoutError:
            return PlainTextResponse("The bundle is still being opened; the events tell when it is in use.\n", 504)
        except EdgeAdError as error:  # the stream goes on as it was
            return PlainTextResponse(f"{error}\n", 409)
        facts = {"number": done.number, "was_warm": done.was_warm, "ms": done.ms}
        return json_response({"recipe": done.mark.name, "hash": done.mark.hash, **facts})

    return [
        Route("/api/recipes", listed, methods=["GET"]),
        Route("/api/recipe", switch, methods=["POST"]),
    ]


def _asked(body: dict[str, Any]) -> str | int:
    asked = body.get("recipe")
    if isinstance(asked, str) and asked:
        return asked
    if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0:
        return asked
    raise UsageError("recipe must be the name of a recipe, or its number.", "GET /api/recipes lists them.")
