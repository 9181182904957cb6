"""The file of a sweep: what is trained, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
    model_validator,
)

from edge_ad.data.geometry import AskedGeometry
from edge_ad.document import Document
from edge_ad.errors import UsageError
from edge_ad.strict_yaml import parse_yaml
from edge_ad.sweeps.cells import Limits

__all__ = ["Choice", "MethodEntry", "Place", "Range", "Search", "Settings", "SweepFile", "read_sweep_file"]


class MethodEntry(Document):
    """A method and its parameters.

    Attributes:
        method: Name or alias.
        parameters: Parameter → value, beside those of the sweep.
        grid: Parameter → its values: a cell for each combination.
        preset: Name of parameters and settings that belong together; empty for none.
        speed: What a frame may cost; empty for none.
    """

    method: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    grid: dict[str, Annotated[list[JsonValue], Field(min_length=1)]] = Field(default_factory=dict)
    preset: str = ""
    speed: str = ""


class Settings(Document):
    """How all are trained, as the options of ``train``; None leaves it to the preset."""

    batch_size: int | None = Field(default=None, ge=2)
    flips: bool | None = None
    mixed_precision: bool | None = None
    geometry: AskedGeometry | None = None
    crop_share: float | None = Field(default=None, gt=0, le=1)
    all_photos: bool | None = None
    skip_unreadable: bool = False
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=1)


_LEAST_MEMORY = 256 << 20  # the libraries of a training alone take more


def _check_memory(size: ByteSize) -> ByteSize:
    if size < _LEAST_MEMORY:
        raise ValueError(f"{int(size):,} bytes are too few for a training; give a unit, such as 6GiB")
    return size


class _FileLimits(Document):
    cores: int = Field(default=1, ge=1)
    memory: Annotated[ByteSize, AfterValidator(_check_memory)] | None = None
    gpus: int = Field(default=0, ge=0)
    minutes: int = Field(default=24 * 60, ge=1)

    @property
    def limits(self) -> Limits:
        memory = None if self.memory is None else int(self.memory)
        return Limits(cores=self.cores, memory_bytes=memory, gpus=self.gpus, minutes=self.minutes)


class Place(Document):
    """Where cells run.

    Attributes:
        cluster: ``local`` processes or ``slurm``.
        workers: Cells at the same time; on SLURM, jobs that wait or run. None for 1 and 100.
        gpus: Indices of this machine's GPUs, for ``local``.
        slurm: Options of sbatch in its own words, such as ``partition``.
    """

    cluster: Literal["local", "slurm"] = "local"
    workers: int | None = Field(default=None, ge=1)
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = ()
    slurm: dict[str, str | int] = Field(default_factory=dict)


class Range(Document):
    """Numbers to search in.

    Attributes:
        low: Smallest; an integer together with ``high`` for whole numbers.
        high: Largest.
        log: Whether ratios count, not differences.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 with log")
        return self


class Choice(Document):
    """Values to choose from."""

    choices: Annotated[list[str | int | float | bool], Field(min_length=2)]


def _kind(value: Any) -> str:
    is_choice = isinstance(value, Choice) or (isinstance(value, dict) and "choices" in value)
    return "choice" if is_choice else "range"


_Where = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choice, Tag("choice")],
    Discriminator(_kind),  # else what is wrong with the one is told as of the other
]


class Search(Document):
    """What ``--search`` looks for.

    Attributes:
        space: Parameter → where to look.
        trials: How many combinations are tried, 10,000 at most: each is at least one training.
        seed: Of the sampler.
        looks: How often a training is judged before its end, so that it may be given up.
    """

    space: Annotated[dict[str, _Where], Field(min_length=1)]
    trials: int = Field(default=20, ge=1, le=10_000)
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    looks: int = Field(default=0, ge=0, le=20)


def _entry(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


Entry: TypeAlias = Annotated[MethodEntry, BeforeValidator(_entry)]


class SweepFile(Document):
    """Contents of ``sweep.yaml``; relative paths are below its folder.

    Attributes:
        out: Folder of the cells and the results.
        products: Folders of products.
        methods: Names, or names with parameters.
        seeds: Of the split, the weights and the order.
        parameters: Parameters of all methods that have them.
        settings: How all are trained.
        limits: What one cell may use.
        run: Where.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        keep_runs: Keep the runs, to export them; else their figures alone.
        search: What ``--search`` looks for; None without.
    """

    out: Path
    products: Annotated[list[Path], Field(min_length=1)]
    methods: Annotated[list[Entry], Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    settings: Settings = Settings()
    limits: _FileLimits = _FileLimits()
    run: Place = Place()
    device: str = "auto"
    keep_runs: bool = True
    search: Search | None = None

    @model_validator(mode="after")
    def _has_its_gpus(self) -> SweepFile:
        if self.device.startswith("cuda") and not self.limits.gpus:
            raise ValueError(f"device {self.device} needs limits: {{gpus: 1}}")
        return self


def read_sweep_file(path: Path) -> SweepFile:
    """Read the file of a sweep.

    Args:
        path: YAML.

    Raises:
        UsageError: It cannot be read, or something in it is wrong.
    """
    try:
        parsed = SweepFile.model_validate(_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {where}: {message}.", "docs/how-to/sweep.md shows a whole file.") from error
    folder = path.resolve().parent
    paths = {"out": folder / parsed.out, "products": [folder / product for product in parsed.products]}
    return parsed.model_copy(update=paths)


def _yaml(path: Path) -> Any:
    try:
        content = parse_yaml(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "edge-ad sweep sweep.yaml") from error
    except ValueError as error:
        raise UsageError(f"{path} is no YAML: {error}.", "Mend that line.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} has no names with values.", "docs/how-to/sweep.md shows a whole file.")
    return content
