"""Section `train_wsss`: discriminants of the classes, and the network that makes own semantic maps from them."""

from bestie.params.make_wsss import MakeWsss
from bestie.params.section import Count, CountOrZero, Fraction, Positive, Scales, option
from bestie.params.training import Augmentation, Training


class TrainWsss(Training):
    """Discriminants of the classes, and the network that learns the semantic maps that they give."""

    augmentation: Augmentation = option(Augmentation(), "crop, scale, flip and jitter of training images")
    scales: Scales = option((1.0, 2.0), "sizes at which each image is seen, ascending")
    object_threshold: Fraction = option(0.5, "activation from which a cell counts as an object at first")
    context_threshold: Fraction = option(0.08, "activation of all classes below which it counts as surroundings")
    passes: CountOrZero = option(3, "how often the discriminants are learned again, from the maps that they give")
    shrinkage: Positive = option(5.0, "added to the variances of the features, in units of their mean")
    background: Fraction = option(0.3, "score of background beside the maps of the discriminants")
    boundary_epochs: CountOrZero = option(0, "epochs in which boundaries are learned from first maps, for walk_steps")
    rounds: CountOrZero = option(1, "how often a network learns the maps made so far; 0: the discriminants alone")
    width: Count = option(192, "channels of the decoder")
    class_balance: Fraction = option(0.3, "0: the pixels of all classes count alike; 1: all classes do")
    maps: MakeWsss = option(MakeWsss(), "how the maps of a round are made, which the next one learns")
