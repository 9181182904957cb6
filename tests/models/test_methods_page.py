"""The methods page names every parameter with the default it has."""

import re
from pathlib import Path

import pytest

from edge_ad.models.base import MethodParameters
from edge_ad.models.cutpaste import CutPasteParameters
from edge_ad.models.discriminators import (
    BoundaryShufflingParameters,
    PbasParameters,
    SimpleNetParameters,
    SuperSimpleNetParameters,
)
from edge_ad.models.discriminators.centred import CentredParameters
from edge_ad.models.discriminators.discriminator import DiscriminatorParameters
from edge_ad.models.discriminators.metric import DefectParameters
from edge_ad.models.distillation import (
    DistillationParameters,
    FicoParameters,
    GnlParameters,
    ReverseDistillationParameters,
)
from edge_ad.models.draem import DraemParameters
from edge_ad.models.draem.simulation import SimulationParameters
from edge_ad.models.dsr import DsrParameters
from edge_ad.models.ear import EarParameters
from edge_ad.models.fader import FaderParameters
from edge_ad.models.feature_detector import FeatureParameters
from edge_ad.models.mask_sources import MaskSourceParameters
from edge_ad.models.msflow import MsFlowParameters
from edge_ad.models.patch_gaussian import PatchGaussianParameters
from edge_ad.models.patch_metric import PatchMetricParameters
from edge_ad.models.patch_nearest import PatchNearestParameters
from edge_ad.models.robustness import RobustnessParameters
from edge_ad.models.winclip import WinClipParameters

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "methods.md"
PARENTS: list[tuple[str, type[MethodParameters], type[MethodParameters] | None]] = [
    ("Parameters of every method", MethodParameters, None),
    ("Parameters against a shift", RobustnessParameters, MethodParameters),
    ("Parameters of every mask source", MaskSourceParameters, RobustnessParameters),
    ("`ear`", EarParameters, MaskSourceParameters),
    ("`fader`", FaderParameters, EarParameters),
    ("Parameters of every detector on patch features", FeatureParameters, RobustnessParameters),
    ("`patch-gaussian`", PatchGaussianParameters, FeatureParameters),
    ("`patch-nearest`", PatchNearestParameters, FeatureParameters),
    ("Parameters of every metric learned from pseudo-defects", DefectParameters, FeatureParameters),
    ("`patch-metric`", PatchMetricParameters, DefectParameters),
    ("Parameters of every learned boundary", DiscriminatorParameters, DefectParameters),
    ("`simplenet`", SimpleNetParameters, DiscriminatorParameters),
    ("`supersimplenet`", SuperSimpleNetParameters, DiscriminatorParameters),
    ("Parameters of a boundary around centres", CentredParameters, DiscriminatorParameters),
    ("`pbas`", PbasParameters, CentredParameters),
    ("`boundary-shuffling`", BoundaryShufflingParameters, CentredParameters),
    ("Parameters of what is trained on simulated defects", SimulationParameters, MethodParameters),
    ("`draem`", DraemParameters, SimulationParameters),
    ("`dsr`", DsrParameters, SimulationParameters),
    ("`cutpaste`", CutPasteParameters, FeatureParameters),
    ("Parameters of every student of a frozen teacher", DistillationParameters, MethodParameters),
    ("`reverse-distillation`", ReverseDistillationParameters, DistillationParameters),
    ("`gnl`", GnlParameters, DistillationParameters),
    ("`fico`", FicoParameters, GnlParameters),
    ("`msflow`", MsFlowParameters, MethodParameters),
    ("`winclip`", WinClipParameters, MethodParameters),
]


@pytest.mark.parametrize(("heading", "parameters", "parent"), PARENTS, ids=[heading for heading, *_ in PARENTS])
def test_every_parameter_is_listed_with_its_default(
    heading: str, parameters: type[MethodParameters], parent: type[MethodParameters] | None
) -> None:
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    (section,) = (section for section in sections if section.startswith(heading))
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, re.MULTILINE))
    own = [name for name in parameters.model_fields if parent is None or name not in parent.model_fields]
    assert list(listed) == own
    for name in own:
        default = parameters.model_fields[name].default
        assert listed[name] == ("none" if default is None else str(default)), name
