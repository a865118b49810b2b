"""Refinement and inference against a slow second implementation: one component, one pixel at a time."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bestie.method import centers as finding
from bestie.method.inference import predict_instances
from bestie.method.refinement import refine
from bestie.method.regions import center_of_class, find_regions

CLASSES, HEIGHT, WIDTH, WINDOW_PX = 3, 36, 230, 9


@dataclass
class Scene:
    semantic: np.ndarray
    logits: np.ndarray
    center: np.ndarray
    offset: np.ndarray
    labels: np.ndarray


def make_scene(seed: int, batch: int = 2) -> Scene:
    """Boxes of a few classes under noisy maps, some wider than the distance that clustered centers keep."""
    rng = np.random.default_rng(seed)
    semantic = np.zeros((batch, HEIGHT, WIDTH), np.uint8)
    center = rng.normal(0, 0.03, (batch, CLASSES, HEIGHT, WIDTH)).astype(np.float32)
    offset = rng.normal(0, rng.choice([0.1, 0.8]), (batch, 2, HEIGHT, WIDTH)).astype(np.float32)
    grid = np.indices((HEIGHT, WIDTH)).astype(np.float32)
    for image in range(batch):
        for _ in range(rng.integers(1, 7)):
            top, left = rng.integers(0, HEIGHT - 8), rng.integers(0, WIDTH - 8)
            rows = slice(top, top + rng.integers(4, HEIGHT))
            columns = slice(left, left + rng.integers(4, WIDTH))
            semantic[image, rows, columns] = rng.choice([0, 1, 1, 2, 3, 255])
        points = np.stack((rng.integers(0, HEIGHT, 9), rng.integers(0, WIDTH, 9)), axis=1)
        away = points[:, :, None, None] - grid
        nearest = (away**2).sum(axis=1).argmin(axis=0)
        offset[image] += np.take_along_axis(away, nearest[None, None], axis=0)[0]
        for y, x in points[: rng.integers(0, 8)]:
            bell = np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / 18).astype(np.float32)
            center[image, rng.integers(0, CLASSES)] += rng.uniform(0.05, 1.1) * bell
    logits = rng.normal(0, 1, (batch, CLASSES + 1, HEIGHT, WIDTH)).astype(np.float32)
    shown = np.where(semantic == 255, 0, semantic)
    np.put_along_axis(logits, shown[:, None], 7.0, axis=1)
    return Scene(semantic, logits, center, offset, (rng.random((batch, CLASSES)) < 0.8).astype(np.float32))


def slow_centers(score: np.ndarray, component: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    reach = WINDOW_PX // 2
    centers = []
    for y, x in np.argwhere(component & (score > threshold)):
        window = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        if score[y, x] >= score[window][component[window]].max():
            centers.append((int(y), int(x)))
    return centers


def slow_clusters(offset: np.ndarray, score: np.ndarray, component: np.ndarray) -> list[tuple[int, int]]:
    groups, count = ndimage.label(component & (np.hypot(offset[0], offset[1]) < 2.5))
    centers = []
    for group in range(1, count + 1):
        pixels = np.argwhere(groups == group)
        y, x = pixels.sum(axis=0) // len(pixels)
        if 18 < len(pixels) < 24 and component[y, x] and score[y, x] > 0.05:
            centers.append((int(y), int(x)))
    return centers


def slow_split(
    score: np.ndarray,
    offset: np.ndarray,
    component: np.ndarray,
    *,
    threshold: float,
    cluster: bool,
    whole: bool,
    cluster_distance_px: float = 100,
):
    """(number of centers that count, [(instance mask, its peak, the peak's score)]) of one component."""
    marked = score.copy()
    centers = slow_centers(score, component, threshold)
    if cluster:
        found = list(centers)
        for y, x in slow_clusters(offset, score, component):
            if all((y - cy) ** 2 + (x - cx) ** 2 > cluster_distance_px**2 for cy, cx in found):
                centers.append((y, x))
                marked[y, x] = 1.0
    if not centers:
        if not whole:
            return 0, []
        centers = [(0, 0)]
    chosen = np.zeros(component.shape, int)
    for y, x in np.argwhere(component):
        there = (y + offset[0, y, x], x + offset[1, y, x])
        distances = [(cy - there[0]) ** 2 + (cx - there[1]) ** 2 for cy, cx in centers]
        chosen[y, x] = int(np.argmin(distances)) + 1
    instances = []
    for number in range(1, len(centers) + 1):
        mask = chosen == number
        if mask.any():
            peak = np.unravel_index(np.where(mask, marked, -np.inf).argmax(), mask.shape)
            instances.append((mask, peak, marked[peak]))
    return chosen.max(), instances


def components_of(semantic: np.ndarray, category_id: int) -> list[np.ndarray]:
    labels, count = ndimage.label(semantic == category_id, np.ones((3, 3)))
    masks = [labels == number for number in range(1, count + 1)]
    return [mask for mask in masks if mask.sum() >= 50]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def slow_weights(
    scene: Scene, image: int, *, confidence: str, cluster_distance_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """W of Eq. 2 and the refined offset map of one image, by the rules of the release or of the paper."""
    weight, offset = np.zeros((HEIGHT, WIDTH)), np.zeros((2, HEIGHT, WIDTH))
    probability = softmax(scene.logits[image])
    for category_id in np.flatnonzero(scene.labels[image]) + 1:
        for component in components_of(scene.semantic[image], category_id):
            score = np.where(component, scene.center[image, category_id - 1], 0)
            last, instances = slow_split(
                score,
                scene.offset[image],
                component,
                threshold=0.3,
                cluster=True,
                whole=False,
                cluster_distance_px=cluster_distance_px,
            )
            for mask, peak, peak_score in instances if last <= 5 else []:
                own, place = probability[category_id][mask].mean(), peak
                trust = peak_score * own
                if peak_score < 0.3:
                    place = tuple(np.argwhere(component).sum(axis=0) // component.sum())
                    trust = own
                if confidence == "center":
                    trust = score[place]
                weight[mask] = np.clip(trust, 0, 1)
                offset[:, mask] = np.array(place)[:, None] - np.argwhere(mask).T
    return weight, offset


def tensors(scene: Scene) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(getattr(scene, name)) for name in ("logits", "center", "offset", "labels")}


@pytest.mark.parametrize("confidence", ["release", "center"])
@given(seed=st.integers(0, 10**6), distance_px=st.sampled_from([6.5, 100.0]))
@settings(max_examples=15, deadline=None)
def test_refined_labels_are_those_of_the_slow_implementation(confidence: str, seed: int, distance_px: float):
    scene = make_scene(seed)
    maps = tensors(scene)

    refined = refine(
        maps["center"],
        maps["offset"],
        semantic_logits=maps["logits"],
        image_labels=maps["labels"],
        wsss=torch.from_numpy(scene.semantic),
        window_px=WINDOW_PX,
        cluster_distance_px=distance_px,
        confidence=confidence,
    )

    for image in range(len(scene.semantic)):
        weight, offset = slow_weights(scene, image, confidence=confidence, cluster_distance_px=distance_px)
        np.testing.assert_allclose(refined.weight[image, 0], weight, atol=1e-5)
        np.testing.assert_array_equal(refined.targets.offset[image], offset)


@given(seed=st.integers(0, 10**6), cluster=st.booleans(), drop=st.booleans(), release=st.booleans())
@settings(max_examples=20, deadline=None)
def test_predicted_instances_are_those_of_the_slow_implementation(seed: int, cluster: bool, drop: bool, release: bool):
    scene = make_scene(seed)
    maps = tensors(scene)

    images = predict_instances(
        maps["logits"],
        maps["center"],
        maps["offset"],
        image_labels=maps["labels"],
        window_px=WINDOW_PX,
        cluster=cluster,
        drop_components_without_center=drop,
        confidence="release" if release else "product",
    )

    for image, predicted in enumerate(images):
        probability = softmax(scene.logits[image])
        present = np.r_[1.0, scene.labels[image]][:, None, None]
        semantic = (probability * present).argmax(axis=0)
        np.testing.assert_array_equal(predicted.semantic, semantic)
        expected = {}
        for category_id in range(1, CLASSES + 1):
            for component in components_of(semantic, category_id):
                score = np.where(component, scene.center[image, category_id - 1], 0)
                _, instances = slow_split(
                    score, scene.offset[image], component, threshold=0.1, cluster=cluster, whole=not drop
                )
                for mask, peak, peak_score in instances:
                    own = probability[category_id][mask].mean()
                    trust = (own if peak_score >= 1 else peak_score) if release else min(score[peak], 1)
                    expected[category_id, mask.tobytes()] = (trust * own, *peak)
        columns = zip(predicted.category_id, predicted.masks, predicted.score, predicted.center_yx, strict=True)
        found = {(int(c), mask.tobytes()): (score, *yx) for c, mask, score, yx in columns}
        assert found.keys() == expected.keys()
        for key, values in expected.items():
            np.testing.assert_allclose(found[key], values, atol=1e-5)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_other_devices_find_the_centers_that_the_cpu_finds(seed: int):
    scene = make_scene(seed)
    regions = find_regions(torch.from_numpy(scene.semantic))
    score = center_of_class(torch.from_numpy(scene.center), regions)

    by_crop = finding._find_centers_by_crop(score, regions, threshold=0.1, window_px=WINDOW_PX)
    in_layers = finding._find_centers_in_layers(score, regions, threshold=0.1, window_px=WINDOW_PX)

    assert sorted(by_crop.tolist()) == in_layers.tolist()


@given(seed=st.integers(0, 10**6), share=st.floats(0.2, 0.8))
@settings(max_examples=50, deadline=None)
def test_other_devices_find_the_clusters_that_the_cpu_finds(seed: int, share: float):
    rng = np.random.default_rng(seed)
    semantic = ndimage.zoom(rng.integers(0, 4, (2, 4, 5)), (1, 12, 12), order=0).astype(np.uint8)
    regions = find_regions(torch.from_numpy(semantic))
    short = torch.from_numpy(rng.random(semantic.shape) < share)

    by_crop = finding._cluster_by_crop(short & (regions.id_map > 0), regions)
    by_propagation = finding._cluster_by_propagation(short & (regions.id_map > 0), regions)

    assert [each.tolist() for each in by_crop] == [each.tolist() for each in by_propagation]


def test_other_devices_label_long_groups_whole():
    """Lines and snakes of 17 to 30 px: passing on labels takes the most rounds in them."""
    path = []
    for lane in range(4):
        columns = range(7) if lane % 2 == 0 else range(6, -1, -1)
        path += [(2 * lane, x) for x in columns] + [(2 * lane + 1, columns[-1])]
    shapes = np.zeros((42, 40, 40), bool)
    for length in range(17, 31):
        line, upright, snake = shapes[3 * (length - 17) : 3 * (length - 16)]
        line[20, 5 : 5 + length] = upright[5 : 5 + length, 7] = True
        snake[tuple(np.array(path[:length]).T)] = True
    regions = find_regions(torch.ones(shapes.shape, dtype=torch.uint8))

    by_crop = finding._cluster_by_crop(torch.from_numpy(shapes), regions)
    by_propagation = finding._cluster_by_propagation(torch.from_numpy(shapes), regions)

    assert len(by_crop[0]) == 3 * len(range(19, 24))
    assert [each.tolist() for each in by_crop] == [each.tolist() for each in by_propagation]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_mirrored_maps_give_mirrored_weights(seed: int):
    scene = make_scene(seed)
    maps = tensors(scene)
    options = {"image_labels": maps["labels"], "window_px": WINDOW_PX, "confidence": "release"}
    mirrored_offset = maps["offset"].flip(-1) * torch.tensor([1.0, -1.0])[:, None, None]

    refined = refine(
        maps["center"],
        maps["offset"],
        semantic_logits=maps["logits"],
        wsss=torch.from_numpy(scene.semantic),
        cluster=False,  # the integer part of a centroid is not mirrored
        **options,
    )
    mirrored = refine(
        maps["center"].flip(-1),
        mirrored_offset,
        semantic_logits=maps["logits"].flip(-1),
        wsss=torch.from_numpy(scene.semantic).flip(-1),
        cluster=False,
        **options,
    )

    np.testing.assert_allclose(mirrored.weight.flip(-1), refined.weight, atol=1e-6)
