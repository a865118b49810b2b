"""The eight pictures of `docs/how-it-works.md`, drawn from a finished run.

`python docs/pictures/how_it_works.py`, in the folder with `params.yaml` and the run's `data/`. `--image`, `--second`
and `--validation` take the image_ids to show; without them the script picks images that show what the text speaks of.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from how_run import CPU, Picture, Rows, Run, pick_image, pick_second, pick_validation
from PIL import Image, ImageDraw

from bestie.artifacts.instances import decode_mask
from bestie.artifacts.paths import folder
from bestie.audit.components import STATUS_COLORS, STATUS_WORDS, component_masks, reason
from bestie.errors import InputError
from bestie.method.inference import Instances
from bestie.method.network import Outputs
from bestie.method.targets import render_class_agnostic
from bestie.pictures import (
    category_swatches,
    draw_activation,
    draw_centers_offsets,
    draw_cues,
    draw_instances,
    draw_regions,
    draw_semantic,
    fit_map,
    fit_points,
    instance_colors,
    offset_wheel,
    panel_sheet,
    swatches,
)
from bestie.pictures.color import blend
from bestie.pictures.text import write
from bestie.prediction.loading import load_predictor
from bestie.prediction.padded_image import padded_image
from bestie.prediction.shown import worth_showing
from bestie.records import ImageRecord, Point
from stages.extract_cues import activation_maps, cues_of

#: Sides of the panels in px, of two and of three in a row.
LARGE_PX, SMALL_PX = 400, 276
MAX_BYTES = 80_000
#: Only the top of a peak is drawn on an offset map, whose colors its glow would hide.
PEAK = 0.98
#: Every so many pixels of the image an arrow shows the offset.
ARROW_STEP_PX = 5
#: Height of the numbers of components, and the radius of a cue's dot.
NUMBER_PX, DOT_PX = 16, 9

Panel = tuple[str, Picture]


@dataclass(frozen=True)
class Sheet:
    """One picture of the page: panels in rows of `columns`, a legend, and notes below."""

    name: str
    panels: list[Panel]
    columns: int = 2
    legend: list[Panel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write(self, out: Path) -> Path:
        """Write the picture as WebP, in the best quality that takes at most `MAX_BYTES`."""
        cell_px = LARGE_PX if self.columns == 2 else SMALL_PX
        drawn = panel_sheet(self.panels, columns=self.columns, cell_px=cell_px, legend=self.legend, notes=self.notes)
        path = out / f"how_{self.name}.webp"
        for quality in range(92, 20, -4):
            Image.fromarray(drawn).save(path, format="WEBP", quality=quality, method=6)
            if path.stat().st_size <= MAX_BYTES:
                break
        return path


# --- The eight pictures -----------------------------------------------------------------------------------------------


def draw_image(run: Run, image: ImageRecord) -> Sheet:
    """Draw the image and its labels beside the truth, which no training reads."""
    base = run.picture(image, LARGE_PX)
    truth = draw_rows(run, base, image, run.instances(image, "prepare", "ground_truth"), scored=False)
    labels = ", ".join(run.names[label - 1] for label in image.labels)
    return Sheet(
        "1_image",
        [(f"given: the image and its labels, {labels}", base), ("wanted: a mask for each object", truth)],
        notes=["Right: the true masks, one color for each object. No training stage reads them."],
    )


def draw_cue_maps(run: Run, image: ImageRecord) -> Sheet:
    """Draw the activation maps of two classes without and with the peak attention module, and the cues on both."""
    base = run.picture(image, LARGE_PX)
    panels = []
    for label in image.labels[:2]:
        for attends in (False, True):
            run.classifier.attend(attends)
            maps = activation_maps(
                run.classifier,
                padded_image(run.params.dataset.image_root, image),
                image,
                run.params.extract_cues,
                CPU,
                len(run.names),
            )
            found = [cue for cue in cues_of(image, maps, run.params.extract_cues, None) if cue.category_id == label]
            heat = draw_activation(base, enlarge(maps[label - 1].numpy(), base))
            title = f"{run.names[label - 1]}, {'with PAM' if attends else 'PAM switched off'}: {count(found, 'cue')}"
            panels.append((title, draw_points(heat, found, image)))
    dots = category_swatches(run.names)
    return Sheet(
        "2_cues",
        panels,
        legend=[("activation from 0 to 1", color_bar()), *(dots[label - 1] for label in image.labels[:2])],
        notes=["A dot is a cue: the largest activation in its surroundings. A large dot has a high activation."],
    )


def draw_wsss(run: Run, image: ImageRecord) -> Sheet:
    """Draw the WSSS map beside the true classes."""
    base = run.picture(image, LARGE_PX)
    semantic = run.map(image, "import_wsss/maps.zarr", "semantic")
    truth = run.map(image, "prepare/ground_truth.zarr", "semantic")
    swatch = category_swatches(run.names)
    return Sheet(
        "3_wsss",
        [
            ("WSSS map: the class of each pixel", draw_semantic(base, fit_map(semantic, LARGE_PX))),
            ("true classes, to compare", draw_semantic(base, fit_map(truth, LARGE_PX))),
        ],
        legend=[swatch[label - 1] for label in image.labels],
        notes=["Pixels without a color are background. White hatching, in the true map, is void: it does not count."],
    )


def draw_verdicts(run: Run, images: Sequence[ImageRecord]) -> Sheet:
    """Draw the components of two images in the color of their verdicts, with the cues, and say why."""
    panels, notes = [], []
    for image in images:
        base = run.picture(image, LARGE_PX)
        rows, cues = run.components(image), run.cues(image)
        masks = component_masks(run.map(image, "import_wsss/maps.zarr", "semantic"), rows)
        known = [(row, mask) for row, mask in zip(rows, masks, strict=True) if mask is not None]
        regions = [fit_map(mask, LARGE_PX) for _, mask in known]
        colors = np.array([STATUS_COLORS[row["status"]] for row, _ in known], np.uint8)
        drawn = draw_points(draw_regions(base, regions, colors, [[]] * len(known)), cues, image, sized=False)
        dots = placed([(cue.y, cue.x) for cue in cues], base, image)
        drawn = write_numbers(drawn, regions, [row["component_id"] for row, _ in known], dots)
        panels.append((f"{image.image_id}: {count(known, 'component')}, {count(cues, 'cue')}", drawn))
        for row, mask in known:
            scores = [cue.score for cue in cues if cue.category_id == row["category_id"] and is_on(cue, mask)]
            why = reason(row, scores, run.params.make_pseudo_labels.min_area_px)
            name = run.names[row["category_id"] - 1]
            verdict = STATUS_WORDS[row["status"]]
            notes.append(f"{image.image_id}, component {row['component_id']}, {name}: {verdict}, {why}")
    return Sheet(
        "4_components",
        panels,
        legend=swatches((STATUS_WORDS[status], color) for status, color in STATUS_COLORS.items()),
        notes=notes,
    )


def draw_targets(run: Run, image: ImageRecord) -> Sheet:
    """Draw the pseudo labels, and the center and offset maps that training renders from them."""
    base = run.picture(image, SMALL_PX)
    instance = run.map(image, "make_pseudo_labels/maps.zarr", "instance").astype(np.int32)
    targets = render_class_agnostic(instance, sigma_px=run.params.train_bestie.sigma_px)
    reach_px = float(np.hypot(*targets.offset)[instance > 0].max(initial=1))
    rows = run.instances(image, "make_pseudo_labels")
    return Sheet(
        "5_targets",
        [
            (count(rows, "pseudo label"), draw_rows(run, base, image, rows, scored=False)),
            ("center map", draw_activation(base, fit_map(targets.center[0], SMALL_PX))),
            ("offset map", draw_offsets(base, targets.center[0], targets.offset, instance, reach_px)),
        ],
        columns=3,
        legend=[*wheel(reach_px), ("center map from 0 to 1", color_bar())],
        notes=["A black dot is the center of a label. Dark pixels belong to no label and have no offset."],
    )


def draw_prediction(run: Run, image: ImageRecord) -> Sheet:
    """Draw the network's three maps, and how its pixels find their centers."""
    base = run.picture(image, LARGE_PX)
    outputs, found = run.predict(image, run.params.export_mrcnn)
    center, offset = class_centers(outputs, image), outputs.offset[0].float().numpy()
    seen = found.instance > 0
    reach_px = float(np.hypot(*offset)[seen].max(initial=1))
    peaks = [Point(int(c), float(y), float(x)) for c, (y, x) in zip(found.category_id, found.center_yx, strict=True)]
    swatch = category_swatches(run.names)
    return Sheet(
        "6_prediction",
        [
            ("its semantic map", draw_semantic(base, fit_map(found.semantic, LARGE_PX))),
            (
                f"its center map: {count(peaks, 'center')}",
                draw_points(draw_activation(base, fit_map(center, LARGE_PX)), peaks, image, sized=False),
            ),
            ("its offset map", draw_offsets(base, np.zeros_like(center), offset, seen.astype(np.int32), reach_px)),
            ("grouping: where the offsets lead", draw_grouping(base, image, offset, found)),
        ],
        legend=[*wheel(reach_px), ("center map from 0 to 1", color_bar()), *(swatch[c - 1] for c in image.labels)],
        notes=["Bottom right: a line leads from a pixel to where its offset points; one color for each instance."],
    )


