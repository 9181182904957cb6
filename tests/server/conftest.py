"""A live page without a token, and the check that none leaves anything behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.streaming.web.live_page import LivePage

pytest.importorskip("starlette", reason="the live page needs the extra web")
pytest.importorskip("uvicorn", reason="the live page needs the extra web")


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
    before = set(_web_threads())
    yield
    started = set(_web_threads()) - before
    assert not started or "shared_page" in request.fixturenames


def _web_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("stream-web")]
