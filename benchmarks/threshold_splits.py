"""False alarms on photos that nobody has seen, by block splits of each product: thresholds by chance and by blocks.

All good photos of a product, those of its test set too, are sorted by name, turned by a random number of places, and
cut into six blocks; each block once is the line's next photos, and the other five are what a user has. Two rules set
the threshold there: ``chance`` (70 % fitted on; 15 % of the photos, drawn by chance, set it, as in runs of before) and
``blocks`` (one detector for each block, all photos set it, near-duplicates count once; the deployed detector leaves
out the last block). Nothing here is trained for use: test photos are pooled to measure a rule, not a model. A
measurement that was stopped goes on where it was.

The detector is patch-gaussian at 128 pixels, with a covariance for each position (rank=16, block=1). So that 200
splits are quick, its means and directions alone are fitted anew: features are whitened once by the covariance of all
patches of the product (152 × 152 values of 20,000 patches or more), and the directions come from subspace iteration
instead of a whole decomposition.

    python -m benchmarks.threshold_splits --data DIR --turns 34 --out threshold_splits.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from itertools import combinations, pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.data.blocks import natural_order
from edge_ad.data.near_duplicates import near_duplicates
from edge_ad.data.products import open_product
from edge_ad.evaluation.cross_fitted_threshold import fit_cross_fitted_threshold, stated_rate
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.images import read_resized
from edge_ad.models.gaussian import PositionGaussian
from edge_ad.models.patch_gaussian import PatchGaussian, PatchGaussianParameters
from edge_ad.training.feature_cache import compute_features

PRODUCTS = ("metal_plate", "ball_screw", "magnetic_tile", "screw")
RATES = (0.01, 0.02, 0.05)
BLOCKS = 6
_SIZE = 128
_OVERSAMPLED = 8
_ITERATIONS = 2


class Photos(NamedTuple):
    """Whitened features by position, (P, N, C), of good and defective photos; near-duplicates' group of each good."""

    good: Tensor
    defective: Tensor
    groups: NDArray[np.int64]


class Scored(NamedTuple):
    """Scores by a detector that has not seen two blocks: of the photos of either block, and of defective ones."""

    blocks: dict[int, NDArray[np.float64]]
    defective: NDArray[np.float64]


class WhitenedGaussian(nn.Module):
    """``PositionGaussian`` on features that are whitened already, (P, N, C).

    Args:
        grid_hw: Height and width of the feature map.
        rank: Directions kept per position.
        shrinkage: k in (0, 1).
    """

    def __init__(self, grid_hw: tuple[int, int], rank: int, shrinkage: float) -> None:
        super().__init__()
        self.grid_hw, self.rank, self.shrinkage = grid_hw, rank, shrinkage
        self.mean = self.directions = torch.empty(0)

    def fit(self, features: Tensor) -> None:
        """Fit means, and the largest directions by subspace iteration from random ones."""
        self.mean = features.mean(1, keepdim=True)
        centred = features - self.mean
        count, channels = centred.shape[1:]
        width = min(self.rank + _OVERSAMPLED, count - 1, channels)
        basis = torch.randn(channels, width, generator=torch.Generator().manual_seed(0)).expand(len(centred), -1, -1)
        for _ in range(_ITERATIONS):
            basis = _orthonormal(centred.transpose(1, 2) @ (centred @ basis))
        along = centred @ basis
        values, inside = torch.linalg.eigh(along.transpose(1, 2) @ along / (count - 1))
        kept = min(self.rank, width)
        values = values[:, -kept:].clamp_min(0)
        gain = values / (values + self.shrinkage / (1 - self.shrinkage))
        self.directions = basis @ inside[..., -kept:] * gain[:, None].sqrt()

    def forward(self, features: Tensor) -> Tensor:
        """(P, N, C) → distances (N, 1, h, w)."""
        centred = features - self.mean
        squared = (centred.square().sum(2) - (centred @ self.directions).square().sum(2)) / self.shrinkage
        return squared.clamp_min(0).sqrt().T.reshape(-1, 1, *self.grid_hw)


def load(root: Path, detector: PatchGaussian) -> Photos:
    """Features of a product's photos, the good ones sorted by name."""
    product = open_product(root)
    tested = [sample.path for sample in product.test if not sample.is_defective]
    good = sorted([*product.good, *tested], key=lambda path: natural_order(Path(path.name)))
    bad = [sample.path for sample in product.test if sample.is_defective]
    read = [compute_features(detector.patch_features, read_resized(paths, (_SIZE, _SIZE))) for paths in (good, bad)]
    return whitened(read[0], read[1], near_duplicates(good))


