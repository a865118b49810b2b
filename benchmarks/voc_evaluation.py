"""VOC's instance AP on tables of the size of VOC's validation set: `python -m benchmarks.voc_evaluation`."""

import resource

from benchmarks.common import line, measure, start
from benchmarks.scenes import draw_mask_tables
from bestie.metrics.voc_scores import voc_ap

IMAGES, TRUE_MASKS, PREDICTED_MASKS, CLASSES = 1_449, 7_245, 11_592, 20
THRESHOLDS = (0.25, 0.5, 0.7, 0.75)


def peak_mb() -> float:
    """Return the peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Time the evaluation from RLE, and print how much memory it adds."""
    options = start(
        f"VOC evaluation: {IMAGES:,} images of 375 x 500 px, {TRUE_MASKS:,} true and "
        f"{PREDICTED_MASKS:,} predicted masks"
    )
    truth, found = draw_mask_tables(images=IMAGES, true_masks=TRUE_MASKS, predicted_masks=PREDICTED_MASKS)
    before = peak_mb()
    timing = measure(
        lambda: voc_ap(truth, found, num_classes=CLASSES, iou_thresholds=THRESHOLDS), repeats=options.repeats
    )
    line("voc_ap at four thresholds", timing.per(1))
    line("memory that it adds", f"{peak_mb() - before:.0f} MB")
    line("peak of the whole process, libraries included", f"{peak_mb():.0f} MB")
    line("the release (recorded elsewhere)", "5.6 s, 4 GB")
    line("wanted", "at most 1.5 s, 500 MB")


if __name__ == "__main__":
    main()
