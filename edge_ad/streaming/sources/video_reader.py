"""Videos and live streams read by FFmpeg (PyAV), which reports what OpenCV hides: damage, time stamps, the end."""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.image_formats.completeness import damage
from edge_ad.image_limits import pixel_limit
from edge_ad.streaming.sources.damage_filter import DamageFilter
from edge_ad.streaming.sources.packet_damage import LostFrames, length_size, zeros_inside

__all__ = ["VideoReader"]


_BELIEVABLE_FPS = 1000.0
_MOST_CORRUPT_IN_ROW = 100  # packets: a camera that sends nothing else counts as lost
_CLOSE_S = 0.2
_SEEK_TOLERANCE_S = 1e-3  # time stamps are rounded
_SEEK_BACK_S = 2.0  # a transport stream has no index: a seek may end behind its target
_SHORT_S = 0.5
_SHORT_FRAMES = 1.5
_LENGTH_FROM_ZERO = frozenset({"matroska,webm"})  # and not from the first frame
_LENGTH_FROM_DECODING = frozenset({"flv"})  # of the first packet, which is shown some frames later
# Formats that swscale converts to BGR in one exact step; with others, a better filter for the colours costs little.
_ONE_STEP = frozenset({"yuv420p", "yuvj420p", "bgr24", "rgb24", "gray"})


# Their decoders silently patch damage with the previous picture, unless they are told to fail.
_SAYS_MORE_WHEN_STRICT = frozenset({"mjpeg", "hevc"})

_inside: set[threading.Thread] = set()  # threads that FFmpeg holds until its time-out
_LONGEST_WAIT_S = 5.0


@atexit.register
def _wait_for_ffmpeg() -> None:
    """Wait for threads inside FFmpeg: freeing its libraries under them would end the process with SIGSEGV."""
    until = time.monotonic() + _LONGEST_WAIT_S
    for thread in list(_inside):
        thread.join(max(0.0, until - time.monotonic()))


