"""Reverse distillation, GNL and FiCo against their authors' code: the same tensors through the same random weights.

    git clone https://github.com/hq-deng/RD4AD; git clone https://github.com/mala-lab/ADShift
    git clone https://github.com/znchen666/FiCo
    python -m benchmarks.official_distillation --rd4ad RD4AD --gnl ADShift --fico FiCo

Needs no torchvision and no photos: the authors' networks are made with random weights at full width, which are carried
over to ours, and all is computed in float64, since rounding alone moves gradients by 1e-3. Prints the largest
difference of each part; the exit code is 4 where one exceeds 1e-4.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_ad.models.distillation.compensation import Compensation, DynamicConv
from edge_ad.models.distillation.distance import CosineMap, level_loss
from edge_ad.models.distillation.fico import StyleFilter
from edge_ad.models.distillation.gnl import consistency
from edge_ad.models.distillation.networks import Bottleneck, ConvNorm, ResidualBlock, Student
from edge_ad.models.feature_matching import ExactMatching

TOLERANCE = 1e-4
_CHANNELS = (256, 512, 1024)
_BLOCKS = {"squeeze": ("conv1", "bn1"), "middle": ("conv2", "bn2"), "expand": ("conv3", "bn3")}


def official_module(folder: Path, name: str) -> ModuleType:
    """A module of the authors, imported from their folder."""
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location(f"{folder.name}_{name}", folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def official_functions(path: Path, **names: Any) -> dict[str, Any]:
    """Functions of a script of theirs, without running the script or importing what it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    scope: dict[str, Any] = {"torch": torch, "np": np, "F": nn.functional, **names}
    exec(compile(tree, str(path), "exec"), scope)
    return scope


def draw_norms(network: nn.Module, seed: int) -> None:
    """Gains, shifts and statistics of batch norms that are not those of the start."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator)


def carry(ours: ConvNorm, conv: nn.Module, norm: nn.Module) -> None:
    """Take over a convolution of theirs and its batch norm."""
    weight = conv.weight
    assert isinstance(weight, Tensor)
    if isinstance(conv, nn.ConvTranspose2d):  # (inputs, outputs, 2, 2)
        weight = weight.permute(1, 2, 3, 0).flatten(0, 2)[..., None, None]
    ours.conv.weight.data.copy_(weight)
    ours.norm.load_state_dict(norm.state_dict())


def carry_block(ours: ResidualBlock, theirs: Any) -> None:
    """Take over a residual block."""
    for name, (conv, norm) in _BLOCKS.items():
        part = getattr(ours, name)
        carry(part, getattr(theirs, conv), getattr(theirs, norm))
    shortcut = getattr(theirs, "downsample", None) or getattr(theirs, "upsample", None)
    if shortcut is not None:
        assert isinstance(ours.shortcut, ConvNorm)
        carry(ours.shortcut, shortcut[0], shortcut[1])


def our_bottleneck(theirs: Any) -> Bottleneck:
    """Ours with the weights of theirs."""
    ours = Bottleneck(_CHANNELS, 3)
    for part, (conv, norm) in zip(
        (ours.fine[0], ours.fine[1], ours.middle), (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")), strict=True
    ):
        assert isinstance(part, ConvNorm)
        carry(part, getattr(theirs, conv), getattr(theirs, norm))
    for own, block in zip(ours.blocks, theirs.bn_layer, strict=True):
        assert isinstance(own, ResidualBlock)
        carry_block(own, block)
    return ours


def our_student(theirs: Any) -> Student:
    """Ours with the weights of theirs."""
    ours = Student(2 * _CHANNELS[-1], _CHANNELS, (3, 4, 6), activated=True)
    for stage, layer in zip(ours.stages, (theirs.layer1, theirs.layer2, theirs.layer3), strict=True):
        assert isinstance(stage, nn.Sequential)
        for own, block in zip(stage, layer, strict=True):
            assert isinstance(own, ResidualBlock)
            carry_block(own, block)
    return ours


def random_levels(count: int, seed: int, side: int = 16) -> list[Tensor]:
    """Levels as a ReLU leaves them, (count, C, side, side) and coarser."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(count, channels, side >> index, side >> index) for index, channels in enumerate(_CHANNELS)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).relu() for shape in shapes]


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    found, expected = found.detach(), expected.detach()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


def compare_rd4ad(folder: Path) -> Iterator[tuple[str, float]]:
    """Bottleneck and student while they train and after, loss with its gradient, and map."""
    from scipy.ndimage import gaussian_filter

    torch.manual_seed(0)
    their_bottleneck = official_module(folder, "resnet").wide_resnet50_2(pretrained=False)[1]
    their_student = official_module(folder, "de_resnet").de_wide_resnet50_2(pretrained=False)
    for seed, network in enumerate((their_bottleneck, their_student)):
        draw_norms(network, seed)
    bottleneck, student = our_bottleneck(their_bottleneck), our_student(their_student)
    networks = tuple(network.double() for network in (their_bottleneck, their_student, bottleneck, student))
    loss = official_functions(folder / "main.py")["loss_fucntion"]
    levels = random_levels(2, 1)
    for training in (True, False):
        words = "training" if training else "evaluation"
        for network in networks:
            network.train(training).zero_grad()
        theirs, ours = their_bottleneck(levels), bottleneck(levels)
        yield f"bottleneck, {words}", relative(ours, theirs)
        their_levels, our_levels = their_student(theirs), student(ours)
        for stride, found, expected in zip((4, 8, 16), our_levels, their_levels, strict=True):
            yield f"student at stride {stride}, {words}", relative(found, expected)
        their_loss, our_loss = loss(levels, their_levels), level_loss(levels, our_levels)
        yield f"loss, {words}", relative(our_loss, their_loss)
        their_loss.backward()
        our_loss.backward()  # type: ignore[no-untyped-call]
        ours_first: Any = bottleneck.fine[0]
        gradients = (ours_first.conv.weight.grad, their_bottleneck.conv1.weight.grad)
        yield f"gradient at the first convolution, {words}", relative(*gradients)
    maps = official_functions(folder / "test.py")["cal_anomaly_map"]
    their_map = gaussian_filter(
        maps([x[:1] for x in levels], [x[:1] for x in their_levels], 64, amap_mode="a")[0], sigma=4
    )
    our_map = CosineMap((64, 64), (4, 8, 16), 4.0).double()(levels, our_levels)[0, 0]
    yield "map", relative(our_map, torch.from_numpy(np.asarray(their_map, np.float64)))


