"""Checked reading of the JSON documents and file names of a bundle."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from edge_ad.errors import BundleError
from edge_ad.storage import sha256_file

__all__ = [
    "REFERENCE_FILE",
    "Reference",
    "check_hashes",
    "check_name",
    "parse_document",
    "parse_json",
    "read_checked",
    "read_document",
    "to_bytes",
]

_Document = TypeVar("_Document", bound=BaseModel)
_SHOWN_PROBLEMS = 3
_LARGEST_DOCUMENT_BYTES = 64 << 20
_LONGEST_SHOWN_NAME = 100
REFERENCE_FILE = "reference.npz"
_LARGEST_BYTES = 1 << 30  # unpacked; a file of a few kilobytes can unpack to gigabytes of zeros
_REBUILD = "Export the bundle again: edge-ad export <run>"


def read_document(path: Path, kind: type[_Document], *, supported_version: int, hint: str) -> _Document:
    """Read a versioned JSON document.

    Args:
        path: The file.
        kind: The pydantic model of its content; it has a field ``schema_version``.
        supported_version: The newest version this build reads.
        hint: What to do about a damaged document.

    Raises:
        BundleError: Unreadable, not JSON, a name given twice, of a newer version, or not what ``kind`` asks for.
    """
    return parse_document(_read_text(path, hint), path, kind, supported_version=supported_version, hint=hint)


def parse_document(text: bytes, path: Path, kind: type[_Document], *, supported_version: int, hint: str) -> _Document:
    """The document that was read from a file already; arguments and errors as in `read_document`."""
    try:
        content = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}).", hint) from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object.", hint)
    _check_version(path, content.get("schema_version"), supported_version)
    try:
        return kind.model_validate_json(json.dumps(content))
    except RecursionError as error:
        raise BundleError(f"{path} is not understood: it is nested too deeply.", hint) from error
    except ValidationError as error:
        raise BundleError(f"{path} is not understood: {_problems(error)}.", hint) from error


def parse_json(content: bytes) -> object:
    """Parse strict JSON: no ``NaN``, no ``Infinity``, no number too large for a float, no name twice.

    Raises:
        ValueError: Not such JSON.
        RecursionError: Nested too deeply.
    """
    return json.loads(content, parse_constant=_refuse_number, parse_float=_finite, object_pairs_hook=_unique)


def to_bytes(document: BaseModel) -> bytes:
    """JSON text of a document, readable for people."""
    return (document.model_dump_json(indent=2) + "\n").encode()


def check_name(name: str, *, where: str) -> str:
    """Refuse a file name that could lead out of the bundle.

    Raises:
        BundleError: Absolute, with ``..``, a backslash, a drive or a control character.
    """
    parts = PurePosixPath(name).parts
    is_plain = bool(name) and all(character.isprintable() and character not in "\\:" for character in name)
    if not is_plain or name.startswith("/") or ".." in parts or PurePosixPath(name).as_posix() != name or not parts:
        raise BundleError(
            f"{where} names the file {name!r}, which is not a plain path inside it.",
            "Do not use this bundle: it is damaged or was made to write elsewhere.",
        )
    return name


def check_hashes(root: Path, files: Mapping[str, str], *, hint: str) -> None:
    """Compare every named file with its SHA-256.

    Args:
        root: Folder that the names are relative to.
        files: Name → SHA-256, 64 lower-case hex digits.
        hint: What to do when one differs.

    Raises:
        BundleError: The first file that is missing, leads outside, or differs.
    """
    for name, expected in files.items():
        path = _inside(root, name, hint)
        if _hash(path, hint) != expected:
            raise _changed(path, hint)


def read_checked(root: Path, name: str, files: Mapping[str, str], *, hint: str) -> bytes:
    """Read a file once and compare its SHA-256, so that the checked content is what is used.

    Args:
        root: Folder that the name is relative to.
        name: The file.
        files: Name → SHA-256, 64 lower-case hex digits.
        hint: What to do when it differs.

    Raises:
        BundleError: No SHA-256 is recorded for it, or it is missing, leads outside, or differs.
    """
    if name not in files:
        raise BundleError(f"{root} records no SHA-256 for {name}.", hint)
    path = _inside(root, name, hint)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.", hint) from error
    if hashlib.sha256(content).hexdigest() != files[name]:
        raise _changed(path, hint)
    return content


def _inside(root: Path, name: str, hint: str) -> Path:
    path = root / check_name(name, where=str(root))
    try:
        if not path.is_file():
            raise BundleError(f"{path} is missing.", hint)
        if not path.resolve().is_relative_to(root.resolve()):
            raise BundleError(f"{path} is a link that leads out of {root}.", hint)
    except OSError as error:  # a name longer than the disk allows, a folder that may not be entered
        raise BundleError(f"{path} cannot be read: {error.strerror}.", hint) from error
    return path


def _changed(path: Path, hint: str) -> BundleError:
    return BundleError(f"{path} was changed or damaged: its SHA-256 is not the recorded one.", hint)


def _read_text(path: Path, hint: str) -> bytes:
    try:
        if not path.is_file():
            raise BundleError(f"{path} is missing.", hint)  # reading a pipe would block
        with path.open("rb") as file:
            text = file.read(_LARGEST_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.", hint) from error
    if len(text) > _LARGEST_DOCUMENT_BYTES:
        raise BundleError(f"{path} is too large: more than {_LARGEST_DOCUMENT_BYTES >> 20} MiB.", hint)
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; readers differ in how they treat a name given twice, so it is refused."""
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"{_clipped(name)!r} is given twice")
        content[name] = value
    return content


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse_number(text)
    return value