@torch.no_grad()
def whitened(good: Tensor, defective: Tensor, groups: NDArray[np.int64]) -> Photos:
    """Photos of features (N, C, h, w), whitened by the covariance that all positions of the good ones share."""
    gaussian = PositionGaussian(good.shape[1], (good.shape[2], good.shape[3]), rank=1)
    gaussian.fit(good)
    matrix = gaussian.get_buffer("whiten")[:, :, 0, 0].T
    parts = (part.flatten(2).permute(2, 0, 1) @ matrix for part in (good, defective))
    return Photos(next(parts).contiguous(), next(parts).contiguous(), groups)


def turned_blocks(groups: NDArray[np.int64], turn: int) -> list[NDArray[np.intp]]:
    """Rows of each block: as many groups in each, from the group ``turn`` on, round the end."""
    numbers = np.roll(np.arange(groups.max() + 1), -turn)
    edges = np.linspace(0, len(numbers), BLOCKS + 1).round().astype(int)
    return [np.flatnonzero(np.isin(groups, numbers[start:end])) for start, end in pairwise(edges)]


def _orthonormal(columns: Tensor) -> Tensor:
    """Columns (P, C, K) made orthonormal by a Cholesky decomposition, which is far quicker in a batch than QR."""
    inner = (columns.transpose(1, 2) @ columns).double()
    scale = inner.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    lower = torch.linalg.cholesky(inner + 1e-9 * scale * torch.eye(inner.shape[1], dtype=inner.dtype))
    solved: Tensor = torch.linalg.solve_triangular(lower, columns.double().transpose(1, 2), upper=False)
    return solved.transpose(1, 2).float()


@torch.inference_mode()
def scores(detector: PatchGaussian, features: Tensor) -> NDArray[np.float64]:
    """Scores (N,) of features (P, N, C), as ``score_features``: upsampling and smoothing are one matrix per axis."""
    along = _along_axis(detector)
    maps = along @ detector.score_patches(features)[:, 0] @ along.T
    return maps.amax((1, 2)).double().numpy()


def _along_axis(detector: PatchGaussian) -> Tensor:
    """(size, side): what a peak of a patch on the diagonal becomes on the diagonal of the map is its square."""
    side = detector.grid_hw[0]
    peaks = torch.diag_embed(torch.eye(side))[:, None]
    shown = F.interpolate(peaks, detector.config.size_hw, mode="bilinear", align_corners=False)
    maps: Tensor = detector.smoothing(shown)
    return maps[:, 0].diagonal(dim1=1, dim2=2).clamp_min(0).sqrt().T


def _fit(detector: PatchGaussian, features: Tensor) -> None:
    config = detector.config
    gaussian = WhitenedGaussian(detector.grid_hw, config.rank, config.shrinkage)
    with torch.inference_mode():
        gaussian.fit(features)
    detector.gaussian = gaussian  # type: ignore[assignment]  # of whitened features


def splits(photos: Photos, detector: PatchGaussian, turn: int) -> Iterator[dict[str, Any]]:
    """Rows of the six splits of a turn."""
    blocks, rng = turned_blocks(photos.groups, turn), np.random.default_rng(turn)
    pairs = {pair: _without(photos, detector, blocks, pair) for pair in combinations(range(BLOCKS), 2)}
    for unseen in range(BLOCKS):
        others = [(unseen + step) % BLOCKS for step in range(1, BLOCKS)]
        found = {block: pairs[min(unseen, block), max(unseen, block)] for block in others}
        rows = np.concatenate([blocks[block] for block in others])
        own = np.concatenate([found[block].blocks[block] for block in others])
        numbers = np.repeat(others, [len(blocks[block]) for block in others]).tolist()
        groups, deployed = photos.groups[rows].tolist(), found[others[-1]]
        held_out, chance = _by_chance(photos, detector, rows, blocks[unseen], rng)
        for rate in RATES:
            new = fit_cross_fitted_threshold(own, numbers, groups, false_alarm_rate=rate).value
            stated = stated_rate(own, numbers, groups, false_alarm_rate=rate)
            yield _row("blocks", rate, new, stated, deployed, unseen)
            old = fit_threshold(held_out, false_alarm_rate=rate).value
            yield _row("chance", rate, old, max(rate, 1 / (len(held_out) + 1)), chance, 0)


