"""A live page without a token, and the check that none leaves anything behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.server.live_page import LivePage

pytest.importorskip("starlette", reason="the server needs the extra web")
pytest.importorskip("granian", reason="the server needs the extra web")


@pytest.fixture
def page() -> Iterator[LivePage]:
    with LivePage() as page:
        yield page


@pytest.fixture(scope="module")
def shared_page() -> Iterator[LivePage]:
    """One page for many requests that change nothing."""
    with LivePage() as page:
        yield page


@pytest.fixture(autouse=True)
def _no_thread_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(_server_threads())
    yield
    started = set(_server_threads()) - before
    assert not started or "shared_page" in request.fixturenames


def _server_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("stream-server")]
