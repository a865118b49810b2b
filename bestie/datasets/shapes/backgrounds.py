"""Textured backgrounds for the generated shapes: cloth, sky, grass, blotches and ripples."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32

from bestie.datasets.shapes.noise import octave_noise, random_color, smooth_noise

Canvas = Float32[np.ndarray, "h w 3"]


def render_background(rng: np.random.Generator, *, height: int, width: int) -> Canvas:
    """Render an RGB picture in 0..1 with one kind of texture, or two that meet at a wavy horizon."""
    first = _render_kind(rng, height, width)
    if rng.random() < 0.6:
        return first
    second = _render_kind(rng, height, width)
    rows = np.arange(height, dtype=np.float32)[:, None] - rng.uniform(0.3, 0.7) * height
    horizon = rows + 0.06 * height * smooth_noise(rng, height, width, cells=4)
    share = np.clip(horizon / 2 + 0.5, 0, 1)[..., None]
    return first * (1 - share) + second * share


def _render_kind(rng: np.random.Generator, height: int, width: int) -> Canvas:
    kinds: tuple[Callable[[np.random.Generator, int, int], Canvas], ...] = (
        _cloth,
        _sky,
        _grass,
        _blotches,
        _ripples,
    )
    return kinds[rng.integers(len(kinds))](rng, height, width)


def _blend(share: Float32[np.ndarray, "h w"], first: np.ndarray, second: np.ndarray) -> Canvas:
    return first + (second - first) * np.clip(share, 0, 1)[..., None]


def _related_colors(rng: np.random.Generator, spread: float) -> tuple[np.ndarray, np.ndarray]:
    first = random_color(rng, saturation=(0.05, 0.4), value=(0.25, 0.8))
    second = np.clip(first + spread * rng.uniform(-1, 1) + rng.uniform(-0.12, 0.12, 3), 0.05, 0.95).astype(np.float32)
    return first, second


def _cloth(rng: np.random.Generator, height: int, width: int) -> Canvas:
    noise = octave_noise(rng, height, width, cells=int(rng.integers(3, 7)), octaves=4)
    return _blend(0.5 + 0.4 * noise, *_related_colors(rng, 0.3))


def _sky(rng: np.random.Generator, height: int, width: int) -> Canvas:
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = math.sin(angle) * (y / height - 0.5) + math.cos(angle) * (x / width - 0.5)
    noise = octave_noise(rng, height, width, cells=3, octaves=3)
    return _blend(0.5 + ramp + 0.15 * noise, *_related_colors(rng, 0.4))


def _grass(rng: np.random.Generator, height: int, width: int) -> Canvas:
    canvas = np.ascontiguousarray(_cloth(rng, height, width))
    base = canvas.mean(axis=(0, 1))
    count = int(rng.integers(120, 260))
    lean = rng.uniform(0, math.pi)
    starts = rng.uniform(0, 1, (count, 2)) * (width, height)
    angles = lean + rng.normal(0, 0.35, count)
    steps = rng.uniform(4, 14, count)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    colors = np.clip(base + rng.normal(0, 0.12, (count, 1)) + rng.normal(0, 0.04, (count, 3)), 0, 1)
    shift = 3  # cv2's fixed-point coordinates: eighths of a pixel
    points = np.stack([starts, starts + steps], axis=1) * 2**shift
    strokes = (canvas * 255).astype(np.uint8)
    for (start, end), color in zip(points.astype(int).tolist(), (colors * 255).tolist(), strict=True):
        cv2.line(strokes, start, end, color, 1, cv2.LINE_AA, shift)
    return strokes.astype(np.float32) / 255


def _blotches(rng: np.random.Generator, height: int, width: int) -> Canvas:
    noise = octave_noise(rng, height, width, cells=int(rng.integers(4, 10)), octaves=2)
    first, second = _related_colors(rng, 0.35)
    grain = 0.05 * octave_noise(rng, height, width, cells=20, octaves=2)[..., None]
    return np.clip(_blend(0.5 + 4 * (noise - rng.uniform(-0.3, 0.6)), first, second) + grain, 0, 1)


def _ripples(rng: np.random.Generator, height: int, width: int) -> Canvas:
    angle, period_px = rng.uniform(0, math.pi), rng.uniform(6, 18)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    warp = period_px * smooth_noise(rng, height, width, cells=4)
    phase = (math.cos(angle) * x + math.sin(angle) * y + warp) * (2 * math.pi / period_px)
    noise = octave_noise(rng, height, width, cells=8, octaves=3)
    return _blend(0.5 + 0.3 * np.sin(phase) + 0.25 * noise, *_related_colors(rng, 0.25))
