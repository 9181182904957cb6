"""What an engine is opened from: a graph of a bundle, or what was built of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_ad.bundle import Bundle, EngineDirectory, EngineKey, EngineSidecar
from edge_ad.bundle.documents import read_checked
from edge_ad.bundle.engines import rebuild_command
from edge_ad.bundle.graph_file import check_graph_file
from edge_ad.errors import BundleError, DeviceError, EdgeAdError, StorageError
from edge_ad.manifest import Precision, Threshold
from edge_ad.runtime.deploy_graph import EXPORT_AGAIN
from edge_ad.storage import disk_is_full

__all__ = ["EngineSource", "backend_errors", "saving"]


@dataclass(frozen=True)
class EngineSource:
    """A graph to run.

    Attributes:
        onnx: Path of the ONNX file.
        precision: Its precision.
        input_size_hw: Height and width of the images it takes, in pixels.
        threshold: Threshold on its scores.
        directory: Folder with the backend's own files; None to build in memory.
        directory_version: Version of the backend that made the folder.
        words: Where the engine comes from, for people.
        rebuild_command: Command that builds the folder again; empty where there is none.
        options: Options the folder was built with.
        float32: Parts that an engine in bfloat16 computes in float32.
        sha256: SHA-256 of the ONNX file; empty for a file that was just written here.
        directory_files: File name → SHA-256 of what is in the folder; None for a folder that was just filled here.
    """

    onnx: Path
    precision: Precision
    input_size_hw: tuple[int, int]
    threshold: Threshold
    directory: Path | None
    directory_version: str
    words: str
    rebuild_command: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    float32: Sequence[str] = ()
    sha256: str = ""
    directory_files: Mapping[str, str] | None = None

    @classmethod
    def of(cls, bundle: Bundle, precision: Precision, engine: EngineDirectory | None = None) -> EngineSource:
        """The source for a graph of a bundle, with its engine directory if there is one."""
        graph = bundle.graph(precision)
        return cls(
            onnx=bundle.graph_path(precision),
            precision=precision,
            input_size_hw=bundle.manifest.input_size_hw,
            threshold=engine.sidecar.threshold if engine else graph.threshold,
            directory=engine.path if engine else None,
            directory_version=engine.sidecar.backend_version if engine else "",
            words=f"{engine.path.parent.name}/{engine.path.name}" if engine else f"{graph.file}, built in memory",
            rebuild_command=_rebuild_command(bundle, engine.sidecar) if engine else "",
            options=engine.sidecar.options if engine else {},
            float32=graph.float32,
            sha256=bundle.graph_sha256(precision),
            directory_files=engine.sidecar.files if engine else None,
        )

    def saved_in(self, folder: Path, version: str) -> EngineSource:
        """The same graph with the engine that ``version`` of its backend has just saved in ``folder``."""
        return replace(self, directory=folder, directory_version=version, words="just saved", directory_files=None)

    def read_graph(self) -> bytes:
        """Content of the ONNX file; backends must load these bytes, which cannot refer to other files.

        Raises:
            BundleError: It was changed since its bundle was opened, or is not a file that a backend may read.
        """
        if not self.sha256:
            return self.onnx.read_bytes()
        content = read_checked(self.onnx.parent, self.onnx.name, {self.onnx.name: self.sha256}, hint=EXPORT_AGAIN)
        check_graph_file(content, self.onnx)
        return content

    def read_built(self, name: str) -> bytes:
        """Content of a file that the backend built.

        Args:
            name: The file, in the folder.

        Raises:
            BundleError: There is no folder, its sidecar does not record the file, or it was changed.
        """
        hint = f"Rebuild it: {self.rebuild_command or 'edge-ad build-engine'}"
        if self.directory is None:
            raise BundleError(f"There is no {name}, and none was built.", hint)
        if self.directory_files is None:
            return (self.directory / name).read_bytes()
        return read_checked(self.directory, name, self.directory_files, hint=hint)


@contextmanager
def backend_errors(backend: str, action: str) -> Iterator[None]:
    """Turn a backend's own exceptions into a `DeviceError` of one line.

    Args:
        backend: Name of the backend, for people.
        action: What it was doing, such as ``"compile model.onnx"``.
    """
    try:
        yield
    except (EdgeAdError, OSError):
        raise
    except Exception as error:  # each backend has its own exception types
        raise DeviceError(f"{backend} could not {action}: {_last_line(error)}") from error


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Find the reason when a native library fails to write into ``folder``; it reports none itself."""
    try:
        yield
    except (EdgeAdError, OSError):
        raise
    except Exception as error:
        if disk_is_full(folder):
            raise StorageError(
                f"{folder.parent} could not be written: the disk is full.", "Free some space or write to another disk."
            ) from error
        raise StorageError(f"{folder.parent} could not be written: {_last_line(error)}") from error


def _rebuild_command(bundle: Bundle, sidecar: EngineSidecar) -> str:
    key = EngineKey(sidecar.backend, sidecar.precision, sidecar.target, sidecar.backend_version)
    return rebuild_command(bundle, key)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
