"""The types of OPC UA for Machine Vision (OPC 40100-1, 1.00) that are served, and two structures of our own.

NodeIds, names and fields are those of the standard's node set (Opc.Ua.MachineVision.NodeSet2.xml, 2019-07-11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncua import Node, Server

__all__ = [
    "MACHINE_VISION",
    "OWN",
    "STATES",
    "Namespaces",
    "ObjectTypes",
    "add_node",
    "add_types",
    "datatype_of",
]

MACHINE_VISION: Final = "http://opcfoundation.org/UA/MachineVision"
OWN: Final = "urn:edge-ad:inspection"

_STRUCTURE, _ENUMERATION = 22, 29  # NodeIds of namespace 0
_OBJECT_TYPE, _FOLDER_TYPE, _STATE_MACHINE_TYPE, _BASE_EVENT_TYPE, _VARIABLE_TYPE = 58, 61, 2771, 2041, 63
_STATE_TYPE = 2307
_ALIASES = {"ResultStateDataType": (3009, 6), "TrimmedString": (3017, 12), "Handle": (3018, 7)}
_SYSTEM_STATES = ("PRD_1", "SBY_2", "ENG_3", "SDT_4", "UDT_5", "NST_6")
_SYSTEM_STATE = 3023
_BUILT_IN = {
    "Boolean": 1,
    "Int32": 6,
    "UInt32": 7,
    "Double": 11,
    "String": 12,
    "ByteString": 15,
    "LocalizedText": 21,
    "BaseDataType": 24,
    "UtcTime": 294,
    "Duration": 290,
}
# Fields that are a TrimmedString in the standard are its base type here, which is the same on the wire. Clients that
# look types up by name take it for the TrimmedString of namespace 0 (since 1.05), and then know no structure with one.
_BINARY_ID = "Id:String Version?:String Hash?:ByteString HashAlgorithm?:String Description?:LocalizedText"
_NAMED_ID = "Id:String Description?:LocalizedText"
# Name → NodeId of the type and of its binary encoding, and the fields: ? is optional, [] an array.
_STRUCTURES = {
    "BinaryIdBaseDataType": (3019, 5027, _BINARY_ID),
    "ConfigurationIdDataType": (3008, 5090, _BINARY_ID),
    "RecipeIdExternalDataType": (3002, 5002, _BINARY_ID),
    "RecipeIdInternalDataType": (3013, 5268, _BINARY_ID),
    "JobIdDataType": (3016, 5008, "Id:String"),
    "ResultIdDataType": (3021, 5274, "Id:String"),
    "MeasIdDataType": (3015, 5006, _NAMED_ID),
    "PartIdDataType": (3004, 5013, _NAMED_ID),
    "ProductIdDataType": (3003, 5224, _NAMED_ID),
    "ProcessingTimesDataType": (
        3005,
        5016,
        "StartTime:UtcTime EndTime:UtcTime AcquisitionDuration?:Duration ProcessingDuration?:Duration",
    ),
    "SystemStateDescriptionDataType": (
        3024,
        5278,
        "State:SystemStateDataType StateDescription?:String",
    ),
    "ResultDataType": (
        3006,
        5018,
        "ResultId:ResultIdDataType HasTransferableDataOnFile?:Boolean IsPartial:Boolean IsSimulated?:Boolean"
        " ResultState:ResultStateDataType MeasId?:MeasIdDataType PartId?:PartIdDataType"
        " ExternalRecipeId?:RecipeIdExternalDataType InternalRecipeId:RecipeIdInternalDataType"
        " ProductId?:ProductIdDataType ExternalConfigurationId?:ConfigurationIdDataType"
        " InternalConfigurationId:ConfigurationIdDataType JobId:JobIdDataType CreationTime:UtcTime"
        " ProcessingTimes?:ProcessingTimesDataType ResultContent?[]:BaseDataType",
    ),
}
_OWN_STRUCTURES = {
    "InspectedRegionDataType": (1, 2, "X:Int32 Y:Int32 Width:Int32 Height:Int32 Area:Int32 Peak:Double"),
    "InspectionDataType": (
        3,
        4,
        "SequenceNumber:UInt32 PartNumber:UInt32 PartId:String Verdict:Int32 Reason:String Score:Double"
        " Threshold:Double Frames:UInt32 DefectiveFrames:UInt32 Source:UInt32 BundleHash:String Time:UtcTime"
        " Regions[]:InspectedRegionDataType",
    ),
}
STATES: Final = {
    "Preoperational": (5028, 1),
    "Halted": (5029, 2),
    "Error": (5030, 3),
    "Operational": (5031, 4),
    "Initialized": (5056, 5),
    "Ready": (5057, 6),
    "SingleExecution": (5058, 7),
    "ContinuousExecution": (5059, 8),
}
"""State → its NodeId in the standard's namespace, and its number."""

