"""``POST /predict``: a photo in, its verdict out; photos that wait are judged together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edge_ad.listen_address import Address
from edge_ad.server.server import HttpServer, Part
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

__all__ = ["Judge", "PredictionServer"]

Judge = Callable[[Sequence[tuple[str, bytes]]], Sequence[Mapping[str, Any]]]
"""Names and contents of image files → a document for each. One call at a time."""

_LONGEST_ID = 200
_MOST_WAITING = 64
_UNNAMED = "the photo"
_HOW = "curl --data-binary @photo.png\n"
_Waiting = tuple[tuple[str, bytes], "asyncio.Future[Mapping[str, Any]]"]


class PredictionServer(Part):
    """Answers ``POST /predict?id=NAME``, whose body is an image file, with the verdict in JSON.

    What cannot be judged is answered with status 422 and the reason, a form in place of the file with 415, and 503
    tells that too many photos wait. ``GET /health`` says which detector judges.

    Args:
        server: What serves it.
        address: Where.
        judge: Judges photos; called in a thread.
        facts: What ``GET /health`` says.
        most_images: Photos that are judged together.

    Raises:
        UsageError: The host is not an address of this machine.
        DeviceError: The port is in use.
        MissingDependencyError: The extra ``web`` is not installed.
    """

    paths = frozenset({"/predict", "/health"})

    def __init__(
        self, server: HttpServer, address: Address, judge: Judge, facts: Mapping[str, Any], most_images: int
    ) -> None:
        self._judge, self._facts, self._most = judge, facts, most_images
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(_MOST_WAITING)
        self.where = server.add(self, address)

    def routes(self) -> Sequence[BaseRoute]:
        """Both routes."""
        from starlette.routing import Route

        return [
            Route("/predict", self._predict, methods=["POST"]),
            Route("/health", self._health, methods=["GET"]),
        ]

    async def run(self) -> None:
        """Judge what waits, all of it that one call takes."""
        while True:
            group = [await self._waiting.get()]
            while len(group) < self._most and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            try:
                documents = await asyncio.to_thread(self._judge, [photo for photo, _ in group])
            except BaseException:
                for _, answer in group:
                    answer.cancel()
                raise
            for (_, answer), document in zip(group, documents, strict=True):
                if not answer.done():  # its client has gone
                    answer.set_result(document)

    async def _predict(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse, Response

        asked = request.query_params.multi_items()
        if any(name != "id" for name, _ in asked) or len(asked) > 1:
            return PlainTextResponse("Only ?id=NAME is known here, once.\n", 400)
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            return PlainTextResponse("Send the image file itself as the body, and no form with it: " + _HOW, 415)
        name = request.query_params.get("id", "")
        if len(name) > _LONGEST_ID:
            return PlainTextResponse(f"An id has at most {_LONGEST_ID} characters.\n", 400)
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait(((name or _UNNAMED, await request.body()), answer))
        except asyncio.QueueFull:
            return PlainTextResponse("Too many photos wait; try again.\n", 503, {"retry-after": "1"})
        document = {**await answer, "path": name}  # as it was given, which a path need not be
        return Response(to_json(document), 422 if document["reason"] else 200, media_type="application/json")

    async def _health(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(to_json(self._facts), media_type="application/json")
