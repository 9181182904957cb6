"""A bundle as one object: photos or frames in, verdicts out; needs no torch."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from operator import index
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import overload

import numpy as np

from edge_ad.errors import DataError, EdgeAdError, UsageError
from edge_ad.photo_input import Photo, decode_photo
from edge_ad.photo_spec import NetworkInput, PhotoSpec
from edge_ad.prediction import NOT_FINITE, Prediction, Verdict
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.bundle_opening import open_bundle
from edge_ad.streaming.capture import Closed
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions, FrameHealth, Region
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.inference import opencv_beside
from edge_ad.streaming.pipeline import Pipeline
from edge_ad.streaming.sources import Source, SourceOptions, camera_source, source_from_uri

__all__ = ["Detector", "load"]

_MOST_PHOTOS = 8  # of a call of the engine,
_MOST_PIXELS = 8 * 512 * 512  # and of its input: the memory of a call grows with both
_log = logging.getLogger(__name__)


def load(path: str | PathLike[str], *, backend: str = "auto", precision: str = "auto", threads: int = 0) -> Detector:
    """Open a bundle for predictions, after its engine has given the outputs that the training recorded.

    Args:
        path: Folder of a bundle, or of a run that holds one.
        backend: ``"auto"``, or a backend's name such as ``"openvino"``.
        precision: ``"auto"`` for the fastest graph that passed its accuracy gate, or such as ``"int8"``.
        threads: CPU threads; 0 lets the backend decide.

    Returns:
        The detector; leave its ``with`` block, or call ``close``, to free the engine.

    Raises:
        UsageError: Not a bundle, or no such backend or precision.
        BundleError: The bundle is damaged, or its engine does not give the recorded outputs.
        DeviceError: The backend does not work here.
    """
    given: object = path
    if not isinstance(given, (str, PathLike)) or not isinstance(fspath(given), str):
        raise UsageError(f"{type(path).__name__} is no path of a bundle.", "Give the folder that edge-ad export wrote.")
    root = Path(path)
    inner = root / "bundle"
    if not (root / "manifest.json").is_file() and (inner / "manifest.json").is_file():
        root = inner
    opened = open_bundle(root, backend=backend, precision=precision, threads=threads)
    return Detector(opened.judging, opened.stack)


class Detector:
    """An open bundle. Use it as a context manager; one thread uses it at a time.

    Args:
        judging: Its open engine, and what is known about it.
        stack: Closes the engine.
    """

    def __init__(self, judging: JudgingEngine, stack: ExitStack) -> None:
        self._judging, self._stack = judging, stack
        self._threshold = judging.threshold
        self._is_open, self._is_streaming = True, False
        self._judged = 0

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine; may be called again."""
        self._is_open = False
        self._stack.close()

    @property
    def method(self) -> str:
        """Method of the detector, such as ``"patch-gaussian"``."""
        return self._judging.bundle["method"]

    @property
    def product(self) -> str:
        """Product that it was trained on."""
        return self._judging.product.name

    @property
    def engine(self) -> str:
        """What runs, such as ``"openvino int8"``."""
        return f"{self._judging.bundle['backend']} {self._judging.bundle['precision']}"

    @property
    def input_size_hw(self) -> tuple[int, int]:
        """Height and width of the network's input, in pixels; photos of any size are brought to it."""
        return self._judging.engine.describe().input_size_hw

    @property
    def batch_size(self) -> int:
        """Photos of a list that are judged in one call, 1 to 8: the larger the input, the fewer."""
        height, width = self.input_size_hw
        return max(1, min(_MOST_PHOTOS, _MOST_PIXELS // (height * width)))

    @property
    def photos(self) -> PhotoSpec:
        """Depth and shape of the photos that were trained on."""
        return self._judging.photos

    @property
    def threshold(self) -> float:
        """Raw score above which a photo is defective. Setting it changes this object, not the bundle.

        Raises:
            UsageError: It is set to what is no finite number.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        given: object = value
        if not (isinstance(given, (int, float, np.number)) and np.isfinite(given)):
            raise UsageError(f"A threshold is a finite number, not {value!r}.")
        self._threshold = float(value)

    @overload
    def predict(self, images: Photo) -> Result: ...

    @overload
    def predict(self, images: list[Photo] | tuple[Photo, ...]) -> list[Result]: ...

    def predict(self, images: Photo | list[Photo] | tuple[Photo, ...]) -> Result | list[Result]:
        """Judge a photo, or a list of photos in batches.

        Args:
            images: Path, array or PIL image, or a list or tuple of them; see `Photo`.

        Returns:
            A result for a photo, a list of results in their order for a list.

        Raises:
            DataError: A photo cannot be read, or is of another shape or depth than those that were trained on.
            UsageError: Something that is no photo.
            EdgeAdError: The detector is closed, or streams.
        """
        self._check_free()
        if not isinstance(images, (list, tuple)):
            return self._predict([images])[0]
        size = self.batch_size
        parts = (images[start : start + size] for start in range(0, len(images), size))
        return [result for part in parts for result in self._predict(part)]

    def stream(
        self,
        source: str | int | PathLike[str],
        *,
        region: tuple[int, int, int, int] | None = None,
        options: SourceOptions | None = None,
    ) -> Iterator[Result]:
        """Judge the frames of a camera, video, folder or network stream, until it ends or the loop is left.

        A file is judged frame by frame; a live source at its newest frame, and it is waited for when it is gone. A
        frame that cannot be judged (black, over-exposed, frozen, of another shape) comes as defective, with the reason.

        Args:
            source: Number of a camera, or a path or address as ``edge-ad stream --source`` takes it.
            region: Left, top, width and height of the part of the frame that is judged, in pixels; results then show
                that part alone.
            options: Size, rate, exposure and more to ask of the source.

        Yields:
            A result for each frame.

        Raises:
            DataError: A file that is damaged, cut off or missing.
            DeviceError: A camera or stream that does not answer.
            UsageError: A source that cannot be understood, or of another depth than the photos that were trained on.
        """
        self._check_free()
        opened = _source(source, options)
        opened.expect_bits(self.photos.significant_bits, takes_8_bits=False)
        return self._stream(opened, _filters(region))

    def _stream(self, source: Source, filters: FilterOptions) -> Iterator[Result]:
        self._check_free()
        self._is_streaming = True
        control = StreamControl(self._threshold, self._judging.bundle)
        active = ActiveEngine(self._judging)
        try:
            with (
                opencv_beside(self._judging.engine.describe()),
                source,
                Pipeline(active, [source], control, filters=filters) as pipeline,
            ):
                yield from self._results(pipeline, source)
        finally:
            self._is_streaming = False
        if source.shortage:
            raise DataError(f"{source.name} {source.shortage}.", "It is cut off: copy or record it again.")

    def _results(self, pipeline: Pipeline, source: Source) -> Iterator[Result]:
        while True:
            try:
                item = pipeline.next_item()
            except Closed:
                return
            finally:
                while source.notes:
                    _log.warning("%s", source.notes.popleft())
            if item is not None:
                yield item if isinstance(item, Result) else self._unjudged(item.frame, item.reason)

    def _unjudged(self, frame: Frame, reason: str) -> Result:
        return Result.of_unjudged(frame, reason, self._threshold, self._judging.bundle["hash"])

    def _predict(self, photos: Sequence[Photo]) -> list[Result]:
        frames = [self._frame(photo) for photo in photos]
        started = time.perf_counter()
        inputs = [self.photos.prepare(frame.image, self.input_size_hw) for frame in frames]
        images = [made.image for made in inputs if not made.problem]
        prepared = time.perf_counter()
        predictions = iter(self._judging.engine.infer(np.stack(images)) if images else ())
        prepare_ms = (prepared - started) * 1e3 / len(frames)
        infer_ms = (time.perf_counter() - prepared) * 1e3 / max(len(images), 1)
        return [
            self._unjudged(frame, made.problem)
            if made.problem
            else self._result(frame, made, next(predictions), prepare_ms, infer_ms)
            for frame, made in zip(frames, inputs, strict=True)
        ]

    def _result(
        self, frame: Frame, made: NetworkInput, prediction: Prediction, prepare_ms: float, infer_ms: float
    ) -> Result:
        verdict = Verdict.judge(prediction, self._threshold)
        if verdict.reason == NOT_FINITE:
            _log.warning("The score or the map of %s is not finite: it counts as defective.", frame.path or "a photo")
        height, width = frame.image.shape[:2]
        on_photo = self.photos.map_on_photo(prediction.anomaly_map, (height, width), made.matrix)
        age_ms = (time.perf_counter() - frame.captured_at) * 1e3
        hash_ = self._judging.bundle["hash"]
        return Result(frame, Prediction(prediction.score, on_photo), verdict, prepare_ms, infer_ms, age_ms, hash_)

    def _frame(self, photo: Photo) -> Frame:
        started = time.perf_counter()
        image, path = decode_photo(photo, self.photos.significant_bits)
        height, width = image.shape[:2]
        if problem := self.photos.shape_problem(height, width):
            hint = "Use photos as they were trained on, or train on such ones."
            raise DataError(f"{path or 'A photo'} cannot be judged: {problem}.", hint)
        index, self._judged = self._judged, self._judged + 1
        now = time.perf_counter()
        return Frame(index, image, now, time.time(), (now - started) * 1e3, path=path)

    def _check_free(self) -> None:
        if not self._is_open:
            raise EdgeAdError("The detector is closed.", "Open it again with load().")
        if self._is_streaming:
            raise EdgeAdError("The detector judges a stream.", "Leave its loop first, or load the bundle once more.")


def _source(source: str | int | PathLike[str], options: SourceOptions | None) -> Source:
    if isinstance(source, (str, PathLike)):
        return source_from_uri(fspath(source), options or SourceOptions())
    try:
        number = index(source)
    except TypeError as error:
        hint = "Give the number of a camera, a path or an address."
        raise UsageError(f"{type(source).__name__} is no source of frames.", hint) from error
    return camera_source(number, options or SourceOptions())


def _filters(region: tuple[int, int, int, int] | None) -> FilterOptions:
    if isinstance(region, str):
        raise UsageError(f"The region {region!r} is a text.", "Give four numbers: (320, 180, 640, 360).")
    return FilterOptions(
        region=None if region is None else Region.parse(",".join(map(str, region))),
        make_health=lambda source: FrameHealth(can_freeze=source.is_live),
    )