_RESULT_EVENT = "ResultId IsPartial ResultState PartId InternalRecipeId InternalConfigurationId JobId CreationTime"


@dataclass(frozen=True)
class Namespaces:
    """Indexes of the namespaces on this server.

    Attributes:
        standard: Of the standard.
        own: Of this project.
    """

    standard: int
    own: int


@dataclass(frozen=True)
class ObjectTypes:
    """NodeIds of types, for instances.

    Attributes:
        vision_system: ``VisionSystemType``.
        state_machine: ``VisionStateMachineType``.
        automatic: ``VisionAutomaticModeStateMachineType``.
        result_management: ``ResultManagementType``.
        recipe_management: ``RecipeManagementType``.
        result_folder: ``ResultFolderType``.
        result: ``ResultType``, of variables.
        inspection_ready: Our subtype of ``ResultReadyEventType``, which also has the inspection itself.
    """

    vision_system: Any
    state_machine: Any
    automatic: Any
    result_management: Any
    recipe_management: Any
    result_folder: Any
    result: Any
    inspection_ready: Any


async def add_types(server: Server, spaces: Namespaces) -> ObjectTypes:
    """Add all types to a server, and make their structures known as ``asyncua.ua.<name>``."""
    await _add_data_types(server, spaces)
    return await _add_object_types(server, spaces)


async def _add_data_types(server: Server, spaces: Namespaces) -> None:
    from asyncua import ua

    ids = {name: ua.NodeId(number) for name, number in _BUILT_IN.items()}
    for name, (number, base) in _ALIASES.items():
        ids[name] = ua.NodeId(number, spaces.standard)
        parent = server.get_node(ua.NodeId(base))
        await parent.add_data_type(ids[name], ua.QualifiedName(name, spaces.standard))
    ids["SystemStateDataType"] = await _add_system_state(server, spaces.standard)
    for space, structures in ((spaces.standard, _STRUCTURES), (spaces.own, _OWN_STRUCTURES)):
        for name, (number, encoding, fields) in structures.items():
            ids[name] = ua.NodeId(number, space)
            await _add_structure(server, name, ids, ua.NodeId(encoding, space), fields)
    await server.load_data_type_definitions()


async def _add_system_state(server: Server, space: int) -> Any:
    from asyncua import ua

    nodeid = ua.NodeId(_SYSTEM_STATE, space)
    node = await server.get_node(ua.NodeId(_ENUMERATION)).add_data_type(
        nodeid, ua.QualifiedName("SystemStateDataType", space)
    )
    fields = [
        ua.EnumField(Name=name, DisplayName=ua.LocalizedText(name), Value=value)
        for value, name in enumerate(_SYSTEM_STATES, 1)
    ]
    await node.write_data_type_definition(ua.EnumDefinition(Fields=fields))
    return nodeid


