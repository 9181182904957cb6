"""Opening, writing and extending a bundle."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge_ad.bundle.documents import (
    REFERENCE_FILE,
    Reference,
    check_hashes,
    check_name,
    parse_document,
    read_checked,
    read_document,
    to_bytes,
)
from edge_ad.bundle.graph_file import check_graph_file
from edge_ad.errors import BundleError, UsageError
from edge_ad.manifest import BF16_OF, SCHEMA_VERSION, GraphInfo, Manifest, MetricsRecord, Precision, Threshold
from edge_ad.scene import SCENE_SCHEMA_VERSION, SceneLimits
from edge_ad.storage import atomic_directory, clone_tree, one_at_a_time, sha256_file, write_file

__all__ = [
    "AUDIT_FILE",
    "MANIFEST_FILE",
    "SCENE_FILE",
    "Bundle",
    "check_replaceable",
    "copy_bundle",
    "newest_bundle",
    "read_manifest",
    "write_bundle",
]

MANIFEST_FILE = "manifest.json"
SCENE_FILE = "scene.json"
AUDIT_FILE = "audit.jsonl"
"""A line of JSON for every time that thresholds were set again."""
_RUN_FILE = "run.json"
_REBUILD = "Export the bundle again: edge-ad export <run>"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, checked when it was opened.

    Attributes:
        root: Folder of the bundle.
        manifest: Content of its manifest.
    """

    root: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open a bundle and check its schema, its file names, the SHA-256 of every file, and its graphs.

        A graph must need no other file and have no control flow.

        Raises:
            UsageError: Not a bundle.
            BundleError: Of a newer schema, or a file is missing or changed, or a graph is no deploy graph; the message
                names it.
        """
        manifest = read_manifest(path)
        graphs = {graph.file for graph in manifest.graphs.values()}
        check_hashes(path, {name: manifest.files[name] for name in manifest.files if name not in graphs}, hint=_REBUILD)
        bundle = cls(path, manifest)
        for name in sorted(graphs):
            check_graph_file(bundle.read_file(name), path / name)
        return bundle

    def read_file(self, name: str) -> bytes:
        """Content of a file, as it was recorded.

        Raises:
            BundleError: The manifest has no SHA-256 for it, or it was changed since.
        """
        return read_checked(self.root, name, self.manifest.files, hint=_REBUILD)

    def graph(self, precision: Precision) -> GraphInfo:
        """The graph of a precision.

        Raises:
            BundleError: The bundle has none.
        """
        if precision not in self.manifest.graphs:
            have = ", ".join(self.manifest.graphs) or "none"
            raise BundleError(
                f"{self.root} has no {precision} graph (it has: {have}).",
                self.calibrate_hint(precision),
            )
        return self.manifest.graphs[precision]

    def calibrate_hint(self, precision: Precision) -> str:
        """What to do about a graph that is missing: it is made from the run, which a copied bundle is without."""
        run = self.root.absolute().parent
        if (run / _RUN_FILE).is_file():
            return f"Make it: {shlex.join(['edge-ad', 'calibrate', str(run), '--precision', precision])}"
        return f"Make it where its run is, edge-ad calibrate RUN --precision {precision}, and copy that bundle here."

    def graph_path(self, precision: Precision) -> Path:
        """Path of a precision's ONNX file."""
        return self.root / self.graph(precision).file

    def graph_bytes(self, precision: Precision) -> bytes:
        """Content of a precision's ONNX file, as it was recorded.

        Raises:
            BundleError: The bundle has no such graph, or it was changed since.
        """
        return self.read_file(self.graph(precision).file)

    def graph_sha256(self, precision: Precision) -> str:
        """SHA-256 of a precision's ONNX file."""
        return self.manifest.files[self.graph(precision).file]

    def reference(self) -> Reference:
        """The reference outputs.

        Raises:
            BundleError: The bundle has none, or they do not fit the input size.
        """
        if REFERENCE_FILE not in self.manifest.files:
            raise BundleError(f"{self.root} has no reference outputs ({REFERENCE_FILE}).", _REBUILD)
        reference = Reference.read(self.read_file(REFERENCE_FILE), self.root / REFERENCE_FILE)
        if reference.images.shape[1:3] != self.manifest.input_size_hw:
            raise BundleError(f"{self.root / REFERENCE_FILE} is not of the input size in the manifest.", _REBUILD)
        return reference

    def scene(self) -> SceneLimits | None:
        """How the photos looked that were trained on; None for an older bundle, which does not record it.

        Raises:
            BundleError: The file was changed or is not understood.
        """
        if SCENE_FILE not in self.manifest.files:
            return None
        content, path = self.read_file(SCENE_FILE), self.root / SCENE_FILE
        return parse_document(content, path, SceneLimits, supported_version=SCENE_SCHEMA_VERSION, hint=_REBUILD)

    @contextmanager
    def alone(self) -> Iterator[Bundle]:
        """The bundle as it is on disk now, while no other command changes it; not to be nested.

        What changes a bundle does so inside of this, on what it yields: what another command has written is kept.

        Raises:
            UsageError: It is there no more.
            BundleError: It is damaged.
        """
        with one_at_a_time(self.root.resolve().parent):
            yield Bundle.open(self.root)

    def check_graphs(self, now: Bundle, *, but: Sequence[Precision] = ()) -> None:
        """Refuse to go on from graphs that are other ones now: what was made of them no longer fits.

        Args:
            now: The bundle as it is now.
            but: Graphs that are replaced anyway.

        Raises:
            BundleError: Another command has replaced one.
        """
        for precision in self.manifest.graphs.keys() - set(but):
            if precision not in now.manifest.graphs or now.graph_sha256(precision) != self.graph_sha256(precision):
                raise BundleError(
                    f"The {precision} graph of {self.root} was replaced meanwhile.", "Run the command again."
                )

    def with_graph(self, precision: Precision, graph: GraphInfo, files: Mapping[str, bytes | Path]) -> Bundle:
        """Add or replace the graph of a precision, with its files, in one step.

        Its variant in bfloat16, if there is one, is removed with it. Thresholds and metrics that another command has
        set meanwhile stay. Engines built from a replaced graph stay and are refused when opened, since their hash no
        longer fits.

        Args:
            precision: Which graph.
            graph: Its record; ``graph.file`` is among ``files`` or already in the bundle.
            files: Name inside the bundle → content, or a file to copy.

        Raises:
            BundleError: Another graph of the bundle was replaced since it was opened.
            StorageError: No space or no permission; the bundle is as it was.
        """
        stale = BF16_OF.get(precision)
        with self.alone() as now:
            self.check_graphs(now, but=(precision,) if stale is None else (precision, stale))
            graphs = {name: info for name, info in now.manifest.graphs.items() if name != stale} | {precision: graph}
            return now._rewritten(now.manifest.model_copy(update={"graphs": graphs}), files)

    def with_thresholds(
        self, thresholds: Mapping[Precision, Threshold], files: Mapping[str, bytes | Path], beside: Mapping[str, bytes]
    ) -> Bundle:
        """Set thresholds of graphs again, with the files that say why, in one step; on what `alone` gives.

        Args:
            thresholds: Precision → its new threshold.
            files: Name inside the bundle → content, or a file to copy.
            beside: Name → content of files that the manifest does not list and that are there: sidecars of engines.

        Raises:
            BundleError: The bundle has no such graph.
            StorageError: No space or no permission; the bundle is as it was.
        """
        changed = {name: self.graph(name).model_copy(update={"threshold": new}) for name, new in thresholds.items()}
        manifest = self.manifest.model_copy(update={"graphs": {**self.manifest.graphs, **changed}})
        return self._rewritten(manifest, files, beside)

    def with_files(self, files: Mapping[str, bytes | Path]) -> Bundle:
        """Add or replace files that are not graphs, such as a report, in one step.

        Args:
            files: Name inside the bundle → content, or a file to copy.

        Raises:
            StorageError: No space or no permission; the bundle is as it was.
        """
        with self.alone() as now:
            return now._rewritten(now.manifest, files)

    def _rewritten(
        self, manifest: Manifest, files: Mapping[str, bytes | Path], beside: Mapping[str, bytes] | None = None
    ) -> Bundle:
        with atomic_directory(self.root) as staged:
            clone_tree(self.root, staged)
            for name, content in (beside or {}).items():
                (staged / name).unlink()  # it may be a hard link to the old bundle's file
                (staged / name).write_bytes(content)
            manifest = _fill(staged, manifest, files)
        return Bundle(self.root, manifest)

    def with_metrics(self, record: MetricsRecord) -> Bundle:
        """Add a metrics record, replacing the one of the same data and engine.

        Raises:
            StorageError: No space or no permission; the bundle is as it was.
        """
        with self.alone() as now:
            others = [old for old in now.manifest.metrics if (old.data, old.engine) != (record.data, record.engine)]
            manifest = now.manifest.model_copy(update={"metrics": [*others, record]})
            write_file(self.root / MANIFEST_FILE, to_bytes(manifest))
        return Bundle(self.root, manifest)


