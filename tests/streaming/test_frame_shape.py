"""Frames of another size, shape or depth than they are to be judged by."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.alignment import Alignment
from edge_ad.errors import UsageError
from edge_ad.photo_spec import PhotoSpec
from edge_ad.server.pictures import draw
from edge_ad.streaming.active_engine import JudgingEngine
from edge_ad.streaming.bundle_opening import OpenBundle
from edge_ad.streaming.control import BundleFacts, StreamControl
from edge_ad.streaming.filters import FilterOptions, FrameShape, Region
from edge_ad.streaming.frame import Event, Frame
from edge_ad.streaming.hot_swap import BundleSwapper
from edge_ad.streaming.product_mark import ProductMark
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sources.folders import ImageFolderSource
from edge_ad.streaming.statistics import Summary
from edge_ad.streaming.triggers import Trigger
from edge_ad.streaming.triggers.base import AskedTrigger
from edge_ad.streaming.verdicts import PartObserver, PartRule
from tests.rendered_part import render_part
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink
from tests.streaming.results import wait_until

SQUARE = PhotoSpec(significant_bits=8, aspect_ratios=(1.0, 1.0), size_hw=(32, 32))


class _Sizes(FakeSource):
    """Frames of the sizes given, one after the other."""

    def __init__(self, *sizes_hw: tuple[int, int], is_live: bool = False) -> None:
        super().__init__(len(sizes_hw), is_live=is_live)
        self._sizes = sizes_hw

    def read(self) -> NDArray[np.uint8] | None:
        image = super().read()
        return None if image is None else np.full((*self._sizes[self.reads - 1], 3), 50, np.uint8)


class _Named(Trigger):
    """Every frame shows a part of its own, which has an id."""

    def fires(self, frame: Frame) -> bool:
        return True

    def part_of(self, frame: Frame) -> str:
        return f"part {frame.index}"


class _Asked(AskedTrigger):
    """Somebody asks for a part when this frame has been captured; the frame itself answers."""

    def __init__(self, identity: str, *, at: int) -> None:
        super().__init__()
        self._identity, self._at = identity, at

    def fires(self, frame: Frame) -> bool:
        if frame.index == self._at:
            self.ask(self._identity)
            return super().fires(replace(frame, captured_at=time.perf_counter()))
        return super().fires(frame)


def _opened(name: str, photos: PhotoSpec, product: str = "screw") -> OpenBundle:
    stack = ExitStack()
    engine = stack.enter_context(FakeEngine())
    facts = BundleFacts(name=name, hash=name, method="m", precision="fp32", backend="fake", threshold=1.0)
    return OpenBundle(JudgingEngine(engine, facts, 1.0, photos, ProductMark(product)), stack)


def _stream(source: FakeSource | ImageFolderSource, sink: ListSink, photos: PhotoSpec, **options: Any) -> Summary:
    first = _opened("old", photos)
    with BundleSwapper(lambda path: first, first) as swapper:
        return run_stream(first.judging.engine, source, threshold=1.0, sinks=[sink], swapper=swapper, **options)


def test_frames_of_another_shape_are_not_judged_and_told_of_once() -> None:
    sink = ListSink()
    summary = _stream(_Sizes((64, 64), (26, 64), (26, 64), (32, 32)), sink, SQUARE)
    assert [result.frame.index for result in sink.results] == [0, 3]
    assert summary.sources[0].unjudged == {"another shape": 2}
    events = [event for event in sink.events if event.kind == "another shape"]
    assert len(events) == 1
    assert "64×26" in events[0].text
    assert "32×32" in events[0].text


@pytest.mark.parametrize("identity", ["p7", ""])
@pytest.mark.parametrize("region", [None, Region(0, 0, 20, 20)])
def test_who_asks_for_a_part_is_told_at_once_that_frames_have_another_shape_or_size(
    identity: str, region: Region | None
) -> None:
    sink, trigger = ListSink(), _Asked(identity, at=1)
    source = _Sizes((32, 32), *[(26, 64)] * 5, is_live=True)
    summary = _stream(source, sink, SQUARE, filters=FilterOptions(region=region, trigger=trigger), policy="every")
    reason = "another shape" if region is None else "another size"
    assert [(result.frame.index, result.frame.part, result.reason) for result in sink.results] == [
        (1, identity, reason)
    ]
    assert sink.results[0].is_defective
    assert summary.sources[0].unjudged == {"not triggered": 1, reason: 4}


def test_a_bundle_of_before_takes_every_shape() -> None:
    sink = ListSink()
    _stream(_Sizes((64, 64), (26, 64)), sink, PhotoSpec())
    assert len(sink.results) == 2


def test_of_a_region_its_own_shape_counts() -> None:
    sink = ListSink()
    filters = FilterOptions(region=Region(0, 0, 20, 20))
    _stream(_Sizes((26, 64)), sink, SQUARE, filters=filters)
    assert len(sink.results) == 1


@pytest.mark.parametrize("other", [(240, 320), (960, 1280), (480, 641)])
def test_a_region_is_not_judged_in_frames_of_another_size(other: tuple[int, int]) -> None:
    sink = ListSink()
    filters = FilterOptions(region=Region(100, 100, 300, 300))
    summary = _stream(_Sizes((480, 640), other, other, (480, 640)), sink, SQUARE, filters=filters)
    assert [result.frame.index for result in sink.results] == [0, 3]
    assert summary.sources[0].unjudged == {"another size": 2}
    there, back = [event.text for event in sink.events if event.kind == "frame size"]
    assert "640×480" in there
    assert f"{other[1]}×{other[0]}" in there
    assert "not judged" in there
    assert "not judged" not in back


def test_a_region_beyond_the_first_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="beyond the frame"):
        _stream(_Sizes((20, 20)), ListSink(), PhotoSpec(), filters=FilterOptions(region=Region(10, 10, 20, 20)))


def test_a_frame_of_another_size_alone_is_judged_and_told_of() -> None:
    sink = ListSink()
    _stream(_Sizes((64, 64), (32, 32)), sink, SQUARE)
    assert len(sink.results) == 2
    assert [event.kind for event in sink.events] == ["frame size"]


@pytest.mark.parametrize("geometry", ["letterbox", "crop"])
def test_the_map_lies_on_the_frame_whatever_of_it_was_judged(geometry: str) -> None:
    sink = ListSink()
    photos = PhotoSpec.model_validate({"geometry": geometry, "aspect_ratios": (2.0, 2.0)})
    _stream(_Sizes((32, 64)), sink, photos)
    height, width = sink.results[0].prediction.anomaly_map.shape
    assert width == 2 * height


def _folder(root: Path, highest: int, dtype: type = np.uint16) -> Path:
    for number in range(2):
        cv2.imwrite(str(root / f"{number}.png"), np.full((32, 32, 3), highest, dtype))
    return root


def test_a_folder_is_read_with_the_depth_of_the_bundle(tmp_path: Path) -> None:
    sink = ListSink()
    _stream(ImageFolderSource(_folder(tmp_path, 2048)), sink, PhotoSpec(significant_bits=12))
    assert [result.frame.image.max() for result in sink.results] == [128, 128]


def test_a_source_of_8_bits_is_refused_for_a_bundle_of_12_unless_asked() -> None:
    photos = PhotoSpec(significant_bits=12)
    with pytest.raises(UsageError, match=r"12 bits, and fake source gives 8.*--allow-8-bit"):
        _stream(FakeSource(2), ListSink(), photos)
    sink = ListSink()
    _stream(FakeSource(2), sink, photos, filters=FilterOptions(takes_8_bits=True))
    assert len(sink.results) == 2


def _swapped(coming: OpenBundle, *, any_product: bool) -> ListSink:
    first, sink = _opened("old", SQUARE), ListSink()
    control = StreamControl(bundle=first.judging.bundle)
    control.swap_bundle(Path("next"), by="test", any_product=any_product)

    def stop() -> None:
        try:
            wait_until(lambda: bool(sink.events))
        finally:
            control.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with BundleSwapper(lambda path: coming, first) as swapper:
        source = FakeSource(None, interval_s=0.002)
        run_stream(first.judging.engine, source, threshold=1.0, sinks=[sink], control=control, swapper=swapper)
    stopping.join()
    return sink


def test_the_bundle_of_another_product_takes_over_only_when_asked() -> None:
    refused = _swapped(_opened("new", SQUARE, "nut"), any_product=False)
    assert [event.kind for event in refused.events] == ["bundle refused"]
    assert "'nut'" in refused.events[0].text
    assert "'screw'" in refused.events[0].text
    taken = _swapped(_opened("new", SQUARE, "nut"), any_product=True)
    assert [event.kind for event in taken.events] == ["bundle swapped"]


def test_a_bundle_of_another_depth_never_takes_over() -> None:
    other = SQUARE.model_copy(update={"significant_bits": 12})
    refused = _swapped(_opened("new", other), any_product=True)
    assert [event.kind for event in refused.events] == ["bundle refused"]
    assert "12 significant bits" in refused.events[0].text


class _Parts(FakeSource):
    """Frames with a part, with none, and with one that is cut off, over and over."""

    def read(self) -> NDArray[np.uint8] | None:
        places = ((120.0, 90.0), (900.0, 900.0), (40.0, 90.0))
        image = super().read()
        return None if image is None else render_part(0.5, centre_xy=places[(self.reads - 1) % 3]).photo


@pytest.mark.parametrize("is_live", [False, True])
def test_a_frame_whose_part_cannot_be_aligned_is_not_judged(is_live: bool) -> None:
    box = Alignment(along=(-0.3, 0.3), across=(-0.2, 0.2), length=(0.4, 0.6))
    sink = ListSink()
    source = _Parts(9, is_live=is_live, told=sink)
    summary = _stream(source, sink, PhotoSpec(geometry="align", alignment=box))
    assert [result.frame.index for result in sink.results] == [0, 3, 6]
    assert (summary.sources[0].frames, summary.sources[0].dropped) == (3, 0)
    assert summary.sources[0].unjudged == {"no part": 3, "part cut off": 3}
    for result in sink.results:  # the map lies on the frame
        height, width = result.prediction.anomaly_map.shape
        assert width / height == pytest.approx(4 / 3, rel=0.05)


@pytest.mark.parametrize("is_live", [False, True])
def test_a_part_with_an_id_that_cannot_be_aligned_is_defective(is_live: bool) -> None:
    box = Alignment(along=(-0.3, 0.3), across=(-0.2, 0.2), length=(0.4, 0.6))
    sink, filters = ListSink(), FilterOptions(trigger=_Named())
    source, photos = _Parts(9, is_live=is_live, told=sink), PhotoSpec(geometry="align", alignment=box)
    observer = PartObserver(PartRule.parse("1/1:id"))
    summary = _stream(source, sink, photos, filters=filters, observers=[observer])
    reasons = ["", "no part", "part cut off"]
    assert [result.frame.index for result in sink.results] == list(range(9))
    for result in sink.results:
        assert result.reason == reasons[result.frame.index % 3]
        assert result.is_defective or not result.reason
        if result.reason:  # nothing is drawn on it
            assert np.array_equal(draw(result, is_plain=False), draw(result, is_plain=True))
    refused = sum(result.reason != "" for result in sink.results)
    assert [event.data["reason"] != "" for event in sink.events if event.kind == "ng"].count(True) == refused
    assert summary.sources[0].unjudged == {}
    assert (summary.sources[0].frames, summary.sources[0].dropped) == (9, 0)


def test_region_of_a_recipe_selected_before_the_first_frame_does_not_end_the_stream_where_it_does_not_fit() -> None:
    told = list[Event]()
    shape, region = FrameShape("camera", told.append), Region(30, 30, 20, 20)
    assert shape.size_problem((40, 40), region, is_switched=True) == "another size"
    assert shape.size_problem((40, 40), region, is_switched=True) == "another size"
    assert [event.kind for event in told] == ["frame size"]
    assert "40" in told[0].text
    assert shape.size_problem((40, 40), Region(0, 0, 20, 20), is_switched=True) == ""


def _told_sizes(*sizes_hw: tuple[int, int], region: Region | None = None) -> list[str]:
    told = list[Event]()
    shape = FrameShape("folder", told.append)
    for size_hw in sizes_hw:
        shape.size_problem(size_hw, region)
    return [event.data["new"] for event in told]


def test_photos_that_each_have_a_size_of_their_own_are_told_of_once() -> None:
    assert _told_sizes((20, 20), (20, 21), (20, 22), (20, 21), (20, 23)) == ["21×20"]


def test_a_change_is_told_each_time_where_the_size_before_had_lasted() -> None:
    assert _told_sizes(*[(20, 20)] * 5, *[(10, 10)] * 5, (20, 20)) == ["10×10", "20×20"]


def test_a_change_that_ends_or_begins_judging_is_told_each_time() -> None:
    sizes = _told_sizes((20, 20), (10, 10), (12, 12), (20, 20), region=Region(0, 0, 8, 8))
    assert sizes == ["10×10", "20×20"]