async def _add_structure(server: Server, name: str, ids: dict[str, Any], encoding: Any, fields: str) -> None:
    from asyncua import ua
    from asyncua.common.manage_nodes import create_encoding

    is_subtype = fields == _BINARY_ID and name != "BinaryIdBaseDataType"
    base = ids["BinaryIdBaseDataType"] if is_subtype else ua.NodeId(_STRUCTURE)
    parent = server.get_node(base)
    node = await parent.add_data_type(ids[name], ua.QualifiedName(name, ids[name].NamespaceIndex))
    await create_encoding(node, encoding, ua.QualifiedName("Default Binary", 0))
    made = [_field(text, ids) for text in fields.split()]
    definition = ua.StructureDefinition(DefaultEncodingId=encoding, BaseDataType=base, Fields=made)
    has_optional = any(field.IsOptional for field in made)
    kinds = ua.StructureType
    definition.StructureType = kinds.StructureWithOptionalFields if has_optional else kinds.Structure
    await node.write_data_type_definition(definition)


def _field(text: str, ids: dict[str, Any]) -> Any:
    from asyncua import ua

    name, _, kind = text.partition(":")
    is_array = name.endswith("[]")
    name = name.removesuffix("[]")
    return ua.StructureField(
        Name=name.removesuffix("?"),
        DataType=ids[kind],
        ValueRank=ua.ValueRank.OneDimension if is_array else ua.ValueRank.Scalar,
        ArrayDimensions=[0] if is_array else [],
        IsOptional=name.endswith("?"),
    )


async def _add_object_types(server: Server, spaces: Namespaces) -> ObjectTypes:
    from asyncua import ua

    async def add(number: int, name: str, base: int) -> Node:
        parent = server.get_node(ua.NodeId(base))
        nodeid, browse_name = ua.NodeId(number, spaces.standard), ua.QualifiedName(name, spaces.standard)
        return await parent.add_object_type(nodeid, browse_name)

    machine = await add(1017, "VisionStateMachineType", _STATE_MACHINE_TYPE)
    automatic = await add(1021, "VisionAutomaticModeStateMachineType", _STATE_MACHINE_TYPE)
    for state, (number, value) in STATES.items():
        parent = machine if value <= STATES["Operational"][1] else automatic
        await _add_state(server, parent, state, ua.NodeId(number, spaces.standard), value)
    ready = await add(1024, "ResultReadyEventType", _BASE_EVENT_TYPE)
    for name in _RESULT_EVENT.split():
        await _add_event_field(ready, name, spaces)
    result = await server.get_node(ua.NodeId(_VARIABLE_TYPE)).add_variable_type(
        ua.NodeId(2002, spaces.standard),
        ua.QualifiedName("ResultType", spaces.standard),
        ua.NodeId(_STRUCTURES["ResultDataType"][0], spaces.standard),
    )
    return ObjectTypes(
        vision_system=(await add(1003, "VisionSystemType", _OBJECT_TYPE)).nodeid,
        state_machine=machine.nodeid,
        automatic=automatic.nodeid,
        result_management=(await add(1007, "ResultManagementType", _OBJECT_TYPE)).nodeid,
        recipe_management=(await add(1004, "RecipeManagementType", _OBJECT_TYPE)).nodeid,
        result_folder=(await add(1016, "ResultFolderType", _FOLDER_TYPE)).nodeid,
        result=result.nodeid,
        inspection_ready=await _add_own_event(ready, spaces),
    )


async def _add_state(server: Server, parent: Node, name: str, nodeid: Any, number: int) -> None:
    from asyncua import ua

    state = await add_node(
        server, parent.nodeid, nodeid, ua.QualifiedName(name, nodeid.NamespaceIndex), ua.NodeId(_STATE_TYPE)
    )
    await state.add_property(
        ua.NodeId(f"{name}.StateNumber", nodeid.NamespaceIndex),
        ua.QualifiedName("StateNumber", 0),
        number,
        ua.VariantType.UInt32,
    )