def write_bundle(root: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle atomically, replacing one that is there.

    Args:
        root: Folder to write.
        manifest: Its manifest; ``files`` in it is computed here.
        files: Name inside the bundle → content, or a file to copy.

    Raises:
        BundleError: ``root`` is something other than a bundle, or a name is not a plain path.
        StorageError: No space or no permission; nothing is left behind.
    """
    check_replaceable(root)
    with one_at_a_time(root.resolve().parent), atomic_directory(root) as staged:
        manifest = _fill(staged, manifest.model_copy(update={"files": {}}), files)
    return Bundle(root, manifest)


def copy_bundle(bundle: Bundle, root: Path) -> Bundle:
    """Copy a bundle with its engines to another folder, atomically, replacing a bundle that is there.

    Raises:
        BundleError: ``root`` is something else than a bundle.
        StorageError: No space or no permission; nothing is left behind.
    """
    check_replaceable(root)
    with atomic_directory(root) as staged:
        clone_tree(bundle.root, staged)
    return Bundle.open(root)


def newest_bundle(directory: Path) -> Bundle:
    """Open the bundle that was created last: ``directory`` itself, one of its folders, or in a run below it.

    Raises:
        UsageError: There is none.
        BundleError: One of them cannot be read.
    """
    places = (directory, *_folders(directory), *_in_runs(directory))
    roots = [path for path in places if (path / MANIFEST_FILE).is_file()]
    if not roots:
        raise UsageError(f"There is no bundle in {directory} or in a run below it.", "Make one: edge-ad export <run>")
    return Bundle.open(max(roots, key=lambda root: (_created(root), root.name)))


def check_replaceable(root: Path) -> None:
    """Refuse to write a bundle over something else.

    Raises:
        BundleError: ``root`` is neither a bundle nor an empty folder.
    """
    if root.exists() and not (root / MANIFEST_FILE).is_file() and not _is_empty_folder(root):
        raise BundleError(f"{root} exists and is not a bundle.", "Choose another folder; it was not touched.")


def read_manifest(root: Path) -> Manifest:
    """What a folder says that its bundle is, also where files of it are damaged; `Bundle.open` checks those.

    Raises:
        UsageError: It has no manifest.
        BundleError: The manifest cannot be read, or is of a newer schema.
    """
    path = root / MANIFEST_FILE
    if not path.is_file():
        problem = f"has no {MANIFEST_FILE}" if root.is_dir() else "is not a folder" if root.exists() else "is not there"
        raise UsageError(f"{root} is not a bundle: it {problem}.", _where_one_is(root))
    manifest = read_document(path, Manifest, supported_version=SCHEMA_VERSION, hint=_REBUILD)
    for name in (graph.file for graph in manifest.graphs.values()):
        if check_name(name, where=str(path)) not in manifest.files:
            raise BundleError(f"{path} records no SHA-256 for {name}.", _REBUILD)
    return manifest


def _where_one_is(directory: Path) -> str:
    """Hint for a folder that is not a bundle; a run contains one."""
    if directory.parts[:1] == ("oci:",):
        return "Pull it first: edge-ad pull REGISTRY/NAME:TAG DIR"
    inside = [path for path in _folders(directory) if (path / MANIFEST_FILE).is_file()]
    return f"Name the one in it: {inside[0]}" if len(inside) == 1 else "Name one, or make one: edge-ad export <run>"


def _fill(staged: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Manifest:
    hashes = dict(manifest.files)
    for name, content in files.items():
        path = staged / check_name(name, where="The bundle to write")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a hard link to the old bundle's file
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        hashes[name] = sha256_file(path)
    missing = [graph.file for graph in manifest.graphs.values() if graph.file not in hashes]
    if missing:
        raise BundleError(f"The bundle to write lacks the graph {missing[0]}.")
    manifest = manifest.model_copy(update={"files": hashes})
    (staged / MANIFEST_FILE).unlink(missing_ok=True)
    (staged / MANIFEST_FILE).write_bytes(to_bytes(manifest))
    return manifest


def _folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    # Nothing can be asked of what may not be entered, such as lost+found of a disk.
    open_to_us = (path for path in directory.iterdir() if os.access(path, os.R_OK | os.X_OK))
    return [path for path in open_to_us if path.is_dir() and not path.name.startswith(".")]


def _in_runs(directory: Path) -> list[Path]:
    """Where runs hold their bundles: in a folder of ``directory``, or one deeper, as in ``runs/screw``."""
    found = [path for pattern in ("*/bundle", "*/*/bundle") for path in directory.glob(pattern)]
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(directory).parts)]


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _created(root: Path) -> datetime:
    text = read_manifest(root).created
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise BundleError(f"{root / MANIFEST_FILE} has no valid date ({text!r}).", _REBUILD) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
