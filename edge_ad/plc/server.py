"""What the servers for PLCs have in common, and the sink and the trigger that use one."""

from __future__ import annotations

import itertools
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.plc.condition import LineCondition
from edge_ad.plc.results import PartResult, PartResults, ResultRule
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.triggers.base import AskedTrigger

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["PlcServer", "PlcSink", "PlcTrigger"]


class PlcTrigger(AskedTrigger):
    """Has the next frame judged when the PLC asks for it. A part without an id gets the count of requests as one.

    Args:
        server: Where the PLC asks.
    """

    def __init__(self, server: PlcServer) -> None:
        super().__init__()
        self._server = server
        self._counted = itertools.count(1)

    def open(self) -> None:
        """Let the PLC ask."""
        self._server.open()

    def close(self) -> None:
        """Let the PLC no longer ask."""
        self._server.close()

    def ask_part(self, identity: str) -> str:
        """Have the next frame judged.

        Args:
            identity: Id of the part; empty to have it counted.

        Returns:
            The id; empty where another part still waits for its frame.
        """
        identity = identity or str(next(self._counted))
        return identity if self.ask(identity) else ""


class PlcServer(ABC):
    """A server that a PLC connects to. It is open while its sink or its trigger is.

    Attributes:
        condition: Whether the PLC may rely on the stream.
        control: The handle on the stream; None before it is attached.
    """

    def __init__(self) -> None:
        self.condition = LineCondition()
        self.control: StreamControl | None = None
        self._trigger: PlcTrigger | None = None
        self._asked = ""
        self._users = 0
        self._opening = threading.Lock()
        self._opened_at = time.monotonic()

    @property
    def seconds(self) -> int:
        """Whole seconds since it was opened."""
        return int(time.monotonic() - self._opened_at)

    def trigger(self, rest: str = "") -> PlcTrigger:
        """The trigger by which the PLC asks for frames.

        Args:
            rest: What follows the kind in ``--trigger``: nothing.

        Raises:
            ValueError: Something follows.
            UsageError: It has one already.
        """
        if rest:
            raise ValueError(rest)
        if self._trigger is not None:
            raise UsageError("The PLC has a trigger already.", "Name it once.")
        self._trigger = PlcTrigger(self)
        return self._trigger

    @abstractmethod
    def sink(self, rule: ResultRule) -> Sink:
        """The sink that gives it the results of a stream.

        Args:
            rule: What becomes a result.
        """

    def ask(self, identity: str) -> str:
        """Pass a request for a frame to the trigger.

        Args:
            identity: Id of the part; empty to have it counted.

        Returns:
            The id; empty where it is refused: there is no such trigger, the stream is not ready, or another part
            waits for its frame.
        """
        if self._trigger is None or not self.condition.takes(identity):
            return ""
        asked = self._trigger.ask_part(identity)
        self._asked = asked or self._asked
        return asked

    @property
    def has_trigger(self) -> bool:
        """Whether clients ask for frames."""
        return self._trigger is not None

    @property
    def is_asked(self) -> bool:
        """Whether a part that was asked for has no result yet."""
        return bool(self._asked)

    def attach(self, control: StreamControl) -> None:
        """Follow this stream."""
        self.control = control
        self.condition.attach(control)

    def open(self) -> None:
        """Start serving; each call needs one of `close`.

        Raises:
            DeviceError: The server does not start.
        """
        with self._opening:
            if self._users == 0:
                self._opened_at = time.monotonic()
                try:
                    self._start()
                except BaseException:
                    with suppress(Exception):  # what kept it from starting is raised
                        self._stop()
                    raise
            self._users += 1

    def close(self) -> None:
        """Stop serving once neither sink nor trigger is open."""
        with self._opening:
            if self._users == 1:
                self._stop()
            self._users = max(0, self._users - 1)

    def put(self, result: PartResult) -> None:
        """Hand a result to the PLC; never waits."""
        if result.part_id == self._asked:
            self._asked = ""
        self._put(result)

    @abstractmethod
    def finish(self) -> None:
        """Say that the stream ends, and let clients take what waits for them, for a limited time."""

    @property
    @abstractmethod
    def dropped(self) -> int:
        """Results that no client can have got."""

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...

    @abstractmethod
    def _put(self, result: PartResult) -> None: ...


class PlcSink(Sink):
    """Gives a server the results of a stream, and what it has to know of its faults.

    Args:
        server: The server.
        rule: What becomes a result.
    """

    def __init__(self, server: PlcServer, rule: ResultRule) -> None:
        self._server, self._results = server, PartResults(rule)
        self._is_open = False

    def attach(self, control: StreamControl) -> None:
        """Follow this stream."""
        self._server.attach(control)

    def begin(self, source: Source) -> None:
        """Start serving."""
        self._server.open()
        self._is_open = True

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Put out the verdict on a frame, where frames are what is put out."""
        if not result.reason:
            self._server.condition.judged()
        self._put(self._results.of_result(result))

    def unjudged(self, unjudged: Unjudged) -> None:
        """Note why a frame is not judged of which nobody waits for a verdict."""
        self._server.condition.unjudged(unjudged)

    def event(self, event: Event) -> None:
        """Put out the verdict on a part, or note a fault."""
        self._server.condition.event(event)
        self._put(self._results.of_event(event))

    def close(self) -> None:
        """Say that the stream ends, let clients take what waits, and stop serving."""
        if not self._is_open:
            return
        self._is_open = False
        self._server.condition.stop()
        try:
            self._server.finish()
            self.dropped = self._server.dropped
        finally:
            self._server.close()

    def _put(self, result: PartResult | None) -> None:
        if result is not None:
            self._server.put(result)
            self.dropped = self._server.dropped
