"""Boundaries between classes, learned from maps, and a random walk that stops at them (IRN's affinity).

The maps that image-level labels give are right in the middle of an object and of its surroundings, and doubtful between
them. Two cells near each other that are both sure say whether a boundary lies between them: one does if they show
different classes, and none does if they show the same. A network learns from many such pairs where boundaries lie, also
where the maps are doubtful. A random walk, which seldom crosses a boundary, then carries the scores of sure cells to
the whole object, and takes those away that spilled over its edge.

It follows the class boundaries of Ahn, Cho and Kwak ("Weakly Supervised Learning of Instance Segmentation with
Inter-pixel Relations", CVPR 2019), without their displacement field.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bestie.records import VOID

#: The two cells of a pair are less than this far apart, in cells.
RADIUS = 4
#: Affinities are raised to this power before the walk, so that it does not leak through weak boundaries.
POWER = 10
#: Keeps logarithms finite.
TINY = 1e-5


class Pairs(NamedTuple):
    """All pairs of cells of one kind, such as each cell and the one two below it, on a grid.

    `first` and `second` cut the two cells of each pair out of the grid. The affinity of a pair is 1 - the strongest
    boundary on the straight way between them, ends included.
    """

    first: tuple[slice, slice]
    second: tuple[slice, slice]
    affinity: Float[Tensor, "b y x"]


class BoundaryHead(nn.Module):
    """Tells from features at several strides where classes meet.

    Args:
        channels: of each map of features.
        width: channels that each of them is reduced to.
    """

    def __init__(self, channels: list[int], width: int = 32) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(each, width, 1, bias=False), nn.GroupNorm(4, width), nn.ReLU()) for each in channels
        )
        self.head = nn.Sequential(
            nn.Conv2d(len(channels) * width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1)
        )

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "b i j"]:
        """Return the probability of a boundary in each cell. The maps have one size."""
        reduced = [reduce(each) for reduce, each in zip(self.reduce, maps, strict=True)]
        return self.head(torch.cat(reduced, dim=1))[:, 0].float().sigmoid()


def all_pairs(boundary: Float[Tensor, "b i j"]) -> Iterator[Pairs]:
    """Yield the pairs of cells less than `RADIUS` apart, kind by kind; each pair comes once."""
    height, width = boundary.shape[1:]
    for y in range(RADIUS):
        for x in range(1 - RADIUS, RADIUS):
            rows, columns, left = height - y, width - abs(x), max(0, -x)
            if (y, x) <= (0, 0) or y * y + x * x >= RADIUS * RADIUS or min(rows, columns) < 1:
                continue
            steps = max(y, abs(x))
            way = [(round(y * step / steps), left + round(x * step / steps)) for step in range(steps + 1)]
            cut = [(slice(top, top + rows), slice(start, start + columns)) for top, start in way]
            yield Pairs(cut[0], cut[-1], 1 - torch.stack([boundary[:, *each] for each in cut]).amax(0))


def affinity_loss(boundary: Float[Tensor, "b i j"], seeds: UInt8[Tensor, "b i j"]) -> Float[Tensor, ""]:
    """Return the cross-entropy of affinities: pairs of one class have 1, pairs of different classes 0.

    Pairs of background, pairs of one object class, and pairs of different classes weigh a quarter, a quarter and a
    half, however many there are; kinds that do not occur count as 0.

    Args:
        boundary: probability of a boundary in each cell.
        seeds: 0 for background, a category_id, or 255 where the class is in doubt; such cells are in no pair.
    """
    nothing = boundary.sum() * 0
    costs, counts = [[nothing], [nothing], [nothing]], [[nothing], [nothing], [nothing]]
    for pairs in all_pairs(boundary):
        first, second = seeds[:, *pairs.first], seeds[:, *pairs.second]
        sure = (first != VOID) & (second != VOID)
        same = sure & (first == second)
        alike, unlike = -(pairs.affinity + TINY).log(), -(1 - pairs.affinity + TINY).log()
        kinds = ((same & (first == 0), alike), (same & (first > 0), alike), (sure & (first != second), unlike))
        for number, (kind, cost) in enumerate(kinds):
            costs[number].append((cost * kind).sum())
            counts[number].append(kind.sum())
    total, number_of = (torch.stack([torch.stack(each).sum() for each in lists]) for lists in (costs, counts))
    return (total / number_of.clamp(min=1) * total.new_tensor([1 / 4, 1 / 4, 1 / 2])).sum()


def walk(scores: Float[Tensor, "n i j"], boundary: Float[Tensor, "i j"], *, steps: int) -> Float[Tensor, "n i j"]:
    """Return the mean score of the cells that a random walk from each cell ends in.

    In a step, the chance of going to a near cell, or of staying, is in proportion to the affinity^10; staying has an
    affinity of 1. The score of a cell counts by the probability that it is no boundary.

    Args:
        scores: of classes without background, at least 0.
        boundary: probability of a boundary in each cell.
        steps: of the walk.
    """
    total = torch.ones_like(boundary)
    ways = [(pairs.first, pairs.second, pairs.affinity[0] ** POWER) for pairs in all_pairs(boundary[None])]
    for first, second, chance in ways:
        total[first] += chance
        total[second] += chance
    walked = scores * (1 - boundary)
    for _ in range(steps):
        gathered = walked.clone()
        for first, second, chance in ways:
            gathered[:, *first] += chance * walked[:, *second]
            gathered[:, *second] += chance * walked[:, *first]
        walked = gathered / total
    return walked