def draw_refined(run: Run, images: Sequence[ImageRecord]) -> Sheet:
    """Draw for two images the pseudo labels, the refined labels, and the pixels whose loss counts."""
    panels = []
    for image in images:
        base = run.picture(image, SMALL_PX)
        refined = run.refine(image)
        category_id, weight = refined.category[0].numpy(), refined.scores[0].float().numpy()
        instance = fit_map(refined.instance[0].numpy().astype(np.int32), SMALL_PX)
        pseudo = fit_map(run.map(image, "make_pseudo_labels/maps.zarr", "instance"), SMALL_PX) > 0
        rows = run.instances(image, "make_pseudo_labels")
        panels += [
            (count(rows, "pseudo label"), draw_rows(run, base, image, rows, scored=False)),
            (
                f"{count(np.unique(category_id.nonzero()), 'refined label')}, weight W",
                draw_instances(base, instance, category_id, weight),
            ),
            ("where center and offset losses count", draw_guidance(base, pseudo, instance > 0)),
        ]
    return Sheet(
        "7_refined",
        panels,
        columns=3,
        legend=swatches([("pseudo labels", GUIDED), ("only refined labels", REFINED), ("no loss", NO_LOSS)]),
    )


def draw_masks(run: Run, images: Sequence[ImageRecord]) -> Sheet:
    """Draw what the network and Mask R-CNN find on a training and a validation image, beside the truth."""
    detector = load_predictor(folder("train_mrcnn") / "detector.zarr", device="cpu")
    panels = []
    for image in images:
        base = run.picture(image, SMALL_PX)
        ((_, detected),) = detector.find([image], run.params.dataset.image_root)
        in_training = image.split == "train"
        own = run.instances(image, "export_mrcnn") if in_training else run.instances(image, "evaluate", "bestie")
        truth = run.instances(image, "prepare", "ground_truth")
        where = "training image" if in_training else "validation image"
        panels += [
            (f"{where}: network", draw_rows(run, base, image, worth_showing(own))),
            ("Mask R-CNN", draw_rows(run, base, image, worth_showing(detected))),
            ("truth", draw_rows(run, base, image, truth, scored=False)),
        ]
    notes = ["The number is the score. Shown are the masks with at least half of the best score in the image."]
    return Sheet("8_masks", panels, columns=3, notes=notes)