class VideoReader:
    """The undamaged frames of a video or a stream.

    Args:
        target: Path or address.
        options: FFmpeg's options for opening it.
        timeout_s: Longest time to open it, and for each read of the network, in seconds; None for a file.
        threads: Threads that decode.
        start_s: Where to start, in seconds.

    Attributes:
        announced: Number of frames according to the container; None where it does not give one.

    Raises:
        OSError: It cannot be opened, or holds no video.
        DataError: It claims frames that are too large, or ends before ``start_s``.
        UsageError: As `pixel_limit`.
    """

    def __init__(
        self,
        target: str,
        *,
        options: Mapping[str, str] | None = None,
        timeout_s: tuple[float, float] | None = None,
        threads: int = 1,
        start_s: float = 0.0,
    ) -> None:
        import av
        import av.error
        import av.logging
        from av.video.reformatter import VideoReformatter

        av.logging.set_level(av.logging.PANIC)  # a failure is reported once, by us
        self._errors = av.error.FFmpegError
        thread = threading.current_thread()
        _inside.add(thread)
        try:
            self._container = av.open(target, options=dict(options or {}), timeout=timeout_s)
        except self._errors as error:  # not all of them are an OSError
            raise OSError(f"FFmpeg cannot open it ({type(error).__name__})") from error
        finally:
            _inside.discard(thread)
        self._is_reading = threading.Lock()
        self._reformatter = VideoReformatter()  # caches what swscale prepares for a size
        try:
            self._stream = self._video_of(self._container)
            self._stream.codec_context.thread_count = threads
            self._stream.thread_type = "AUTO" if threads > 1 else "SLICE"
            if self._stream.codec_context.name in _SAYS_MORE_WHEN_STRICT:
                self._stream.codec_context.options = {"err_detect": "explode"}
            self._check_size(self._stream.codec_context.width, self._stream.codec_context.height)
            self.announced = self._stream.frames if self._stream.frames > 0 and not start_s else None
            self._length_s = self._length()
            self._start(start_s)
        except BaseException:
            self._container.close()
            raise
        self._from_s, self._shown_until_s = start_s - _SEEK_TOLERANCE_S, 0.0
        self._damage: DamageFilter[Any] = DamageFilter()
        self._frames: deque[Any] = deque()
        self._packets: Iterator[Any] | None = self._container.demux(self._stream)
        # A gap in a transport stream shows at the packet after it; the packet before it has lost its end.
        self._looks_ahead = self._container.format.name == "mpegts"
        self._ahead: deque[Any] = deque()
        self._lost_frames = LostFrames() if self._looks_ahead else None
        self._is_jpeg = self._stream.codec_context.name == "mjpeg"
        self._length_size = length_size(self._stream.codec_context.name, self._stream.codec_context.extradata)
        self.is_at_end = False

    @property
    def fps(self) -> float | None:
        """Frames per second according to the container; None where it gives no plausible number."""
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        return rate if 0.0 < rate <= _BELIEVABLE_FPS else None

    @property
    def corrupt(self) -> int:
        """Frames left out because they are damaged, or were decoded from damaged ones."""
        return self._damage.corrupt

    def shortage(self) -> str:
        """What is missing at the end, in words that follow its name; empty where nothing is, or it is unknown."""
        if self.announced is not None and self._damage.packets < self.announced:
            return f"holds {self._damage.packets} of the {self.announced} frames that it announces"
        if self.announced is None and self._length_s - self._shown_until_s > self._tolerance_s():
            return f"ends after {self._shown_until_s:.1f} of the {self._length_s:.1f} s that it announces"
        return ""

    def _tolerance_s(self) -> float:
        """Less than this is rounding; with sound in it, what the container says of its length may be the sound's."""
        if len(self._container.streams) > 1:
            return _SHORT_S
        return min(_SHORT_S, _SHORT_FRAMES / (self.fps or _BELIEVABLE_FPS) + _SEEK_TOLERANCE_S)

    def read(self) -> NDArray[np.uint8] | None:
        """The next whole frame, uint8 (H, W, 3) BGR, in the order in which they are shown; None when there is none."""
        failed = 0
        while not self._frames and self._packets is not None and failed < _MOST_CORRUPT_IN_ROW:
            with self._is_reading:
                before = self._damage.corrupt
                self._step()
                failed = failed + 1 if self._damage.corrupt > before else 0
        return self._as_bgr(self._frames.popleft()) if self._frames else None

    def close(self) -> None:
        """Release it, or leave that to a thread that hangs in it."""
        self._packets = None
        if self._is_reading.acquire(timeout=_CLOSE_S):
            self._container.close()
            self._is_reading.release()

    def _step(self) -> None:
        """Decode one packet, or what the decoder still holds at the end."""
        packet = self._next_packet()
        if packet is not None and packet.size:
            self._shorten_by_delay(packet)
            self._damage.feed(packet.pts, is_corrupt=self._is_damaged(packet))
        try:
            frames = self._stream.decode(packet) if packet is None or packet.size else self._stream.decode(None)
        except self._errors:
            frames = []
            if packet is not None and packet.size:
                self._damage.fail(packet.pts)
        for frame in frames:
            self._add(frame)
        is_end = packet is None or not packet.size
        whole = self._damage.whole(is_end=is_end)
        self._frames.extend(frame for frame in whole if self._shown_at_s(frame) >= self._from_s)
        if is_end:
            self._packets, self.is_at_end = None, True

    def _shorten_by_delay(self, first: Any) -> None:
        """Take the delay of the first packet off what the container says, where it counts from its decoding."""
        counts = self._damage.packets == 0 and self._container.format.name in _LENGTH_FROM_DECODING
        if counts and first.pts is not None and first.dts is not None:
            self._length_s -= max(0.0, float((first.pts - first.dts) * self._stream.time_base))

    def _is_damaged(self, packet: Any) -> bool:
        """Whether what a decoder may take for a picture is none."""
        precedes_gap = bool(self._ahead) and self._ahead[0] is not None and self._ahead[0].is_corrupt
        follows_gap = self._lost_frames is not None and self._lost_frames.precede(packet.dts)
        if self._is_jpeg:  # decoders fill missing parts with grey
            return packet.is_corrupt or precedes_gap or follows_gap or damage(bytes(packet)) is not None
        has_zeros = self._length_size > 0 and zeros_inside(bytes(packet), self._length_size)
        return packet.is_corrupt or precedes_gap or follows_gap or has_zeros

    def _next_packet(self) -> Any:
        while len(self._ahead) < 1 + self._looks_ahead:
            self._ahead.append(self._demuxed())
        return self._ahead.popleft()

    def _demuxed(self) -> Any:
        thread = threading.current_thread()
        _inside.add(thread)
        try:
            return next(self._packets) if self._packets is not None else None
        except (StopIteration, OSError, self._errors):  # the end, or a connection that is lost
            return None
        finally:
            _inside.discard(thread)

    def _add(self, frame: Any) -> None:
        if frame.width * frame.height > pixel_limit():
            self._damage.add(None, frame.pts, is_key=False, is_corrupt=True)
            return
        self._shown_until_s = max(self._shown_until_s, self._shown_at_s(frame) + 1 / (self.fps or _BELIEVABLE_FPS))
        self._damage.add(frame, frame.pts, is_key=frame.key_frame, is_corrupt=frame.is_corrupt)

    def _shown_at_s(self, frame: Any) -> float:
        """Seconds from the start of the stream; those of the frame before where it has no time stamp."""
        if frame.pts is None:
            return self._shown_until_s
        return float((frame.pts - (self._stream.start_time or 0)) * self._stream.time_base)

    def _as_bgr(self, frame: Any) -> NDArray[np.uint8]:
        """Decoded pixels, turned as the container says, without a copy where the rows allow it."""
        filters = None if frame.format.name in _ONE_STEP else "BICUBIC"
        plane = self._reformatter.reformat(frame, format="bgr24", interpolation=filters).planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : 3 * plane.width]
        image = rows.reshape(plane.height, plane.width, 3)
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    def _start(self, start_s: float) -> None:
        if not start_s:
            return
        if 0 < self._length_s <= start_s:
            raise DataError(f"It ends before {start_s:g} s: it has {self._length_s:.1f} s.")
        origin = self._stream.start_time or 0
        before_s = max(0.0, start_s - _SEEK_BACK_S)
        self._container.seek(origin + int(before_s / self._stream.time_base), stream=self._stream)

    def _length(self) -> float:
        """Seconds that the stream or its container says it lasts; 0 where neither says."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        length = float(self._container.duration or 0) / 1e6
        start = float((self._stream.start_time or 0) * self._stream.time_base)
        return length - start if self._container.format.name in _LENGTH_FROM_ZERO and start < length else length

    @staticmethod
    def _video_of(container: Any) -> Any:
        if not container.streams.video:
            raise OSError("no video in it")
        return container.streams.video[0]

    @staticmethod
    def _check_size(width: int, height: int) -> None:
        if width * height > (limit := pixel_limit()):
            raise DataError(f"It claims frames of {width} × {height} pixels; the limit is {limit:,}.")
