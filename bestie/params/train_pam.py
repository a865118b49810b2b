"""Section `train_pam`: the classifier with the peak attention module (Section 3.3, Figure 10)."""

from typing import Literal

from bestie.params.section import Count, CountOrZero, Fraction, option
from bestie.params.training import Augmentation, Training


class TrainPam(Training):
    """The classifier with the peak attention module (Section 3.3, Figure 10)."""

    trained: str | None = option(None, "a finished classifier to take over, which is not trained further")
    augmentation: Augmentation = option(Augmentation(), "crop, scale, flip and jitter of training images")
    width: Count = option(256, "channels of the three added convolution layers; 512 in Figure 10")
    alpha: Fraction = option(
        0.7, "PAM zeroes what is below alpha times its channel's maximum (Eq. 1)", "paper, Table 7"
    )
    attention_layers: tuple[Literal[4, 5, 6], ...] = option(
        (6,), "added layers that have the module; () is a plain CAM", "paper, Table 8"
    )
    plain_epochs: CountOrZero = option(0, "first epochs without the module", "paper")
    pointwise_start: bool = option(True, "added layers start as 1 x 1 filters; false: He initialization")
