"""Section `make_pseudo_labels`: semantic knowledge transfer (Section 3.3, Listing 4)."""

from bestie.params.section import Count, Section, option


class MakePseudoLabels(Section):
    """Semantic knowledge transfer (Section 3.3, Listing 4)."""

    min_area_px: Count = option(50, "smallest component that becomes a label, in px", "release")
