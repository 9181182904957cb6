"""Names of the methods, known without importing one: torch takes seconds."""

from __future__ import annotations

from edge_ad.registry import Registry

__all__ = ["DEFAULT_METHOD", "METHODS", "SPEEDS"]

SPEEDS = ("fast", "balanced", "best")
"""What a frame may cost, the cheapest first; a method's parameters say what each stands for."""

DEFAULT_METHOD = "patch-gaussian"
"""The method that measured best over four products (docs/results/default_method.md)."""

METHODS = Registry(
    "edge_ad.methods",
    {
        "fader": "edge_ad.models.fader:Fader",
        "ear": "edge_ad.models.ear:Ear",
        "patch-gaussian": "edge_ad.models.patch_gaussian:PatchGaussian",
        "patch-nearest": "edge_ad.models.patch_nearest:PatchNearest",
        "patch-metric": "edge_ad.models.patch_metric:PatchMetric",
        "simplenet": "edge_ad.models.discriminators:SimpleNet",
        "supersimplenet": "edge_ad.models.discriminators:SuperSimpleNet",
        "pbas": "edge_ad.models.discriminators:Pbas",
        "boundary-shuffling": "edge_ad.models.discriminators:BoundaryShuffling",
        "draem": "edge_ad.models.draem:Draem",
        "dsr": "edge_ad.models.dsr:Dsr",
        "cutpaste": "edge_ad.models.cutpaste:CutPaste",
        "reverse-distillation": "edge_ad.models.distillation:ReverseDistillation",
        "gnl": "edge_ad.models.distillation:Gnl",
        "fico": "edge_ad.models.distillation:Fico",
        "msflow": "edge_ad.models.msflow:MsFlow",
        "winclip": "edge_ad.models.winclip:WinClip",
    },
)
"""Method → its class, imported when it is asked for."""
