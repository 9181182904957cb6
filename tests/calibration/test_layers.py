import numpy as np
from onnx import ModelProto, helper

from edge_ad.calibration.layers import FloatModules, first_blocks, float32_parts, float_reasons, int8_candidates
from edge_ad.models import create_detector
from tests.export.graphs import graph

MODULES = FloatModules.of(create_detector("fader", {"size": 64, "width": "pico"}))


def chain(*layers: tuple[str, int]) -> ModelProto:
    """Convolutions of 4 channels with the given names and groups, one after the other."""
    names = [name for name, _ in layers]
    nodes = [
        helper.make_node("Conv", [before, f"{name}.w"], [name], name, group=group)
        for (name, group), before in zip(layers, ["x", *names], strict=False)
    ]
    weights = {f"{name}.w": np.zeros((4, 4 // group, 1, 1), np.float32) for name, group in layers}
    return graph(nodes, {"x": [1, 4, 2, 2]}, {names[-1]: [1, 4, 2, 2]}, weights)


def test_the_networks_of_a_detector_become_int8_in_the_order_of_the_graph() -> None:
    names = [
        "patch_features.network.stages.3.1.expand",
        "patch_features.network.stages.4.0.project",
        "unet.encoder.0.0",
        "unet.decoder.1.4",
        "unet.head",
    ]
    model = chain(*((name, 1) for name in names))
    assert int8_candidates(model, MODULES) == names
    assert float_reasons(model, MODULES) == {}
    assert [MODULES.is_backbone(name) for name in names] == [True, True, False, False, False]


def test_sensitive_layers_stay_in_float_and_each_has_its_reason() -> None:
    model = chain(
        ("patch_features.network.stem", 1),
        ("patch_features.network.stages.0.0.project", 1),
        ("patch_features.network.stages.1.0.expand", 1),
        ("patch_features.network.stages.2.0.expand", 1),
        ("patch_features.network.stages.2.0.project", 1),
        ("patch_features.network.stages.3.0.depthwise", 4),
        ("patch_features.network.stages.4.0.expand", 1),
        ("mask_source.vit.encoder.0", 1),
        ("predictor.first", 1),
        ("msgms/Conv", 1),
        ("mask_source.distance/Conv", 1),
        ("unet/Conv", 1),
    )
    assert int8_candidates(model, MODULES) == []
    reasons = float_reasons(model, MODULES)
    assert list(reasons) == [node.name for node in model.graph.node]
    starts = [reason.split()[0] for reason in reasons.values()]
    assert starts == [*["start"] * 4, "first", "depthwise:", "first", *["judges"] * 4, "an"]
    assert first_blocks(model, MODULES) == [f"patch_features.network.stages.{name}" for name in ("2.0.project", "4.0.expand")]


def test_bfloat16_leaves_the_start_of_the_backbone_alone_and_then_what_judges() -> None:
    model = chain(
        ("Cast", 1),
        ("patch_features.network.stem", 1),
        ("patch_features.network.stages.0.0.project", 1),
        ("patch_features.network.stages.1.0.expand", 1),
        ("patch_features.network.stages.1.1.expand", 1),
        ("patch_features.network.stages.2.0.project", 1),
        ("mask_source/Conv", 1),
        ("unet.encoder.0.0", 1),
        ("detector/Resize", 1),
    )
    names = [node.name for node in model.graph.node]
    least, most = float32_parts(model, MODULES)
    assert least == names[:3]  # what leads to the start is part of it
    assert most == [*names[:5], "mask_source", "detector"]


def test_a_graph_without_backbone_and_judges_is_in_bfloat16_altogether() -> None:
    assert float32_parts(chain(("unet.encoder.0.0", 1), ("unet.head", 1)), MODULES) == [[]]
