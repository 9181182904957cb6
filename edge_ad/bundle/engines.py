"""Engine directories of a bundle: what a backend built from a graph, with a sidecar that identifies the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn, get_args

from pydantic import ConfigDict, Field

from edge_ad.bundle.bundle import Bundle
from edge_ad.bundle.documents import check_hashes, read_document, to_bytes
from edge_ad.errors import BundleError, DamagedEngineError, ForeignEngineError
from edge_ad.manifest import Document, Precision, Threshold
from edge_ad.storage import atomic_directory, one_at_a_time, sha256_file, write_file

__all__ = [
    "ENGINE_SCHEMA_VERSION",
    "SIDECAR_FILE",
    "EngineDirectory",
    "EngineKey",
    "EngineSidecar",
    "check_engine",
    "find_engine",
    "fits",
    "list_engines",
    "rebuild_command",
    "record_latency",
    "set_thresholds",
    "write_engine",
]

ENGINE_SCHEMA_VERSION = 1
_ENGINES = "engines"
SIDECAR_FILE = "engine.json"
_MOST_DIGITS = 9


@dataclass(frozen=True)
class EngineKey:
    """Key of an engine that runs on this machine.

    Attributes:
        backend: Backend name, such as ``"openvino"``.
        precision: Precision of the graph.
        target: Processor it was built for, such as ``"x86_64-amx"`` or ``"sm87"``, or several: ``"sm86+sm89"``.
        version: Full version of the backend.
    """

    backend: str
    precision: Precision
    target: str
    version: str

    @property
    def name(self) -> str:
        """Name of the engine's directory."""
        return f"{self.backend}-{self.precision}-{self.target}"


class EngineSidecar(Document):
    """Contents of ``engine.json``.

    Attributes:
        schema_version: Version of this schema; a newer one is refused.
        backend: Backend that built the engine.
        precision: Precision of the graph.
        target: Processor it was built for.
        backend_version: Full version of the backend that built it.
        onnx_sha256: SHA-256 of the ONNX file it was built from.
        threshold: Threshold on this engine's scores.
        options: Options of the build.
        files: File name → SHA-256, for every file but the sidecar.
        created: ISO 8601 date and time, UTC.
        latency_ms: Median latency of one frame on the machine that built it, measured beside the bundle's other
            engines; None where it was not measured.
    """

    model_config = ConfigDict(strict=True)

    schema_version: int = ENGINE_SCHEMA_VERSION
    backend: str
    precision: Precision
    target: str
    backend_version: str
    onnx_sha256: str
    threshold: Threshold
    options: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str]
    created: str
    latency_ms: float | None = None


@dataclass(frozen=True)
class EngineDirectory:
    """An engine directory and its sidecar.

    Attributes:
        path: The folder.
        sidecar: Content of ``engine.json``.
    """

    path: Path
    sidecar: EngineSidecar


def list_engines(bundle: Bundle) -> list[EngineDirectory]:
    """Every engine directory of a bundle, by name, read but not compared with this machine.

    Raises:
        BundleError: A sidecar cannot be read.
    """
    return [EngineDirectory(path, _read_sidecar(path)) for path in _directories(bundle, "*")]


def check_engine(engine: EngineDirectory) -> None:
    """Compare every file of an engine directory with its SHA-256.

    Raises:
        BundleError: The first file that is missing or differs.
    """
    hint = f"Delete {engine.path} and build the engine again: edge-ad build-engine"
    check_hashes(engine.path, engine.sidecar.files, hint=hint)


def find_engine(bundle: Bundle, key: EngineKey) -> EngineDirectory | None:
    """The engine directory that fits this machine, with every file checked; None when none was built.

    Raises:
        ForeignEngineError: There are engines of this backend and precision, but for other machines or versions.
        DamagedEngineError: The engine is damaged, or of another graph; the hint rebuilds it.
        BundleError: It has another threshold than its graph.
    """
    candidates = _candidates(bundle, key)
    if not candidates:
        return None
    targets = {path: path.name.removeprefix(f"{key.backend}-{key.precision}-") for path in candidates}
    fitting = [path for path in candidates if fits(targets[path], key.target)]
    path = next((path for path in candidates if path.name == key.name), [*fitting, *candidates][0])
    with _damage_named():
        sidecar = _read_sidecar(path)
    _check(bundle, key, path, sidecar)
    return EngineDirectory(path, sidecar)


def fits(built_for: str, machine: str) -> bool:
    """Whether an engine for one target, or for several, runs on a machine's.

    Args:
        built_for: ``"x86_64-amx"``; ``"sm86"``; ``"sm86+sm89"`` for either GPU; ``"sm80plus"`` for every GPU from that
            compute capability on.
        machine: Target of the machine.
    """
    if machine == built_for or machine in built_for.split("+"):
        return True
    least, at_least = built_for.removesuffix("plus"), built_for.endswith("plus")
    numbers = [name.removeprefix("sm") for name in (least, machine)]
    return at_least and all(map(_is_number, numbers)) and int(numbers[1]) >= int(numbers[0])