def compare_gnl(folder: Path) -> Iterator[tuple[str, float]]:
    """The three terms of the loss, and exact matching with ties."""
    theirs = official_functions(folder / "train_mvtec_DINL.py")
    photo, *views = (random_levels(3, seed) for seed in range(3))
    codes = [levels[2] for levels in (photo, *views)]
    pairs = [([codes[0]], [code]) for code in codes[1:]]
    yield "bottleneck loss", relative(consistency(codes[0], codes[1:]), sum(theirs["loss_fucntion"](*x) for x in pairs))
    finest = sum(theirs["loss_fucntion_last"](photo, view) for view in views)
    yield "last decoder level", relative(consistency(photo[0], [view[0] for view in views]), finest)
    yield "levels", relative(level_loss(photo, views[0]), theirs["loss_fucntion"](photo, views[0]))
    match = official_functions(folder / "resnet_TTA.py")["EFDM_test"]
    for index, stride in enumerate((4, 8)):
        reference, level = random_levels(1, 7)[index], random_levels(1, 8)[index]  # half of the values are tied at 0
        for share in (0.5, 1.0):
            matching = ExactMatching(level.shape[1], level[0, 0].numel(), share=share).double()
            matching.fit([reference])
            # Their lamda is the share of the picture; their sort leaves the order of ties open, and half of it is tied.
            found, expected = matching(level).flatten(2), match(level, reference, lamda=1 - share).flatten(2)
            ordered = [values.sort(2).values for values in (found, expected)]
            yield f"matching at stride {stride}, α {share}, sorted", relative(*ordered)
            apart = torch.where(level.flatten(2) > 0, (found - expected).abs(), 0)
            yield f"matching at stride {stride}, α {share}, where nothing is tied", float(apart.max())


def compare_fico(folder: Path) -> Iterator[tuple[str, float]]:
    """Compensations, filter, decoder with its uncompensated chain, and the terms of the loss."""
    torch.manual_seed(0)
    theirs = official_module(folder, "de_resnet_new").de_wide_resnet50_2(pretrained=False)
    draw_norms(theirs, 0)
    for module in theirs.modules():
        if type(module).__name__ == "Dynamic_conv2d":
            nn.init.normal_(module.bias)
            nn.init.normal_(module.attention.fc2.weight, std=20.0)  # so that kernels count differently
    student, style_filter = our_student(theirs), StyleFilter(_CHANNELS)
    carry(style_filter.middle, theirs.transform.conv1, theirs.transform.bn1)
    carry(style_filter.coarse, theirs.transform.conv2, theirs.transform.bn2)
    projections = (theirs.attention.proj_c, theirs.attention.proj_b, theirs.attention.proj_a)
    compensations = [our_compensation(c, p) for c, p in zip(_CHANNELS, projections, strict=True)]
    for network in (theirs, student, style_filter, *compensations):
        network.double().eval()
    terms = official_functions(folder / "train_mvtec_fico.py")
    code = torch.randn(2, 2 * _CHANNELS[-1], 2, 2, dtype=torch.float64).relu()
    with torch.no_grad():
        whole, plain, *targets = theirs(code)
        back = student(code)
        lacking = [compensate(level) for compensate, level in zip(compensations, back, strict=True)]
        for stride, *pairs in zip((4, 8, 16), back, plain, lacking, whole, strict=True):
            yield f"student at stride {stride}", relative(pairs[0], pairs[1])
            yield f"compensated level at stride {stride}", relative(pairs[0] + pairs[2], pairs[3])
        yield "compensation at stride 8", relative(lacking[1], targets[1][1])
        yield "filter", relative(style_filter.loss(lacking), terms["loss_fucntion_l2"](*targets))


def our_compensation(channels: int, theirs: Any) -> Compensation:
    """Ours with the weights of theirs."""
    ours = Compensation(channels)
    dynamic = [module for module in theirs.proj if hasattr(module, "attention")]
    for conv, other in zip(ours.convs, dynamic, strict=True):
        assert isinstance(conv, DynamicConv)
        assert conv.kernels.bias is not None
        conv.kernels.weight.data.copy_(other.weight.flatten(0, 1))
        conv.kernels.bias.data.copy_(other.bias.flatten())
        conv.attention[0].load_state_dict(other.attention.fc1.state_dict())
        conv.attention[2].load_state_dict(other.attention.fc2.state_dict())
    return ours


COMPARISONS: Mapping[str, Any] = {"rd4ad": compare_rd4ad, "gnl": compare_gnl, "fico": compare_fico}


def main() -> int:
    """Compare with every folder that is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in COMPARISONS:
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    worst = 0.0
    for name, compare in COMPARISONS.items():
        folder = getattr(arguments, name)
        for part, difference in compare(folder) if folder else ():
            worst = max(worst, difference)
            print(f"{name}\t{part}\t{difference:.1e}", flush=True)
    return 0 if worst <= TOLERANCE else 4


if __name__ == "__main__":
    sys.exit(main())
