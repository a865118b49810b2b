"""How instances are read from the maps of a network: shared by `export_mrcnn` and `evaluate`."""

from bestie.params.section import ColorRefinement, Count, Fraction, Precision, Scales, Section, Window, option


class Grouping(Section):
    """Centers of a center map: maxima of a `window_px` square above `threshold` (Section 3.2)."""

    window_px: Window = option(41, "side of the square in px", "release")
    threshold: Fraction = option(0.1, "least value of a center", "release")


class MapReading(ColorRefinement):
    """How maps are predicted, and instances read from them."""

    grouping: Grouping = option(Grouping(), "how centers are found")
    flip: bool = option(True, "average the maps of the image and its mirror image")
    semantic_scales: Scales = option((1.0,), "sizes of the image whose semantic maps (logits) are averaged")
    instance_scales: Scales = option((1.0,), "sizes of the image whose center and offset maps are averaged")
    min_area_px: Count = option(16, "smallest instance in px; the release has 50")
    precision: Precision = option("bf16", "bf16 where the device has it, or fp32")