def write_engine(bundle: Bundle, key: EngineKey, save: Callable[[Path], Mapping[str, str]]) -> EngineDirectory:
    """Write an engine directory atomically, replacing one of the same name; it gets its graph's threshold of now.

    Other commands that change the bundle wait meanwhile.

    Args:
        bundle: The bundle it is built from.
        key: Key of the engine.
        save: Fills the folder it is given and returns the options of the build.

    Raises:
        BundleError: The graph was replaced since the bundle was opened.
        StorageError: No space or no permission; nothing is left behind.
    """
    path = bundle.root / _ENGINES / key.name
    others = tuple(precision for precision in bundle.manifest.graphs if precision != key.precision)
    with bundle.alone() as now, atomic_directory(path) as staged:
        bundle.check_graphs(now, but=others)
        options = dict(save(staged))
        sidecar = EngineSidecar(
            backend=key.backend,
            precision=key.precision,
            target=key.target,
            backend_version=key.version,
            onnx_sha256=bundle.graph_sha256(key.precision),
            threshold=now.graph(key.precision).threshold,
            options=options,
            files={file.name: sha256_file(file) for file in sorted(staged.iterdir())},
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        (staged / SIDECAR_FILE).write_bytes(to_bytes(sidecar))
    return EngineDirectory(path, sidecar)


def rebuild_command(bundle: Bundle, key: EngineKey) -> str:
    """The command that builds an engine again, for this machine."""
    return f"edge-ad build-engine {bundle.root} --backend {key.backend} --precision {key.precision}"


def record_latency(engine: EngineDirectory, milliseconds: float) -> EngineDirectory:
    """Write the measured latency of one frame into an engine's sidecar.

    Raises:
        BundleError: The sidecar cannot be read.
        StorageError: No space or no permission; the sidecar is as it was.
    """
    with one_at_a_time(engine.path.resolve().parents[2]):  # whoever sets thresholds writes it too
        sidecar = _read_sidecar(engine.path).model_copy(update={"latency_ms": milliseconds})
        write_file(engine.path / SIDECAR_FILE, to_bytes(sidecar))
    return EngineDirectory(engine.path, sidecar)


def set_thresholds(
    bundle: Bundle, thresholds: Mapping[Precision, Threshold], files: Mapping[str, bytes | Path]
) -> Bundle:
    """Set thresholds of graphs and of the engines built from them again, with the files that say why, in one step.

    Args:
        bundle: The bundle.
        thresholds: Precision → its new threshold.
        files: Name inside the bundle → content, or a file to copy.

    Raises:
        BundleError: The bundle has no such graph, was changed since it was opened, or a sidecar cannot be read;
            nothing is changed.
        StorageError: No space or no permission; the bundle is as it was.
    """
    with bundle.alone() as now:
        if to_bytes(now.manifest) != to_bytes(bundle.manifest):
            raise BundleError(f"{bundle.root} was changed meanwhile.", "Look at it, and run the command again.")
        return now.with_thresholds(thresholds, files, _sidecars_with(now, thresholds))


def _sidecars_with(bundle: Bundle, thresholds: Mapping[Precision, Threshold]) -> dict[str, bytes]:
    """Name → content of the sidecars of engines whose graphs get new thresholds."""
    return {
        (engine.path / SIDECAR_FILE).relative_to(bundle.root).as_posix(): to_bytes(
            engine.sidecar.model_copy(update={"threshold": thresholds[engine.sidecar.precision]})
        )
        for engine in list_engines(bundle)
        if engine.sidecar.precision in thresholds
        # One of another threshold than its graph is refused when it is opened: this does not make it right.
        and engine.sidecar.threshold == bundle.graph(engine.sidecar.precision).threshold
    }


def _candidates(bundle: Bundle, key: EngineKey) -> list[Path]:
    """Engines of a backend and a precision; one precision's name may be the beginning of another's."""
    longer = tuple(f"{key.backend}-{name}-" for name in get_args(Precision) if name.startswith(f"{key.precision}-"))
    found = _directories(bundle, f"{key.backend}-{key.precision}-*")
    return [path for path in found if not path.name.startswith(longer)] if longer else found


def _directories(bundle: Bundle, pattern: str) -> list[Path]:
    folder = bundle.root / _ENGINES
    return sorted(path for path in folder.glob(pattern) if path.is_dir() and not path.name.startswith("."))


def _read_sidecar(path: Path) -> EngineSidecar:
    return read_document(
        path / SIDECAR_FILE,
        EngineSidecar,
        supported_version=ENGINE_SCHEMA_VERSION,
        hint=f"Delete {path} and build the engine again.",
    )


def _check(bundle: Bundle, key: EngineKey, path: Path, sidecar: EngineSidecar) -> None:
    def refuse(problem: str, kind: type[BundleError] = BundleError) -> NoReturn:
        raise kind(f"The engine {path.name} {problem}.", f"Rebuild it: {rebuild_command(bundle, key)}")

    if sidecar.onnx_sha256 != bundle.graph_sha256(key.precision):
        refuse(f"was built from another graph than {bundle.graph(key.precision).file}", DamagedEngineError)
    if not fits(sidecar.target, key.target):
        refuse(f"was built for {sidecar.target}, and this machine is {key.target}", ForeignEngineError)
    if not _version_fits(sidecar, key.version):
        refuse(
            f"was built by {key.backend} {sidecar.backend_version}, and {key.version} is installed here",
            ForeignEngineError,
        )
    if (sidecar.backend, sidecar.precision) != (key.backend, key.precision):
        refuse(f"holds a {sidecar.backend} engine in {sidecar.precision}", DamagedEngineError)
    if sidecar.threshold != bundle.graph(key.precision).threshold:
        refuse("has another threshold than its graph")
    with _damage_named():
        check_hashes(path, sidecar.files, hint=f"Rebuild it: {rebuild_command(bundle, key)}")


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except BundleError as error:
        raise DamagedEngineError(error.message, error.hint) from error


def _version_fits(sidecar: EngineSidecar, version: str) -> bool:
    built, here = _release(sidecar.backend_version), _release(version)
    if sidecar.options.get("version_compatible") == "true" and all(map(_is_number, (*built, *here))):
        return [int(part) for part in built] <= [int(part) for part in here]
    return built == here


def _release(version: str) -> list[str]:
    return version.split(".")[:2]


def _is_number(text: str) -> bool:
    """Whether `int` can parse it: it limits the digits, and rejects superscripts."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