# --- Layers -----------------------------------------------------------------------------------------------------------

GUIDED, REFINED, NO_LOSS = (0, 158, 115), (230, 159, 0), (70, 70, 75)


def draw_rows(run: Run, base: Picture, image: ImageRecord, rows: Rows, *, scored: bool = True) -> Picture:
    """Draw rows of an instance table."""
    size_px = max(base.shape[:2])
    masks = [fit_map(decode_mask(str(row["rle"]), image.height, image.width), size_px) for row in rows]
    category_id = np.array([row["category_id"] for row in rows], np.int64)
    score = np.array([row["score"] for row in rows], np.float64) if scored else None
    return draw_instances(base, masks, category_id, score, names=run.names)


def draw_points(base: Picture, points: Sequence[Point], image: ImageRecord, *, sized: bool = True) -> Picture:
    """Draw cues or centers; `sized` by their scores, otherwise all small."""
    yx = placed([(point.y, point.x) for point in points], base, image)
    category_id = np.array([point.category_id for point in points], np.int64)
    return draw_cues(base, yx, category_id, np.array([point.score * sized for point in points], np.float64))


def draw_offsets(
    base: Picture, center: np.ndarray, offset: np.ndarray, instance: np.ndarray, reach_px: float
) -> Picture:
    """Draw an offset map, and the centers of a center map as dots."""
    size_px = max(base.shape[:2])
    tops = fit_map(np.where(center > PEAK, center, 0), size_px)
    return draw_centers_offsets(base, tops, fit_map(offset, size_px), fit_map(instance, size_px), reach_px=reach_px)


def draw_grouping(base: Picture, image: ImageRecord, offset: np.ndarray, found: Instances) -> Picture:
    """Draw from every few pixels a line to where its offset leads, in the color of the pixel's instance."""
    colors = instance_colors(len(found.category_id))
    drawn = draw_instances(base, fit_map(found.instance, max(base.shape[:2])), found.category_id, names=None)
    drawn = blend(drawn, np.zeros(3, np.uint8), 0.35)
    y, x = np.nonzero(found.instance)
    kept = (y % ARROW_STEP_PX == 0) & (x % ARROW_STEP_PX == 0)
    start = np.stack([y, x], axis=1)[kept]
    end = start + offset[:, y[kept], x[kept]].T
    for first, last, number in zip(
        placed(start, base, image), placed(end, base, image), found.instance[y[kept], x[kept]], strict=True
    ):
        color = blend(colors[number][None, None], np.full(3, 255, np.uint8), 0.4)[0, 0].tolist()
        here, there = (np.rint(yx[::-1]).astype(int).tolist() for yx in (first, last))
        cv2.line(drawn, here, there, color, 1, cv2.LINE_AA)
        cv2.circle(drawn, here, 1, color, cv2.FILLED, cv2.LINE_AA)
    centers = [Point(int(c), float(y), float(x)) for c, (y, x) in zip(found.category_id, found.center_yx, strict=True)]
    return draw_points(drawn, centers, image, sized=False)


