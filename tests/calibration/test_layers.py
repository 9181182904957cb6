import numpy as np
from onnx import ModelProto, helper

from edge_ad.calibration.layers import BACKBONE, layer_groups
from tests.export.graphs import graph


def chain(*layers: tuple[str, int]) -> ModelProto:
    """Convolutions of 4 channels with the given names and groups, one after the other."""
    names = [name for name, _ in layers]
    nodes = [
        helper.make_node("Conv", [before, f"{name}.w"], [name], name, group=group)
        for (name, group), before in zip(layers, ["x", *names], strict=False)
    ]
    weights = {f"{name}.w": np.zeros((4, 4 // group, 1, 1), np.float32) for name, group in layers}
    return graph(nodes, {"x": [1, 4, 2, 2]}, {names[-1]: [1, 4, 2, 2]}, weights)


def test_layers_are_grouped_by_block_and_the_backbone_is_one_group() -> None:
    model = chain(
        ("patch_features.network.stages.2.0.expand", 1),
        ("patch_features.network.stages.4.1.project", 1),
        ("unet.encoder.0.0", 1),
        ("unet.encoder.0.3", 1),
        ("unet.decoder.1.4", 1),
        ("unet.head", 1),
    )
    assert {group.name: len(group.layers) for group in layer_groups(model)} == {
        BACKBONE: 2,
        "unet.encoder.0": 2,
        "unet.decoder.1": 1,
        "unet.head": 1,
    }


def test_sensitive_layers_stay_in_float() -> None:
    model = chain(
        ("patch_features.network.stem", 1),
        ("patch_features.network.stages.0.0.project", 1),
        ("patch_features.network.stages.1.1.expand", 1),
        ("patch_features.network.stages.3.0.depthwise", 4),
        ("mask_source.vit.encoder.0", 1),
        ("predictor.first", 1),
        ("msgms/Conv", 1),
        ("mask_source.distance/Conv", 1),
    )
    assert layer_groups(model) == []
