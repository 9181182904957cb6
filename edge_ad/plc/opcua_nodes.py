"""The nodes of the OPC UA server: one vision system, its state, its newest result and its methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edge_ad.plc.condition import Fault
from edge_ad.plc.opcua_methods import Commands, InspectionMethods
from edge_ad.plc.opcua_types import STATES, Namespaces, ObjectTypes, add_node, datatype_of
from edge_ad.plc.opcua_values import inspection_of, standard_result_of, utc
from edge_ad.plc.results import PartResult, VerdictCode
from edge_ad.streaming.frame import NO_RECIPE, RecipeMark
from edge_ad.streaming.golden.state import GoldenState

if TYPE_CHECKING:
    from asyncua import Node, Server

__all__ = ["Condition", "InspectionNodes"]

ROOT = "VisionSystem"
_STATE_VARIABLE_TYPE, _PLAIN_VARIABLE_TYPE = 2760, 63
_PRODUCING, _STANDING_BY, _DOWN, _NOT_SCHEDULED = 1, 2, 5, 6  # SystemStateDataType
_VERDICTS = {
    VerdictCode.NOTHING: "nothing judged",
    VerdictCode.OK: "OK",
    VerdictCode.NG: "NG",
    VerdictCode.NOT_INSPECTED: "not inspected",
}
# Written in this order: who sees the new sequence number sees all of its result.
_LATEST = {
    "PartNumber": "UInt32",
    "PartId": "String",
    "Verdict": "Int32",
    "VerdictText": "String",
    "Reason": "String",
    "Score": "Double",
    "Threshold": "Double",
    "RegionCount": "UInt32",
    "RegionX": "Int32",
    "RegionY": "Int32",
    "RegionWidth": "Int32",
    "RegionHeight": "Int32",
    "Frames": "UInt32",
    "DefectiveFrames": "UInt32",
    "Source": "UInt32",
    "BundleHash": "String",
    "Time": "UtcTime",
    "Inspection": "InspectionDataType",
    "IsOk": "Boolean",
    "SequenceNumber": "UInt32",
}
_STATUS = {
    "Ready": "Boolean",
    "Fault": "Int32",
    "FaultText": "String",
    "Problem": "String",
    "Busy": "Boolean",
    "Alarm": "Boolean",
    "Heartbeat": "UInt32",
    "ResultsLost": "UInt32",
    "Recipe": "String",
    "RecipeHash": "String",
    "RecipeRefusal": "String",
    "GoldenCheck": "Int32",
    "GoldenCheckText": "String",
}


@dataclass(frozen=True)
class Condition:
    """What the status nodes show.

    Attributes:
        fault: What is wrong.
        problem: Why the newest frames are not judged; empty where they are.
        is_asked: Whether a part that was asked for has no result yet.
        has_trigger: Whether clients ask for parts.
        has_alarm: Whether an output of the stream fails, or a score is not finite.
        seconds: Since the server was opened.
        lost: Results that were never put out.
        recipe: The recipe in use.
        refusal: Why the newest request of a client for a recipe was refused; empty where it was not.
        golden: What is known of the line by its master parts.
    """

    fault: Fault
    problem: str
    is_asked: bool
    has_trigger: bool
    has_alarm: bool
    seconds: int
    lost: int
    recipe: RecipeMark = NO_RECIPE
    refusal: str = ""
    golden: GoldenState = GoldenState.NONE


class InspectionNodes:
    """Nodes of one stream.

    Args:
        server: The server, not started yet, with the types.
        spaces: Indexes of the namespaces.
        types: NodeIds of the types.
        commands: What a client may call.
        run: Name of this run of the stream; with the sequence number it names a result.
    """

    def __init__(self, server: Server, spaces: Namespaces, types: ObjectTypes, commands: Commands, run: str) -> None:
        self._server, self._spaces, self._types, self._commands = server, spaces, types, commands
        self._run = run
        self._variants: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}
        self._events: list[Any] = []
        self._newest: PartResult | None = None
        self._is_sound = self._is_asked = False

    async def build(self) -> None:
        """Add all nodes."""
        from asyncua import ua

        standard = self._spaces.standard
        root = await self._object(ua.NodeId(ua.ObjectIds.ObjectsFolder), ROOT, self._types.vision_system, is_own=True)
        machine = await self._object(root.nodeid, f"{ROOT}.VisionStateMachine", self._types.state_machine)
        automatic = await self._object(
            machine.nodeid, f"{ROOT}.VisionStateMachine.AutomaticModeStateMachine", self._types.automatic
        )
        for parent in (machine, automatic):
            await self._state_variable(parent)
        await self._add_group(root, "Latest", _LATEST)
        await self._add_group(root, "Status", _STATUS)
        results = await self._object(root.nodeid, f"{ROOT}.ResultManagement", self._types.result_management)
        folder = await self._object(results.nodeid, f"{ROOT}.ResultManagement.Results", self._types.result_folder)
        await self._variable(folder.nodeid, f"{folder.nodeid.Identifier}.Latest", "ResultDataType", self._types.result)
        await self._variable(root.nodeid, f"{ROOT}.SystemState", "SystemStateDescriptionDataType", space=standard)
        recipes = await self._object(root.nodeid, f"{ROOT}.RecipeManagement", self._types.recipe_management)
        methods = InspectionMethods(self._spaces, self._commands, self._run, self._asked)
        await methods.add(root, machine, automatic, results, recipes)
        for emitter in (ua.NodeId(ua.ObjectIds.Server), root.nodeid):
            event = await self._server.get_event_generator(self._types.inspection_ready, emitter)
            event.event.SourceNode, event.event.SourceName = root.nodeid, ROOT
            self._events.append(event)

    async def put(self, result: PartResult, *, is_asked: bool) -> None:
        """Show a result, and tell who subscribed to events.

        Args:
            result: The result.
            is_asked: Whether a part was asked for since, which has no result yet: then this one is OK for nobody.
        """
        self._newest, self._is_asked = result, is_asked
        inspection = inspection_of(result)
        for name, value in self._latest_values(result, inspection).items():
            await self._write(f"{ROOT}.Latest.{name}", value, is_result=True)
        standard = standard_result_of(result, self._run)
        await self._write(f"{ROOT}.ResultManagement.Results.Latest", standard, is_result=True)
        await self._tell(result, standard, inspection)

    def _latest_values(self, result: PartResult, inspection: Any) -> Mapping[str, Any]:
        """The variables of ``Latest`` in the order of `_LATEST`."""
        first: Mapping[str, Any] = result.regions[0] if result.regions else {}
        return {
            "PartNumber": result.part,
            "PartId": result.part_id,
            "Verdict": int(result.code),
            "VerdictText": _VERDICTS[result.code],
            "Reason": result.reason,
            "Score": result.score,
            "Threshold": result.threshold,
            "RegionCount": len(result.regions),
            "RegionX": first.get("x", 0),
            "RegionY": first.get("y", 0),
            "RegionWidth": first.get("width", 0),
            "RegionHeight": first.get("height", 0),
            "Frames": result.frames,
            "DefectiveFrames": result.defective,
            "Source": result.source,
            "BundleHash": result.bundle,
            "Time": inspection.Time,
            "Inspection": inspection,
            "IsOk": self._is_ok(),
            "SequenceNumber": result.sequence,
        }

    async def _tell(self, result: PartResult, standard: Any, inspection: Any) -> None:
        from asyncua import ua

        text = f"Part {result.part_id or result.part} is {_VERDICTS[result.code]}."
        for generator in self._events:
            event = generator.event
            for name in ("ResultId", "IsPartial", "ResultState", "PartId", "InternalRecipeId", "JobId", "CreationTime"):
                setattr(event, name, getattr(standard, name))
            event.InternalConfigurationId = standard.InternalConfigurationId
            event.SequenceNumber, event.Inspection = result.sequence, inspection
            event.Severity = 1 if result.code is VerdictCode.OK else 500
            event.Message = ua.LocalizedText(text)
            await generator.trigger(message=text)

    async def show(self, condition: Condition) -> None:
        """Show the condition of the stream; writes what has changed."""
        from asyncua import ua

        fault = condition.fault
        self._is_sound, self._is_asked = fault is Fault.NONE, condition.is_asked
        await self._write(f"{ROOT}.Latest.IsOk", self._is_ok())
        values = {
            "Ready": self._is_sound,
            "Fault": int(fault),
            "FaultText": fault.name.replace("_", " ").lower(),
            "Problem": condition.problem,
            "Busy": condition.is_asked,
            "Alarm": condition.has_alarm,
            "Heartbeat": condition.seconds,
            "ResultsLost": condition.lost,
            "Recipe": condition.recipe.name,
            "RecipeHash": condition.recipe.hash,
            "RecipeRefusal": condition.refusal,
            "GoldenCheck": int(condition.golden),
            "GoldenCheckText": condition.golden.word,
        }
        for name, value in values.items():
            await self._write(f"{ROOT}.Status.{name}", value)
        system, outer, inner = _states(condition)
        description = ua.SystemStateDescriptionDataType(State=ua.SystemStateDataType(system))
        if self._shown.get("system") != system:
            self._shown["system"] = system
            await self._write(f"{ROOT}.SystemState", description)
        machine = f"{ROOT}.VisionStateMachine"
        await self._show_state(machine, outer)
        await self._show_state(f"{machine}.AutomaticModeStateMachine", inner)

    async def _asked(self) -> None:
        self._is_asked = True
        await self._write(f"{ROOT}.Latest.IsOk", False)

    def _is_ok(self) -> bool:
        newest = self._newest
        is_ok = newest is not None and newest.code is VerdictCode.OK
        return is_ok and self._is_sound and not self._is_asked

    async def _show_state(self, machine: str, state: str) -> None:
        from asyncua import ua

        if self._shown.get(machine) == state:
            return
        self._shown[machine] = state
        nodeid = ua.NodeId(STATES[state][0], self._spaces.standard) if state else ua.NodeId()
        await self._write(f"{machine}.CurrentState", ua.LocalizedText(state))
        await self._write(f"{machine}.CurrentState.Id", nodeid)

    async def _write(self, name: str, value: Any, *, is_result: bool = False) -> None:
        """Write a variable; a result is written even where it is equal to the one before."""
        from asyncua import ua

        if not is_result and name in self._shown and self._shown[name] == value:
            return
        self._shown[name] = value
        at = datetime.now(timezone.utc)
        data = ua.DataValue(ua.Variant(value, self._variants[name]), SourceTimestamp=at, ServerTimestamp=at)
        await self._server.write_attribute_value(ua.NodeId(name, self._spaces.own), data)

    async def _object(self, parent: Any, name: str, kind: Any, *, is_own: bool = False) -> Node:
        from asyncua import ua

        space = self._spaces.own if is_own else self._spaces.standard
        browse_name = ua.QualifiedName(name.rpartition(".")[2], space)
        return await add_node(self._server, parent, ua.NodeId(name, self._spaces.own), browse_name, kind)

    async def _variable(
        self, parent: Any, name: str, datatype: str, kind: Any = None, *, space: int | None = None
    ) -> Node:
        from asyncua import ua

        first = _first_value(datatype)
        self._variants[name] = first.VariantType
        browse_name = ua.QualifiedName(name.rpartition(".")[2], self._spaces.own if space is None else space)
        value = (first, datatype_of(datatype, self._spaces))
        kind = kind or ua.NodeId(_PLAIN_VARIABLE_TYPE)
        return await add_node(self._server, parent, ua.NodeId(name, self._spaces.own), browse_name, kind, value)

    async def _state_variable(self, machine: Node) -> None:
        from asyncua import ua

        name = f"{machine.nodeid.Identifier}.CurrentState"
        kind = ua.NodeId(_STATE_VARIABLE_TYPE)
        variable = await self._variable(machine.nodeid, name, "LocalizedText", kind, space=0)
        self._variants[f"{name}.Id"] = ua.VariantType.NodeId
        await variable.add_property(
            ua.NodeId(f"{name}.Id", self._spaces.own),
            ua.QualifiedName("Id", 0),
            ua.Variant(ua.NodeId(), ua.VariantType.NodeId),
        )

    async def _add_group(self, root: Node, name: str, variables: Mapping[str, str]) -> None:
        from asyncua import ua

        kind = ua.NodeId(ua.ObjectIds.FolderType)
        folder = await self._object(root.nodeid, f"{ROOT}.{name}", kind, is_own=True)
        for variable, datatype in variables.items():
            await self._variable(folder.nodeid, f"{ROOT}.{name}.{variable}", datatype)


def _states(condition: Condition) -> tuple[int, str, str]:
    """State of the system, of the vision state machine, and of its automatic mode; empty where that is not active."""
    match condition.fault:
        case Fault.STARTING:
            return _STANDING_BY, "Preoperational", ""
        case Fault.STOPPING:
            return _NOT_SCHEDULED, "Halted", ""
        case Fault.PAUSED:
            return _STANDING_BY, "Operational", "Ready"
        case Fault.NONE if condition.has_trigger and not condition.is_asked:
            return _STANDING_BY, "Operational", "Ready"
        case Fault.NONE:
            return _PRODUCING, "Operational", "SingleExecution" if condition.has_trigger else "ContinuousExecution"
        case _:
            return _DOWN, "Error", ""


def _first_value(datatype: str) -> Any:
    """What a variable has before anything was judged."""
    from asyncua import ua

    kinds = ua.VariantType
    match datatype:
        case "UtcTime":
            return ua.Variant(utc(0.0), kinds.DateTime)
        case "LocalizedText":
            return ua.Variant(ua.LocalizedText(""), kinds.LocalizedText)
        case "Double":
            return ua.Variant(math.nan, kinds.Double)
        case "Boolean":
            return ua.Variant(False, kinds.Boolean)
        case "Int32" | "UInt32":
            return ua.Variant(0, kinds[datatype])
        case "String":
            return ua.Variant("", kinds.String)
    return ua.Variant(getattr(ua, datatype)(), kinds.ExtensionObject)