def write_numbers(base: Picture, masks: Sequence[np.ndarray], numbers: Sequence[int], avoid_yx: np.ndarray) -> Picture:
    """Write a number on each mask, away from points; beside the mask if it is too small."""
    canvas = Image.fromarray(base)
    draw = ImageDraw.Draw(canvas, "RGBA")
    y, x = np.indices(base.shape[:2])
    for mask, number in zip(masks, numbers, strict=True):
        depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        for dot_y, dot_x in avoid_yx:
            depth = np.minimum(depth, np.hypot(y - dot_y, x - dot_x) - DOT_PX)
        place = np.array(np.unravel_index(int(depth.argmax()), depth.shape))
        if depth.max() < NUMBER_PX / 2:
            place[1] += NUMBER_PX + 2
        middle = (int(place[1]), int(place[0]))
        half = NUMBER_PX // 2 + 1
        corners = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
        draw.rounded_rectangle(corners, radius=4, fill=(25, 25, 30, 190))
        write(draw, middle, str(number), NUMBER_PX, color=(255, 255, 255), anchor="mm")
    return np.array(canvas)


def draw_guidance(base: Picture, pseudo: np.ndarray, refined: np.ndarray) -> Picture:
    """Color the pixels whose center and offset losses count, and darken all others."""
    drawn = blend(base, np.array(NO_LOSS, np.uint8), 0.8)
    for color, mask in ((REFINED, refined), (GUIDED, pseudo)):
        drawn = np.where(mask[..., None], blend(base, np.array(color, np.uint8), 0.65), drawn)
    return drawn


def class_centers(outputs: Outputs, image: ImageRecord) -> np.ndarray:
    """Return the largest center value of the image's classes at each pixel."""
    center = outputs.center[0].float()
    own = center[[label - 1 for label in image.labels]] if len(center) > 1 else center
    return own.amax(dim=0).numpy()


def color_bar() -> Picture:
    """Return the colors of `draw_activation` from 0 to 1."""
    return draw_activation(np.zeros((14, 110, 3), np.uint8), np.tile(np.linspace(0, 1, 110), (14, 1)))


def wheel(reach_px: float) -> list[Panel]:
    """Return the legend of an offset map."""
    return [(f"color: the direction to the center; white: 0 px, rim: {reach_px:.0f} px", offset_wheel(72))]


def enlarge(values: np.ndarray, base: Picture) -> np.ndarray:
    """Return a smooth map at the size of a picture."""
    return cv2.resize(values, (base.shape[1], base.shape[0]), interpolation=cv2.INTER_LINEAR)


def placed(yx: Any, base: Picture, image: ImageRecord) -> np.ndarray:
    """Return where points of the image lie in its enlarged picture."""
    points = np.array(yx, np.float64).reshape(-1, 2)
    return fit_points(points, height=image.height, width=image.width, size_px=max(base.shape[:2]))


def is_on(cue: Point, mask: np.ndarray) -> bool:
    """Return whether a cue lies on a component."""
    return bool(mask[round(cue.y), round(cue.x)])


def count(things: Sequence[Any] | np.ndarray, noun: str) -> str:
    """Return a number with its noun."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def sheets(run: Run, image: ImageRecord, second: ImageRecord, validation: ImageRecord) -> Iterator[Sheet]:
    """Yield the eight pictures, in order."""
    pairs = [image, second]
    steps: Iterable[Callable[[], Sheet]] = (
        lambda: draw_image(run, image),
        lambda: draw_cue_maps(run, image),
        lambda: draw_wsss(run, image),
        lambda: draw_verdicts(run, pairs),
        lambda: draw_targets(run, image),
        lambda: draw_prediction(run, image),
        lambda: draw_refined(run, pairs),
        lambda: draw_masks(run, [image, validation]),
    )
    return (step() for step in steps)


def main() -> None:
    """Draw the pictures of the run in the working directory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", help="image_id of the training image that the page follows")
    parser.add_argument("--second", help="image_id of a training image with other verdicts")
    parser.add_argument("--validation", help="image_id of the validation image at the end")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the pictures")
    given = parser.parse_args()
    try:
        run = Run()
        image = run.record(given.image) if given.image else pick_image(run)
        second = run.record(given.second) if given.second else pick_second(run, image)
        validation = run.record(given.validation) if given.validation else pick_validation(run)
        print(f"image {image.image_id}, second image {second.image_id}, validation image {validation.image_id}")
        for sheet in sheets(run, image, second, validation):
            path = sheet.write(given.out)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
