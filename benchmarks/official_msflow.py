"""MSFlow against its authors' code: the same tensors through the same random weights.

    git clone https://github.com/cool-xuan/msflow
    pip download --no-deps --no-binary :all: FrEIA==0.2 && tar xf FrEIA-0.2.tar.gz
    python -m benchmarks.official_msflow --msflow msflow --freia FrEIA-0.2

Needs no torchvision and no photos; all is computed in float64. Prints the largest difference of each part; the exit
code is 4 where one exceeds 1e-4.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.official_distillation import TOLERANCE, official_functions, relative
from edge_ad.models.msflow.coupling import Coupling
from edge_ad.models.msflow.flows import Latents, MultiScaleFlow, negative_log_likelihood
from edge_ad.models.msflow.fusion import CrossScale
from edge_ad.models.msflow.likelihood import LikelihoodMap, log_likelihood

_CHANNELS, _GRIDS, _BLOCKS, _CONDITION, _CLAMP = (24, 40, 112), ((16, 24), (8, 12), (4, 6)), (2, 3, 4), 16, 1.9
_SIZE_HW = (128, 192)


def official_flows(msflow: Path, freia: Path, blocks: Sequence[int], channels: Sequence[int], condition: int) -> Any:
    """Their parallel flows and their fusion flow, and what makes their position code."""
    sys.path.insert(0, str(freia))
    package = ModuleType("models")  # theirs imports torchvision
    package.__path__ = [str(msflow / "models")]
    sys.modules["models"] = package
    try:
        from models.flow_models import build_msflow_model  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(freia))
        del sys.modules["models"]
    settings = SimpleNamespace(c_conds=[condition] * 3, parallel_blocks=list(blocks), clamp_alpha=_CLAMP)
    parallel, fusion = build_msflow_model(settings, list(channels))
    code = official_functions(msflow / "utils.py", math=math)["positionalencoding2d"]
    return [flow.double() for flow in parallel], fusion.double(), code


@torch.no_grad()
def give(ours: MultiScaleFlow, parallel: Sequence[Any], fusion: Any) -> None:
    """Give their networks the weights and permutations of ours."""
    for chain, flow in zip(ours.chains(), parallel, strict=True):
        for block, theirs in zip(chain, flow.module_list, strict=True):
            _give_block(block, theirs)
    shuffles = {len(module.perm): module for module in fusion.module_list if hasattr(module, "perm")}
    for index, chain in enumerate(ours.chains()):
        order = ours.fusion.get_buffer(f"order_{index}")
        shuffles[chain[0].scale.numel()].perm.copy_(order)
    coupling = next(module for module in fusion.module_list if hasattr(module, "subnet_1"))
    _give_subnet(ours.fusion.of_first, coupling.subnet_1)
    _give_subnet(ours.fusion.of_second, coupling.subnet_2)


def _give_block(block: Coupling, theirs: Any) -> None:
    pairs = ((block.first, theirs.subnet.conv1), (block.norm, theirs.subnet.ln), (block.second, theirs.subnet.conv2))
    for own, other in pairs:
        other.load_state_dict(own.state_dict())
    theirs.global_scale.copy_(block.scale)
    theirs.global_offset.copy_(block.offset)
    theirs.w_perm.copy_(torch.eye(block.scale.numel())[block.get_buffer("order")][:, :, None, None])


def _give_subnet(subnet: CrossScale, theirs: Any) -> None:
    crossed = theirs.cross_convs
    pairs: list[tuple[nn.Module, Any]] = [(subnet.first, crossed.conv1), (subnet.norm, crossed.norm)]
    pairs += [(subnet.second, crossed.conv2), (subnet.factors, theirs.conv_s), (subnet.shifts, theirs.conv_t)]
    for own, other in pairs:
        other.load_state_dict(own.state_dict())


def official_latents(
    parallel: Sequence[Any], fusion: Any, code: Any, levels: Sequence[Tensor], condition: int
) -> Latents:
    """Z and log-determinant as their training makes them."""
    scales, total = [], torch.zeros(len(levels[0]), dtype=torch.float64)
    for flow, level in zip(parallel, levels, strict=True):
        position = code(condition, *level.shape[2:]).double()[None].repeat(len(level), 1, 1, 1)
        z, log_determinant = flow(level, [position])
        scales.append(z)
        total = total + log_determinant
    fused, log_determinant = fusion(scales)
    return Latents(list(fused), total + log_determinant)


def compare(msflow: Path, freia: Path) -> Iterator[tuple[str, float]]:
    """Position code, z, log-determinant, loss, gradient, the way back, map and score."""
    torch.manual_seed(0)
    ours = MultiScaleFlow(_CHANNELS, _GRIDS, blocks=_BLOCKS, condition=_CONDITION, clamp=_CLAMP).double()
    for parameter in ours.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    parallel, fusion, code = official_flows(msflow, freia, _BLOCKS, _CHANNELS, _CONDITION)
    give(ours, parallel, fusion)
    levels = [torch.randn(3, each, *grid, dtype=torch.float64) for each, grid in zip(_CHANNELS, _GRIDS, strict=True)]
    for index, grid in enumerate(_GRIDS):
        yield f"position code of scale {index}", relative(ours.get_buffer(f"code_{index}")[0], code(_CONDITION, *grid))
    expected, found = official_latents(parallel, fusion, code, levels, _CONDITION), ours(levels)
    for index, pair in enumerate(zip(found.scales, expected.scales, strict=True)):
        yield f"z of scale {index}", relative(*pair)
    yield "log-determinant", relative(found.log_determinant, expected.log_determinant)
    losses = negative_log_likelihood(found), negative_log_likelihood(expected)
    yield "loss", relative(*losses)
    kernels = ours.chains()[2][0].first.weight, parallel[2].module_list[0].subnet.conv1.weight
    yield "gradient", relative(*(torch.autograd.grad(*pair)[0] for pair in zip(losses, kernels, strict=True)))
    for index, pair in enumerate(zip(ours.inverse(found.scales), levels, strict=True)):
        yield f"way back to scale {index}", relative(*pair)
    yield from compare_maps(msflow, [z.detach() / 8 for z in found.scales])


def compare_maps(msflow: Path, scales: Sequence[Tensor]) -> Iterator[tuple[str, float]]:
    """Map and score of z, as published: of each picture's own likeliest place, and not smoothed."""
    process = official_functions(msflow / "post_process.py", np=np, F=F, print=lambda *words: None)["post_process"]
    settings = SimpleNamespace(input_size=_SIZE_HW, top_k=0.03)
    outputs = [[-0.5 * z.square().mean(1)] for z in scales]
    score, added, _ = process(settings, outputs, outputs)  # it takes the first only to count scales
    likelihood = LikelihoodMap(_SIZE_HW, (8, 16, 32), sigma=0.1, reference="picture", score="product")
    likelihood = likelihood.double()
    found = likelihood([log_likelihood(z) for z in scales])
    yield "map", relative(found.anomaly_map[:, 0], torch.from_numpy(added))
    yield "score", relative(found.score, torch.from_numpy(score))


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--msflow", type=Path, required=True)
    parser.add_argument("--freia", type=Path, required=True)
    arguments = parser.parse_args()
    worst = 0.0
    for part, difference in compare(arguments.msflow, arguments.freia):
        worst = max(worst, difference)
        print(f"{part}\t{difference:.1e}", flush=True)
    return 0 if worst <= TOLERANCE else 4


if __name__ == "__main__":
    sys.exit(main())