def _without(photos: Photos, detector: PatchGaussian, blocks: list[NDArray[np.intp]], pair: tuple[int, int]) -> Scored:
    rest = np.concatenate([rows for number, rows in enumerate(blocks) if number not in pair])
    _fit(detector, photos.good[:, torch.from_numpy(rest)])
    own = {number: scores(detector, photos.good[:, torch.from_numpy(blocks[number])]) for number in pair}
    is_deployed = (pair[1] - pair[0]) % BLOCKS in (1, BLOCKS - 1)  # leaves out the last block before an unseen one
    return Scored(own, scores(detector, photos.defective) if is_deployed else np.empty(0))


def _by_chance(
    photos: Photos,
    detector: PatchGaussian,
    rows: NDArray[np.intp],
    unseen: NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], Scored]:
    """Scores of the 15 % that set the threshold, and of the unseen ones (as block 0), by a detector of 70 %."""
    drawn = rng.permutation(rows)
    part = max(2, round(0.15 * len(drawn)))
    _fit(detector, photos.good[:, torch.from_numpy(drawn[: len(drawn) - 2 * part])])
    held_out = scores(detector, photos.good[:, torch.from_numpy(drawn[-part:])])
    block = scores(detector, photos.good[:, torch.from_numpy(unseen)])
    return held_out, Scored({0: block}, scores(detector, photos.defective))


def _row(rule: str, rate: float, threshold: float, stated: float, scored: Scored, block: int) -> dict[str, Any]:
    good = scored.blocks[block]
    return {
        "rule": rule,
        "asked": rate,
        "false_alarms": int((good > threshold).sum()),
        "unseen": len(good),
        "found": int((scored.defective > threshold).sum()),
        "defective": len(scored.defective),
        "stated": round(stated, 4),
    }


def measure(root: Path, turns: int, done: Set[int]) -> Iterator[list[dict[str, Any]]]:
    """Rows of a product, those of the six splits of a turn together, without the turns that are done."""
    detector = PatchGaussian(PatchGaussianParameters(size=_SIZE, rank=16, block=1)).eval()
    photos = load(root, detector)
    for turn in random.Random(0).sample(range(len(photos.groups)), min(turns, len(photos.groups))):
        if turn not in done:
            found = splits(photos, detector, turn % int(photos.groups.max() + 1))
            yield [{"product": root.name, "turn": turn, **row} for row in found]


def _done(out: Path) -> dict[str, set[int]]:
    """Product → turns whose rows are there."""
    done: defaultdict[str, set[int]] = defaultdict(set)
    for line in out.read_text().splitlines() if out.is_file() else ():
        row = json.loads(line)
        done[row["product"]].add(row["turn"])
    return done


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Markdown: means over the splits of each product, rate and rule."""
    cells: defaultdict[tuple[str, float, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[row["product"], row["asked"], row["rule"]].append(row)
    lines = [
        "| product | splits | asked | by chance: false alarms | stated | recall "
        "| by blocks: false alarms | stated | recall |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for product, rate in sorted({key[:2] for key in cells}, key=lambda key: (PRODUCTS.index(key[0]), key[1])):
        of_rules = [cells[product, rate, rule] for rule in ("chance", "blocks")]
        values = " | ".join(_cells(found) for found in of_rules)
        lines.append(f"| `{product}` | {len(of_rules[0])} | {rate:.0%} | {values} |")
    return "\n".join(lines)


def _cells(rows: list[dict[str, Any]]) -> str:
    alarms = np.mean([row["false_alarms"] / row["unseen"] for row in rows])
    found = np.mean([row["found"] / row["defective"] for row in rows])
    stated = np.mean([row["stated"] for row in rows])
    return f"{alarms:.1%} | {stated:.1%} | {found:.0%}"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the products")
    parser.add_argument("--products", nargs="+", default=list(PRODUCTS))
    parser.add_argument("--turns", type=int, default=34, help="six splits for each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/threshold_splits.jsonl"))
    arguments = parser.parse_args()
    done = _done(arguments.out)
    running = [measure(arguments.data / name, arguments.turns, done[name]) for name in arguments.products]
    for found in zip_longest(*running, fillvalue=[]):  # in turns: what is stopped early is of every product
        for rows in found:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
