"""Section `make_wsss`: semantic maps of the training images, made from image-level labels alone."""

from bestie.params.section import Count, CountOrZero, Positive, Precision, Section, option


class MakeWsss(Section):
    """Semantic maps of the training images, made from image-level labels alone."""

    flip: bool = option(True, "average with the map of the mirror image")
    background_factor: Positive = option(1.5, "probabilities of background times this")
    color_steps: CountOrZero = option(10, "steps of pixel-adaptive refinement; 0: none")
    refined_side_px: Count = option(176, "longer side, at most, of the image at which maps are refined")
    precision: Precision = option("bf16", "bf16 where the device has it, or fp32")
