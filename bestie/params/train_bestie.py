"""Section `train_bestie`: the network with semantic, center and offset heads (Sections 3.2, 3.4, 3.5)."""

from typing import Annotated, Literal

from pydantic import Field

from bestie.params.map_reading import Grouping
from bestie.params.section import Count, CountOrZero, Fraction, Positive, Section, Window, option
from bestie.params.training import Augmentation, Training


class Refinement(Section):
    """Online self-refinement with center clustering (Section 3.5, appendix)."""

    enabled: bool = option(True, "learn from refined labels", "paper")
    cluster: bool = option(True, "find further centers by clustering the offset map", "paper")
    cluster_distance_px: Positive = option(
        100.0, "least distance in px from other centers to one that the offset map shows", "release"
    )
    threshold: Fraction = option(0.3, "least value of a center", "release")
    window_px: Window = option(41, "side in px of the square in which a center is the maximum", "release")
    max_per_component: Count = option(5, "most instances in a component of the WSSS map", "release")
    confidence: Literal["center", "release"] = option("center", "weight of a refined label (Eq. 2)", "paper")
    average: bool = option(False, "halve the sum of pseudo and refined terms (Eq. 3, 4), as the release does", "paper")
    start_fraction: Fraction = option(0.0, "part of the training that runs without refinement", "paper")


class TrainBestie(Training):
    """The network with semantic, center and offset heads (Sections 3.2, 3.4, 3.5)."""

    trained: str | None = option(None, "a finished network to take over, which is not trained further")
    augmentation: Augmentation = option(Augmentation(), "crop, scale, flip and jitter of training images")
    decoder: Literal["fuse", "panoptic_deeplab", "hrnet"] = option("fuse", "how feature maps become the heads' input")
    width: Count = option(64, "channels of the decoder")
    class_wise: bool = option(True, "one center map for each class, or one for all", "paper, appendix")
    sigma_px: Positive = option(
        6.0, "standard deviation in px of the gaussians of the center map", "paper, Section 3.2"
    )
    instance_aware_guidance: bool = option(
        True, "center and offset losses only inside labeled instances (Section 3.4)", "paper"
    )
    refinement: Refinement = option(Refinement(), "online self-refinement")
    lambda_center: Positive = option(200.0, "weight of the center loss (Eq. 6)", "paper")
    lambda_offset: Positive = option(0.01, "weight of the offset loss (Eq. 6)", "paper")
    lambda_semantic: Positive = option(1.0, "weight of the semantic loss (Eq. 6)", "paper")
    hard_pixel_fraction: Annotated[float, Field(gt=0, le=1)] = option(
        1.0, "part of the pixels that the semantic loss keeps, the hardest ones", "paper, Eq. 5"
    )
    hard_pixel_start: Fraction = option(0.5, "part of the training before only hard pixels count")
    background_weight: Positive = option(1.0, "weight of a background pixel in the semantic loss", "paper, Eq. 5")
    class_balance: Fraction = option(0.0, "0: the pixels of all classes count alike; 1: all classes do", "paper, Eq. 5")
    evolution_every: CountOrZero = option(5, "epochs between snapshots (Figures 6 and 7); 0: none")
    evolution_images: Count = option(100, "images of a snapshot")
    snapshot_grouping: Grouping = option(Grouping(), "how the centers of a snapshot are found")
