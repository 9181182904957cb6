"""Checked reading of the JSON documents and file names of a bundle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from edge_ad.errors import BundleError
from edge_ad.storage import sha256_file

__all__ = ["check_hashes", "check_name", "parse_json", "read_document", "to_bytes"]

_Document = TypeVar("_Document", bound=BaseModel)
_SHOWN_PROBLEMS = 3


def read_document(path: Path, kind: type[_Document], *, supported_version: int, hint: str) -> _Document:
    """Read a versioned JSON document.

    Args:
        path: The file.
        kind: The pydantic model of its content; it has a field ``schema_version``.
        supported_version: The newest version this build reads.
        hint: What to do about a damaged document.

    Raises:
        BundleError: Unreadable, not JSON, of a newer version, or not what ``kind`` asks for.
    """
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.", hint) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}).", hint) from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object.", hint)
    _check_version(path, content.get("schema_version"), supported_version)
    try:
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise BundleError(f"{path} is not understood: {_problems(error)}.", hint) from error


def parse_json(content: bytes) -> object:
    """JSON as the standard has it: ``NaN``, ``Infinity`` and numbers too large for a float are refused.

    Raises:
        ValueError: Not such JSON.
        RecursionError: Nested too deeply.
    """
    return json.loads(content, parse_constant=_refuse_number, parse_float=_finite)


def to_bytes(document: BaseModel) -> bytes:
    """JSON text of a document, for people to read as well."""
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
        path = root / check_name(name, where=str(root))
        if not path.is_file():
            raise BundleError(f"{path} is missing.", hint)
        if not path.resolve().is_relative_to(root.resolve()):
            raise BundleError(f"{path} is a link that leads out of {root}.", hint)
        if _hash(path, hint) != expected:
            raise BundleError(f"{path} was changed or damaged: its SHA-256 is not the recorded one.", hint)


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
    problems = [f"{'.'.join(map(str, item['loc'])) or 'content'}: {item['msg']}" for item in error.errors()]
    more = len(problems) - _SHOWN_PROBLEMS
    return "; ".join(problems[:_SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
