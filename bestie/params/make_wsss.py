"""Section `make_wsss`: semantic maps of the training images, made from image-level labels alone."""

from bestie.params.section import ColorRefinement, CountOrZero, Positive, Precision, option


class MakeWsss(ColorRefinement):
    """Semantic maps of the training images, made from image-level labels alone."""

    color_steps: CountOrZero = option(10, "steps of pixel-adaptive refinement; 0: none")
    walk_steps: CountOrZero = option(0, "steps of a random walk that stops at learned boundaries; 0: none")
    flip: bool = option(True, "average with the map of the mirror image")
    background_factor: Positive = option(1.5, "score of background times this")
    precision: Precision = option("bf16", "bf16 where the device has it, or fp32")