async def _add_own_event(parent: Node, spaces: Namespaces) -> Any:
    from asyncua import ua

    event = await parent.add_object_type(
        ua.NodeId("InspectionReadyEventType", spaces.own), ua.QualifiedName("InspectionReadyEventType", spaces.own)
    )
    fields = (
        ("SequenceNumber", ua.Variant(0, ua.VariantType.UInt32), ua.NodeId(_BUILT_IN["UInt32"])),
        (
            "Inspection",
            ua.Variant(None, ua.VariantType.ExtensionObject),
            ua.NodeId(_OWN_STRUCTURES["InspectionDataType"][0], spaces.own),
        ),
    )
    for name, value, datatype in fields:
        nodeid = ua.NodeId(f"InspectionReadyEventType.{name}", spaces.own)
        await event.add_property(nodeid, ua.QualifiedName(name, spaces.own), value, datatype=datatype)
    return event.nodeid


async def _add_event_field(parent: Node, name: str, spaces: Namespaces) -> None:
    from asyncua import ua

    kinds = dict(
        text.replace("?", "").replace("[]", "").split(":") for text in _STRUCTURES["ResultDataType"][2].split()
    )
    kind = kinds[name]
    plain = {"Boolean": ua.VariantType.Boolean, "ResultStateDataType": ua.VariantType.Int32}
    variant = plain.get(kind, ua.VariantType.DateTime if kind == "UtcTime" else ua.VariantType.ExtensionObject)
    default = {ua.VariantType.Boolean: False, ua.VariantType.Int32: 0}.get(variant)
    await parent.add_property(
        ua.NodeId(f"ResultReadyEventType.{name}", spaces.standard),
        ua.QualifiedName(name, spaces.standard),
        ua.Variant(default, variant),
        datatype=datatype_of(kind, spaces),
    )


def _number_of(kind: str) -> int:
    if kind == "SystemStateDataType":
        return _SYSTEM_STATE
    return _ALIASES[kind][0] if kind in _ALIASES else _STRUCTURES[kind][0]


def datatype_of(kind: str, spaces: Namespaces) -> Any:
    """NodeId of a data type by its name: a built-in one, one of the standard, or one of ours."""
    from asyncua import ua

    if kind in _BUILT_IN:
        return ua.NodeId(_BUILT_IN[kind])
    if kind in _OWN_STRUCTURES:
        return ua.NodeId(_OWN_STRUCTURES[kind][0], spaces.own)
    return ua.NodeId(_number_of(kind), spaces.standard)


async def add_node(server: Server, parent: Any, nodeid: Any, name: Any, kind: Any, value: Any = None) -> Node:
    """Add an object or a variable of a type.

    Args:
        server: The server.
        parent: NodeId of its parent.
        nodeid: Its NodeId.
        name: Its BrowseName.
        kind: NodeId of its type.
        value: The first value of a variable, with its VariantType, and the NodeId of its data type; None for an object.
    """
    from asyncua import ua

    if value is None:
        attributes: Any = ua.ObjectAttributes(EventNotifier=0)
    else:
        first, datatype = value
        attributes = ua.VariableAttributes(Value=first, DataType=datatype, ValueRank=ua.ValueRank.Scalar)
        attributes.AccessLevel = attributes.UserAccessLevel = ua.AccessLevel.CurrentRead.mask
    attributes.DisplayName = ua.LocalizedText(name.Name)
    item = ua.AddNodesItem(
        ParentNodeId=parent,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.HasComponent),
        RequestedNewNodeId=nodeid,
        BrowseName=name,
        NodeClass=ua.NodeClass.Object if value is None else ua.NodeClass.Variable,
        NodeAttributes=attributes,
        TypeDefinition=kind,
    )
    (added,) = await server.iserver.isession.add_nodes([item])
    added.StatusCode.check()
    return server.get_node(added.AddedNodeId)
