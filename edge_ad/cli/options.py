"""Options shared by several verbs; commands with groups of options, and options with an optional value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, get_type_hints

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from edge_ad.data.products import Folders

__all__ = [
    "LONGEST_WATCH_S",
    "AnyProductOption",
    "BackendOption",
    "BundleArgument",
    "DefectOption",
    "EngineChoice",
    "GoodOption",
    "JsonOption",
    "MasksOption",
    "MlflowOption",
    "OptionalValueCommand",
    "PhotosToTest",
    "PlainHttpOption",
    "PrecisionChoice",
    "PrecisionOption",
    "TargetArgument",
    "ThreadsOption",
    "TrustOption",
    "named_folders",
    "takes_groups",
]

PrecisionChoice: TypeAlias = Literal["auto", "fp32", "bf16", "fp16", "int8", "int8-bf16"]

BundleArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")]

TargetArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE|RUN|oci://REGISTRY/NAME:TAG",
        help="Folder of a bundle, or of a run. A bundle in a registry is pulled.",
    ),
]

BackendOption: TypeAlias = Annotated[
    str, typer.Option("--backend", help="Backend to run on; edge-ad doctor lists those of this machine.")
]

PrecisionOption: TypeAlias = Annotated[PrecisionChoice, typer.Option("--precision", help="Graph of the bundle to run.")]

ThreadsOption: TypeAlias = Annotated[
    int, typer.Option("--threads", min=0, help="CPU threads; 0 lets the backend decide.")
]

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

LONGEST_WATCH_S = 7 * 24 * 3600.0
"""Between two looks at a tag, in seconds: a device that looks more seldom cannot be told from one that is gone."""
PlainHttpOption: TypeAlias = Annotated[
    bool, typer.Option("--plain-http", help="Speak to the registry without TLS; on this machine that is so anyway.")
]
AnyProductOption: TypeAlias = Annotated[
    bool, typer.Option("--any-product", help="Also replace a bundle of another product.")
]

MlflowOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--mlflow", metavar="URI", envvar="MLFLOW_TRACKING_URI", help="MLflow server of models:/NAME@ALIAS."),
]

TrustOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--trust", metavar="KEY.pub", help="Refuse what this public key (PEM) has not signed. Repeatable."),
]

GoodOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--good", help="Folder of photos of good parts, with its subfolders. Repeatable."),
]

DefectOption: TypeAlias = Annotated[
    list[Path] | None, typer.Option("--defect", help="Folder of photos of defective parts. Repeatable.")
]

MasksOption: TypeAlias = Annotated[Path | None, typer.Option("--masks", help="Folder of the defects' masks.")]


def named_folders(
    good: list[Path] | None, defects: list[Path] | None, masks: Path | None, *, more: Iterable[Path] = ()
) -> Folders:
    """The folders that ``--good``, ``--defect``, ``--masks`` and every ``--data`` but the first name."""
    from edge_ad.data.products import Folders

    return Folders(tuple(good or ()), tuple(defects or ()), masks, tuple(more))


@dataclass(frozen=True)
class PhotosToTest:
    """Which photos to test with."""

    data: Annotated[Path | None, typer.Option(help="Folder of the product, with test photos.")] = None
    good: GoodOption = None
    defect: DefectOption = None
    masks: MasksOption = None

    @property
    def folders(self) -> Folders:
        """The folders that are named one by one."""
        return named_folders(self.good, self.defect, self.masks)

    @property
    def is_given(self) -> bool:
        """Whether any photos are named."""
        return self.data is not None or bool(self.good or self.defect)


@dataclass(frozen=True)
class EngineChoice:
    """The engine of a bundle, and how to run it; the fields are arguments of `open_predictor`."""

    backend: BackendOption = "auto"
    precision: PrecisionOption = "auto"
    threads: ThreadsOption = 0


class OptionalValueCommand(TyperCommand):
    """A command with options whose value is empty when none follows.

    Attributes:
        may_be_bare: Their names.
    """

    may_be_bare: ClassVar[frozenset[str]] = frozenset()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare option an empty value."""
        given: list[str] = []
        for place, word in enumerate(args):
            given.append(word)
            if word in self.may_be_bare and (place + 1 == len(args) or args[place + 1].startswith("-")):
                given.append("")
        return super().parse_args(ctx, given)


def takes_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Turn a function that takes groups of options into a command that takes each option.

    Args:
        function: Each argument is a dataclass whose fields are options: ``Annotated[type, typer.Option(...)]``, each
            with a default, or required. No two of them have a field of the same name.

    Returns:
        A function whose signature lists the fields of all groups in their order, for typer to read.
    """
    groups = {name: kind for name, kind in get_type_hints(function).items() if name != "return"}

    @wraps(function)
    def command(**options: Any) -> None:
        function(
            **{name: kind(**{each.name: options[each.name] for each in fields(kind)}) for name, kind in groups.items()}
        )

    listed = [parameter for kind in groups.values() for parameter in _parameters(kind)]
    setattr(command, "__signature__", inspect.Signature(listed))  # noqa: B010 - what is wrapped has no such attribute
    command.__annotations__ = {}  # the groups mean nothing to typer
    return command


def _parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(each.name, kind, default=_default(each), annotation=hints[each.name])
        for each in fields(group)
    ]


def _default(option: Field[Any]) -> Any:
    return inspect.Parameter.empty if option.default is MISSING else option.default
