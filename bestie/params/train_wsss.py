"""Section `train_wsss`: class prototypes, and the network that makes own semantic maps from them."""

from bestie.params.make_wsss import MakeWsss
from bestie.params.section import Count, CountOrZero, Fraction, Scales, option
from bestie.params.training import Augmentation, Training


class TrainWsss(Training):
    """Class prototypes, and the network that learns the semantic maps that they give."""

    augmentation: Augmentation = option(Augmentation(), "crop, scale, flip and jitter of training images")
    scales: Scales = option((1.0, 2.0), "sizes at which each image is seen, ascending")
    prototypes: Count = option(12, "prototypes of a class, and of its surroundings")
    object_threshold: Fraction = option(0.3, "least activation of a cell from which a class learns its prototypes")
    context_threshold: Fraction = option(0.08, "largest activation of all classes in a cell of the surroundings")
    background: Fraction = option(0.4, "score of background beside the maps of the prototypes")
    rounds: CountOrZero = option(1, "how often a network learns the maps made so far; 0: the prototypes alone")
    width: Count = option(192, "channels of the decoder")
    class_balance: Fraction = option(0.3, "0: the pixels of all classes count alike; 1: all classes do")
    maps: MakeWsss = option(MakeWsss(), "how the maps of a round are made, which the next one learns")
