"""How to build a plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_ad.errors import UsageError

__all__ = ["PlanOptions", "parse_targets"]


@dataclass(frozen=True)
class PlanOptions:
    """Options of a build.

    Attributes:
        targets: GPUs to build for, such as ``("sm86", "sm89")``; empty for that of this machine.
        max_batch: Largest batch the plan takes; the smallest is 1.
        opt_batch: Batch it is tuned for.
        workspace_mib: Most scratch memory a layer may use, in MiB; 0 leaves it to TensorRT.
        hardware_compatibility: ``"ampere_plus"``: also for other GPUs from Ampere on;
            ``"same_compute_capability"``: also for other GPUs of the same compute capability; empty: for this GPU.
        version_compatible: Also for later versions of TensorRT.
        timing_cache: File of measured kernels to start from and to add to; None for that beside the engines.
        dla_core: DLA to build for; None for the GPU.
    """

    targets: tuple[str, ...] = ()
    max_batch: int = 8
    opt_batch: int = 1
    workspace_mib: int = 0
    hardware_compatibility: str = ""
    version_compatible: bool = False
    timing_cache: Path | None = None
    dla_core: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.opt_batch <= self.max_batch:
            raise UsageError(
                f"A plan for batches of 1 to {self.max_batch} cannot be tuned for {self.opt_batch}.",
                "Give --max-batch 1 or more.",
            )
        if self.workspace_mib < 0:
            raise UsageError(f"The workspace must be 0 MiB or more, not {self.workspace_mib}.")


def parse_targets(texts: list[str]) -> tuple[str, ...]:
    """Read ``sm86,sm89``, ``8.6`` or several of them, without repetitions, in ascending order.

    Raises:
        UsageError: Something else.
    """
    words = [word.strip().lower() for text in texts for word in text.split(",") if word.strip()]
    return tuple(sorted(dict.fromkeys(map(_target, words)), key=lambda name: int(name[2:])))


def _target(word: str) -> str:
    digits = word.removeprefix("sm").replace("_", "").replace(".", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) in (2, 3)):
        raise UsageError(f"{word!r} is no GPU target.", "Name a compute capability, such as --target sm89.")
    return f"sm{int(digits)}"
