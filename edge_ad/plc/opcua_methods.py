"""The methods of the OPC UA server: to trigger, pause and resume, and to ask for results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from edge_ad.errors import EdgeAdError
from edge_ad.plc.opcua_types import Namespaces, datatype_of
from edge_ad.plc.opcua_values import inspection_of, recipe_id_of, result_state_of, standard_result_of
from edge_ad.plc.results import PartResult
from edge_ad.streaming.frame import RecipeMark

if TYPE_CHECKING:
    from asyncua import Node

__all__ = ["Commands", "InspectionMethods"]

# Arguments as ``NAME:TYPE``, [] for an array; those of the standard's methods have its names.
_ERROR = "Error:Int32"
_CAUSE = "Cause:Int32 CauseDescription:String"
_JOB = (
    "MeasId:MeasIdDataType PartId:PartIdDataType RecipeId:RecipeIdExternalDataType"
    " ProductId:ProductIdDataType Parameters[]:BaseDataType"
)
_RECIPE = "ExternalId:RecipeIdExternalDataType InternalIdIn:RecipeIdInternalDataType"
_FILTERS = (
    "ResultState:ResultStateDataType MeasId:MeasIdDataType PartId:PartIdDataType"
    " ExternalRecipeId:RecipeIdExternalDataType InternalRecipeId:RecipeIdInternalDataType"
    " ExternalConfigurationId:ConfigurationIdDataType InternalConfigurationId:ConfigurationIdDataType"
    " ProductId:ProductIdDataType JobId:JobIdDataType MaxResults:UInt32 StartIndex:UInt32 Timeout:Int32"
)
_LISTED = "IsComplete:Boolean ResultCount:UInt32 ResultHandle:Handle ResultList[]:ResultDataType"


class Commands(Protocol):
    """What a client may call; each may be called in the thread of the server only."""

    def trigger_part(self, part_id: str) -> str | None:
        """Have the next frame judged: the id of its part, empty where it is refused, None where there is no trigger."""

    def pause(self) -> None:
        """Let frames pass unjudged."""

    def resume(self) -> None:
        """Judge frames again."""

    @property
    def has_recipes(self) -> bool:
        """Whether the stream can be switched between recipes."""

    async def recipe(self, name: str, *, only_prepare: bool = False) -> RecipeMark:
        """Switch to a recipe, or have its bundle opened only; raises an `EdgeAdError` where it is refused."""

    def since(self, sequence: int) -> tuple[Sequence[PartResult], int]:
        """The results that are kept and later than one, oldest first, and how many before them are not kept."""


class _Method(NamedTuple):
    name: str
    call: Callable[..., Awaitable[Any]]
    inputs: str
    outputs: str


class InspectionMethods:
    """What a client may call.

    Args:
        spaces: Indexes of the namespaces.
        commands: What carries it out.
        run: Name of the run of the stream; with the sequence number it names a result.
        on_asked: Called when a part was asked for: the result before it counts no longer.
    """

    def __init__(
        self, spaces: Namespaces, commands: Commands, run: str, on_asked: Callable[[], Awaitable[None]]
    ) -> None:
        self._spaces, self._commands, self._run, self._on_asked = spaces, commands, run, on_asked

    async def add(self, root: Node, machine: Node, automatic: Node, results: Node, recipes: Node) -> None:
        """Add all methods.

        Args:
            root: The vision system.
            machine: Its state machine.
            automatic: That of its automatic mode.
            results: Its result management.
            recipes: Its recipe management.
        """
        own, standard = self._spaces.own, self._spaces.standard
        for parent, space, methods in (
            (root, own, self._of_system()),
            (machine, standard, _OF_STATE_MACHINE),
            (automatic, standard, self._of_jobs()),
            (results, standard, self._of_results()),
            (recipes, standard, self._of_recipes()),
        ):
            for method in methods:
                await self._add_method(parent, space, *method)

    def _of_system(self) -> Sequence[_Method]:
        since = "Results[]:InspectionDataType Lost:UInt32"
        return (
            _Method("Trigger", self._trigger, "PartId:String", "PartId:String"),
            _Method("Pause", self._pause, "", ""),
            _Method("Resume", self._resume, "", ""),
            _Method("SelectRecipe", self._select, "Name:String", ""),
            _Method("GetResultsSince", self._since, "SequenceNumber:UInt32", since),
        )

    def _of_jobs(self) -> Sequence[_Method]:
        job = f"JobId:JobIdDataType {_ERROR}"
        return (
            _Method("StartSingleJob", self._start_single, _JOB, job),
            _Method("StartContinuous", self._start_continuous, _JOB, job),
            _Method("Stop", self._stop, _CAUSE, _ERROR),
            _Method("Abort", _not_supported, _CAUSE, _ERROR),
        )

    def _of_results(self) -> Sequence[_Method]:
        by_id = ("ResultId:ResultIdDataType Timeout:Int32", f"ResultHandle:Handle Result:ResultDataType {_ERROR}")
        return (
            _Method("GetResultById", self._result_by_id, *by_id),
            _Method("GetResultListFiltered", self._result_list, _FILTERS, f"{_LISTED} {_ERROR}"),
        )

    def _of_recipes(self) -> Sequence[_Method]:
        identity = "InternalIdOut:RecipeIdInternalDataType"
        return (
            _Method("PrepareRecipe", self._prepare, _RECIPE, f"{identity} IsCompleted:Boolean {_ERROR}"),
            _Method("UnprepareRecipe", _not_supported, _RECIPE, f"{identity} {_ERROR}"),
        )

    async def _add_method(
        self, parent: Node, space: int, name: str, call: Callable[..., Awaitable[Any]], inputs: str, outputs: str
    ) -> None:
        from asyncua import ua

        await parent.add_method(
            ua.NodeId(f"{parent.nodeid.Identifier}.{name}", self._spaces.own),
            ua.QualifiedName(name, space),
            call,
            [_argument(text, self._spaces) for text in inputs.split()],
            [_argument(text, self._spaces) for text in outputs.split()],
        )

    async def _trigger(self, _parent: Any, part_id: Any) -> Any:
        from asyncua import ua

        asked = self._commands.trigger_part(part_id.Value or "")
        if not asked:
            return _refusal(asked)
        await self._on_asked()
        return [ua.Variant(asked, ua.VariantType.String)]

    async def _pause(self, _parent: Any) -> Any:
        self._commands.pause()
        return []

    async def _resume(self, _parent: Any) -> Any:
        self._commands.resume()
        return []

    async def _select(self, _parent: Any, name: Any) -> Any:
        refused = await self._switched(name.Value or "")
        return [] if refused is None else refused

    async def _switched(self, name: str) -> Any:
        """None, or the status code of a refusal; the status nodes say why."""
        from asyncua import ua

        if not self._commands.has_recipes:
            return ua.StatusCode(ua.StatusCodes.BadNotSupported)
        try:
            await self._commands.recipe(name)
        except EdgeAdError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        return None

    async def _prepare(self, _parent: Any, external: Any, internal: Any) -> Any:
        from asyncua import ua

        if not self._commands.has_recipes:
            return ua.StatusCode(ua.StatusCodes.BadNotSupported)
        given = [one.Value.Id for one in (external, internal) if one.Value is not None and one.Value.Id]
        try:
            mark = await self._commands.recipe(given[0] if given else "", only_prepare=True)
        except EdgeAdError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        return [_object_of(recipe_id_of(mark)), ua.Variant(True, ua.VariantType.Boolean), _no_error()]

    async def _since(self, _parent: Any, sequence: Any) -> Any:
        from asyncua import ua

        found, lost = self._commands.since(int(sequence.Value or 0))
        listed = [inspection_of(result) for result in found]
        return [
            ua.Variant(listed, ua.VariantType.ExtensionObject, is_array=True),
            ua.Variant(lost, ua.VariantType.UInt32),
        ]

    async def _start_single(self, parent: Any, _meas: Any, part: Any, recipe: Any, *_: Any) -> Any:
        from asyncua import ua

        if (refused := await self._asked_recipe(recipe)) is not None:
            return refused
        part_id = "" if part.Value is None else part.Value.Id
        answer = await self._trigger(parent, ua.Variant(part_id or "", ua.VariantType.String))
        if isinstance(answer, ua.StatusCode):
            return answer
        return [_object_of(ua.JobIdDataType(Id=answer[0].Value)), _no_error()]

    async def _asked_recipe(self, recipe: Any) -> Any:
        """Switch to the recipe of a job; None where it has none, or where it is in use then."""
        name = "" if recipe.Value is None else recipe.Value.Id or ""
        return await self._switched(name) if name else None

    async def _start_continuous(self, _parent: Any, _meas: Any, _part: Any, recipe: Any, *_: Any) -> Any:
        from asyncua import ua

        if (refused := await self._asked_recipe(recipe)) is not None:
            return refused
        self._commands.resume()
        return [_object_of(ua.JobIdDataType(Id=self._run)), _no_error()]

    async def _stop(self, _parent: Any, *_: Any) -> Any:
        self._commands.pause()
        return [_no_error()]

    async def _result_by_id(self, _parent: Any, result_id: Any, _timeout: Any) -> Any:
        from asyncua import ua

        run, _, number = ("" if result_id.Value is None else result_id.Value.Id or "").rpartition("-")
        sequence = int(number) if number.isascii() and number.isdigit() else 0
        found, _ = self._commands.since(max(0, sequence - 1))
        if run != self._run or not found or found[0].sequence != sequence:
            return ua.StatusCode(ua.StatusCodes.BadNotFound)
        return [_handle(), _object_of(standard_result_of(found[0], self._run)), _no_error()]

    async def _result_list(self, _parent: Any, state: Any, meas: Any, part: Any, *rest: Any) -> Any:
        from asyncua import ua

        *others, most, start, _timeout = (one.Value for one in rest)
        if any(one is not None and one.Id for one in (meas.Value, *others)):
            return ua.StatusCode(ua.StatusCodes.BadNotSupported)  # a list of what was not asked for would be wrong
        part_id = "" if part.Value is None else part.Value.Id
        found = [
            one
            for one in self._commands.since(0)[0]
            if part_id in ("", None, one.part_id, str(one.part)) and state.Value in (0, None, result_state_of(one))
        ]
        newest_first = found[::-1][start or 0 :]
        listed = newest_first[: most or None]
        return [
            ua.Variant(len(listed) == len(newest_first), ua.VariantType.Boolean),
            ua.Variant(len(listed), ua.VariantType.UInt32),
            _handle(),
            ua.Variant(
                [standard_result_of(one, self._run) for one in listed], ua.VariantType.ExtensionObject, is_array=True
            ),
            _no_error(),
        ]


async def _not_supported(_parent: Any, *_: Any) -> Any:
    from asyncua import ua

    return ua.StatusCode(ua.StatusCodes.BadNotSupported)


_OF_STATE_MACHINE = (
    _Method("Halt", _not_supported, _CAUSE, _ERROR),
    _Method("Reset", _not_supported, _CAUSE, _ERROR),
)


def _refusal(asked: str | None) -> Any:
    from asyncua import ua

    return ua.StatusCode(ua.StatusCodes.BadNotSupported if asked is None else ua.StatusCodes.BadInvalidState)


def _no_error() -> Any:
    from asyncua import ua

    return ua.Variant(0, ua.VariantType.Int32)


def _handle() -> Any:
    """No handle: results need not be released."""
    from asyncua import ua

    return ua.Variant(0, ua.VariantType.UInt32)


def _object_of(structure: Any) -> Any:
    from asyncua import ua

    return ua.Variant(structure, ua.VariantType.ExtensionObject)


def _argument(text: str, spaces: Namespaces) -> Any:
    from asyncua import ua

    name, _, kind = text.partition(":")
    is_array = name.endswith("[]")
    return ua.Argument(
        Name=name.removesuffix("[]"),
        DataType=datatype_of(kind, spaces),
        ValueRank=ua.ValueRank.OneDimension if is_array else ua.ValueRank.Scalar,
        ArrayDimensions=[0] if is_array else [],
    )