def _hash(path: Path, hint: str) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.", hint) from error


def _check_version(path: Path, version: object, supported: int) -> None:
    if isinstance(version, int) and version > supported:
        raise BundleError(
            f"{path} has schema version {version}; this edge-ad reads up to version {supported}.",
            "Upgrade it: pip install --upgrade edge-ad",
        )


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [f"{_clipped('.'.join(map(str, item['loc']))) or 'content'}: {item['msg']}" for item in found]
    more = len(problems) - _SHOWN_PROBLEMS
    return "; ".join(problems[:_SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _clipped(name: str) -> str:
    return name if len(name) <= _LONGEST_SHOWN_NAME else f"{name[:_LONGEST_SHOWN_NAME]}..."


@dataclass(frozen=True)
class Reference:
    """Held-out good photos, pseudo-defects made of some, and the FP32 outputs of the training framework on them.

    Attributes:
        images: uint8 (K, H, W, 3), BGR at the input size.
        scores: float32 (K,), raw scores.
        maps: float32 (K, H, W), anomaly maps.
    """

    images: NDArray[np.uint8]
    scores: NDArray[np.float32]
    maps: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = self.images.shape[:1]
        if count == (0,):
            raise BundleError("Reference outputs are of at least one image.", _REBUILD)
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise BundleError(f"Reference images must be uint8 (K, H, W, 3), not {_kind(self.images)}.")
        if self.scores.shape != count or self.scores.dtype != np.float32:
            raise BundleError(f"Reference scores must be float32 {count}, not {_kind(self.scores)}.")
        if self.maps.shape != self.images.shape[:3] or self.maps.dtype != np.float32:
            raise BundleError(f"Reference maps must be float32 {self.images.shape[:3]}, not {_kind(self.maps)}.")
        if not (np.isfinite(self.scores).all() and np.isfinite(self.maps).all()):
            raise BundleError("Reference scores and maps must be finite numbers.", _REBUILD)

    def to_bytes(self) -> bytes:
        """Content of ``reference.npz``; the same arrays give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=self.images, scores=self.scores, maps=self.maps)
        return buffer.getvalue()

    @classmethod
    def read(cls, content: bytes, path: Path) -> Reference:
        """Read ``reference.npz``; pickled content is refused.

        Args:
            content: Bytes of the file.
            path: The file, for the message.

        Raises:
            BundleError: Not such a file.
        """
        try:
            _check_unpacked_size(content)
            arrays = np.load(io.BytesIO(content), allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            with arrays:
                return cls(images=arrays["images"], scores=arrays["scores"], maps=arrays["maps"])
        except BundleError as error:
            raise BundleError(f"{path} does not hold reference outputs: {error.message}", _REBUILD) from error
        except Exception as error:  # zip, zlib, the parser of headers and numpy each have types of their own
            raise BundleError(f"{path} does not hold reference outputs ({error}).", _REBUILD) from error


def _check_unpacked_size(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(item.file_size for item in archive.infolist())
    if size > _LARGEST_BYTES:
        raise ValueError(f"it unpacks to {size / 2**30:.1f} GiB")


def _kind(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"
