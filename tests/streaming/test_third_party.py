"""Sources and sinks of third parties: found by their scheme, used like our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Result
from edge_ad.streaming.sinks import Sink, third_party_sink
from edge_ad.streaming.sources import Source, SourceOptions, source_from_uri
from tests.entry_points import installed
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle


class GreySource(Source):
    """As many grey frames as its address says."""

    def __init__(self, uri: str, options: SourceOptions) -> None:
        super().__init__("grey", is_live=False)
        self.left = int(uri.partition("://")[2])

    def open(self) -> None:
        pass

    def read(self) -> NDArray[np.uint8] | None:
        self.left -= 1
        return None if self.left < 0 else np.full((*SIZE_HW, 3), 127, np.uint8)

    def close(self) -> None:
        pass


class LineSink(Sink):
    """A line for each verdict, in the file that its address names."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.path = Path(uri.partition("://")[2])

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        with self.path.open("a") as file:
            file.write(f"{result.verdict}\n")

    def close(self) -> None:
        pass


def not_a_sink(uri: str) -> str:
    return uri


@pytest.fixture
def _installed(tmp_path: Path) -> Iterator[None]:
    with (
        installed(tmp_path / "one", "edge_ad.sources", "grey", f"{__name__}:GreySource"),
        installed(tmp_path / "two", "edge_ad.sinks", "lines", f"{__name__}:LineSink"),
        installed(tmp_path / "three", "edge_ad.sinks", "odd", f"{__name__}:not_a_sink"),
    ):
        yield


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


@pytest.mark.usefixtures("_installed")
def test_a_stream_from_a_source_to_a_sink_of_third_parties(bundle: Bundle, tmp_path: Path) -> None:
    lines = tmp_path / "verdicts.txt"
    arguments = ["--source", "grey://5", "--sink", f"lines://{lines}", "--backend", "onnxruntime", "--headless"]
    assert main(["stream", "--bundle", str(bundle.root), *arguments]) == 0
    assert len(lines.read_text().splitlines()) == 5


@pytest.mark.usefixtures("_installed")
def test_what_is_registered_and_is_no_sink_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a sink"):
        third_party_sink("odd://here")


def test_a_scheme_that_nobody_registers_is_refused() -> None:
    with pytest.raises(UsageError, match="No installed package has a sink for lines://"):
        third_party_sink("lines://user:secret@here")
    with pytest.raises(UsageError, match="Unknown kind of address"):
        source_from_uri("grey://5")
