"""The classes of an image alone: center maps and labels with one channel for each class that is present.

COCO has 80 classes, and an image about three. Whatever is computed for each class of the data set at the size of the
image (center maps, their targets, refinement) is therefore computed for the classes of the image, which are numbered
1..p within it. The center maps of all other classes should be 0 everywhere, and a loss with this target needs no map of
the size of the image (`bestie.method.resizing.resized_square_sum`).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from bestie.records import VOID

#: The number of a class that the image does not have. An image with all 254 classes, whose last has this number, has
#: no such class.
ABSENT = VOID - 1


@dataclass(frozen=True)
class OwnClasses:
    """The classes of each image of a batch.

    Column k - 1 of `category_id` is the category_id of an image's own class k, in ascending order, and 0 in unused
    columns.
    """

    category_id: Int[Tensor, "b p"]

    @property
    def used(self) -> Bool[Tensor, "b p"]:
        """Whether each column is a class."""
        return self.category_id > 0

    def number(self, category: Integer[Tensor, "b ..."]) -> Integer[Tensor, "b ..."]:
        """Replace each category_id by the image's own number of this class, or by `ABSENT`; 0 and void stay."""
        batch, columns = self.category_id.shape
        numbers = torch.arange(1, columns + 1, dtype=category.dtype, device=category.device)
        table = category.new_full((batch, VOID + 1), ABSENT)
        table.scatter_(1, self.category_id, numbers.expand(batch, columns))
        table[:, 0], table[:, VOID] = 0, VOID  # unused columns have written to column 0
        return table.gather(1, category.flatten(1).long()).view_as(category)

    def labels(self, labels: Float[Tensor, "b c"]) -> Float[Tensor, "b p"]:
        """Return the image-level labels of the own classes, 0 in unused columns."""
        return labels.gather(1, (self.category_id - 1).clamp(min=0)) * self.used

    def channels(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b p y x"]:
        """Return the maps of the own classes, 0 in unused columns."""
        image = torch.arange(len(maps), device=maps.device)[:, None]
        chosen = maps[image, (self.category_id - 1).clamp(min=0)]
        return torch.where(self.used[:, :, None, None], chosen, 0.0)

    def other_channels(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Return the maps with 0 in place of those of the own classes."""
        return torch.where(self._is_own(maps.shape[1])[:, :, None, None], 0.0, maps)

    def logits(self, semantic_logits: Float[Tensor, "b classes h w"]) -> Float[Tensor, "b k h w"]:
        """Return logits of the background, the own classes and all others as one, with the same probabilities."""
        background, classes = semantic_logits[:, :1], semantic_logits[:, 1:]
        is_own = self._is_own(classes.shape[1])[:, :, None, None]
        own = self.channels(classes).masked_fill(~self.used[:, :, None, None], -torch.inf)
        others = classes.masked_fill(is_own, -torch.inf).logsumexp(dim=1, keepdim=True)
        return torch.cat((background, own, others), dim=1)

    def _is_own(self, num_classes: int) -> Bool[Tensor, "b c"]:
        table = torch.zeros((len(self.category_id), num_classes + 1), dtype=torch.bool, device=self.category_id.device)
        return table.scatter_(1, self.category_id, self.used)[:, 1:]


def find_own_classes(labels: Float[Tensor, "b c"], *categories: Integer[Tensor, "b _"] | None) -> Int[Tensor, "b p"]:
    """Return the `category_id` of `OwnClasses`: classes of the image-level labels, or of an instance or a point.

    Args:
        labels: above 0 for the categories of an image.
        categories: the category_id of each instance or point, 0 in unused columns.
    """
    present = torch.nn.functional.pad(labels > 0, (1, 0))
    for category in categories:
        if category is not None:
            present.scatter_(1, category.long(), torch.ones_like(category, dtype=torch.bool))
    rows = [row[row > 0] for row in (each.nonzero().squeeze(1) for each in present)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return torch.nn.functional.pad(padded, (0, max(0, 1 - padded.shape[1])))  # at least one column
