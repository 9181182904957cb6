"""Results as values of OPC UA."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from edge_ad.plc.results import PartResult, VerdictCode
from edge_ad.streaming.frame import RecipeMark

__all__ = ["inspection_of", "recipe_id_of", "result_state_of", "standard_result_of", "utc"]

_COMPLETED, _FAILED = 1, 4  # ResultStateDataType


def inspection_of(result: PartResult) -> Any:
    """A result as our ``InspectionDataType``."""
    from asyncua import ua

    regions = [
        ua.InspectedRegionDataType(
            X=box["x"], Y=box["y"], Width=box["width"], Height=box["height"], Area=box["area"], Peak=box["peak"]
        )
        for box in result.regions
    ]
    return ua.InspectionDataType(
        SequenceNumber=result.sequence,
        PartNumber=result.part,
        PartId=result.part_id,
        Verdict=int(result.code),
        Reason=result.reason,
        Score=result.score,
        Threshold=result.threshold,
        Frames=result.frames,
        DefectiveFrames=result.defective,
        Source=result.source,
        BundleHash=result.bundle,
        Time=utc(result.at_unix),
        Regions=regions,
    )


def standard_result_of(result: PartResult, run: str) -> Any:
    """A result as the standard's ``ResultDataType``; its content is our ``InspectionDataType``.

    Args:
        result: The result.
        run: Name of the run of the stream; with the sequence number it names the result.
    """
    from asyncua import ua

    content = ua.Variant(inspection_of(result), ua.VariantType.ExtensionObject)
    bundle = bytes.fromhex(result.bundle) if _is_hex(result.bundle) else None
    configuration = ua.ConfigurationIdDataType(Id=result.bundle, Hash=bundle, HashAlgorithm="SHA-256")
    return ua.ResultDataType(
        ResultId=ua.ResultIdDataType(Id=f"{run}-{result.sequence}"),
        IsPartial=False,
        IsSimulated=False,
        ResultState=result_state_of(result),
        PartId=ua.PartIdDataType(Id=result.part_id or str(result.part)),
        InternalRecipeId=recipe_id_of(result.recipe),
        InternalConfigurationId=configuration,
        JobId=ua.JobIdDataType(Id=run),
        CreationTime=utc(result.at_unix),
        ResultContent=[content],
    )


def result_state_of(result: PartResult) -> int:
    """The standard's ``ResultStateDataType``: completed, or failed where the part could not be inspected."""
    return _FAILED if result.code is VerdictCode.NOT_INSPECTED else _COMPLETED


def recipe_id_of(mark: RecipeMark) -> Any:
    """A recipe as the standard's ``RecipeIdInternalDataType``."""
    from asyncua import ua

    content = bytes.fromhex(mark.hash) if _is_hex(mark.hash) else None
    return ua.RecipeIdInternalDataType(Id=mark.name, Hash=content, HashAlgorithm="SHA-256")


def utc(at_unix: float) -> datetime:
    """Seconds since the epoch as a time."""
    return datetime.fromtimestamp(at_unix, timezone.utc)


def _is_hex(text: str) -> bool:
    return len(text) % 2 == 0 and len(text) > 0 and all(sign in "0123456789abcdefABCDEF" for sign in text)
