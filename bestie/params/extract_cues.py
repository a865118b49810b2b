"""Section `extract_cues`: local maxima of the activation maps (Listing 3)."""

from bestie.params.section import Count, Fraction, Precision, Scales, Section, Window, option


class ExtractCues(Section):
    """Local maxima of the activation maps (Listing 3)."""

    threshold: Fraction = option(0.5, "least activation of a cue; the release has 0.7", "paper, appendix")
    window_px: Window = option(15, "a cue is the largest value of a square of this side in px", "release")
    max_per_class: Count = option(25, "most cues of a class on an image", "release")
    scales: Scales = option((1.0,), "sizes of the image whose activation maps are added")
    flip: bool = option(True, "add the activation maps of the mirror image")
    precision: Precision = option("bf16", "bf16 where the device has it, or fp32")
