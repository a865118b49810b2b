"""The geometry of a graph in layers: boxes and curves, from left to right or from top to bottom.

Every node stands one layer after the last node that it depends on. An edge over several layers takes a place in each
of them, so that it passes beside the nodes there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 138, 58
LAYER_GAP, PLACE_GAP = 18, 14
MARGIN = 4
SWEEPS = 4

Edge = tuple[str, str]


@dataclass(frozen=True)
class Box:
    """The rectangle of a node: its name and its upper left corner."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class GraphDrawing:
    """Boxes of `BOX_WIDTH` x `BOX_HEIGHT`, and an SVG path for each edge."""

    width: float
    height: float
    boxes: list[Box]
    paths: list[str]


def draw_graph(names: Sequence[str], edges: Sequence[Edge], *, downwards: bool = False) -> GraphDrawing:
    """Lay out an acyclic graph.

    Args:
        names: the nodes.
        edges: (from, to) of each edge.
        downwards: lay it out from top to bottom instead of from left to right.

    Raises:
        ValueError: an edge has a node that is not in `names`.
    """
    if unknown := {name for edge in edges for name in edge} - set(names):
        raise ValueError(f"edges name {sorted(unknown)}, which are no nodes")
    layer = _layers(names, edges)
    chains = [_chain(edge, layer) for edge in edges]
    rows = _places(names, chains, layer)
    breadth = max(len(row) for row in rows)
    along, across = (BOX_HEIGHT, BOX_WIDTH) if downwards else (BOX_WIDTH, BOX_HEIGHT)

    def corner(depth: int, place: int) -> tuple[float, float]:
        start = MARGIN + depth * (along + LAYER_GAP)
        side = MARGIN + (place + (breadth - len(rows[depth])) / 2) * (across + PLACE_GAP)
        return (side, start) if downwards else (start, side)

    corners = {node: corner(depth, place) for depth, row in enumerate(rows) for place, node in enumerate(row)}
    length = len(rows) * (along + LAYER_GAP) - LAYER_GAP + 2 * MARGIN
    side = breadth * (across + PLACE_GAP) - PLACE_GAP + 2 * MARGIN
    return GraphDrawing(
        width=side if downwards else length,
        height=length if downwards else side,
        boxes=[Box(name, *corners[name]) for name in names],
        paths=[_curve([corners[node] for node in chain], downwards=downwards) for chain in chains],
    )


Node = str | tuple[Edge, int]


def _layers(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return the layer of each node: the length of the longest path to it."""
    before: dict[str, set[str]] = {name: set() for name in names}
    for source, target in edges:
        before[target].add(source)
    layer: dict[str, int] = {}
    for name in TopologicalSorter(before).static_order():
        layer[name] = max((layer[each] + 1 for each in before[name]), default=0)
    return layer


def _chain(edge: Edge, layer: dict[str, int]) -> list[Node]:
    """Return the nodes that an edge joins and, between them, its place in every layer that it crosses."""
    source, target = edge
    return [source, *((edge, depth) for depth in range(layer[source] + 1, layer[target])), target]


def _places(names: Sequence[str], chains: Sequence[list[Node]], layer: dict[str, int]) -> list[list[Node]]:
    """Order the nodes within each layer by pulling each towards those that it is joined to."""
    rows: list[list[Node]] = [[] for _ in range(max(layer.values()) + 1)]
    for name in names:
        rows[layer[name]].append(name)
    joined: dict[Node, list[Node]] = {}
    for chain in chains:
        for depth, node in enumerate(chain[1:-1], start=layer[str(chain[0])] + 1):
            rows[depth].append(node)
        for one, other in pairwise(chain):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    for _ in range(SWEEPS):
        place = {node: index - (len(row) - 1) / 2 for row in rows for index, node in enumerate(row)}
        for row in rows:
            pull = {
                node: sum(place[each] for each in joined.get(node, [node])) / len(joined.get(node, [node]))
                for node in row
            }
            row.sort(key=pull.__getitem__)
    return rows


def _curve(corners: Sequence[tuple[float, float]], *, downwards: bool) -> str:
    """Return the path from the end of the first box, through the places between, to the start of the last box."""
    half = (BOX_WIDTH / 2, 0.0) if downwards else (0.0, BOX_HEIGHT / 2)
    size = (0.0, float(BOX_HEIGHT)) if downwards else (float(BOX_WIDTH), 0.0)
    entries = [(x + half[0], y + half[1]) for x, y in corners]
    exits = [(x + size[0], y + size[1]) for x, y in entries]
    parts = [f"M{exits[0][0]:g} {exits[0][1]:g}"]
    for index in range(1, len(corners)):
        (x1, y1), (x2, y2) = exits[index - 1], entries[index]
        bend = f"{x1:g} {(y1 + y2) / 2:g} {x2:g} {(y1 + y2) / 2:g}" if downwards else None
        bend = bend or f"{(x1 + x2) / 2:g} {y1:g} {(x1 + x2) / 2:g} {y2:g}"
        parts.append(f"C{bend} {x2:g} {y2:g}")
        if index < len(corners) - 1:
            parts.append(f"L{exits[index][0]:g} {exits[index][1]:g}")
    return "".join(parts)
