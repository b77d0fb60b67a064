"""A labelled set of images of one size, held in memory."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from at_repro.data.augment import AUGMENTATIONS
from at_repro.errors import check_count


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and labels of one split of a data set.

    Attributes:
        name: the data set, as `data.load` knows it.
        split: "train" or "test".
        images: uint8 (N, 3, H, W), RGB, 0 to 255.
        labels: int64 (N,), indices into `classes`.
        classes: the names of the classes.
        masks: bool (N, H, W), true on the object; None where the data set has none.
        source: where the images come from, for the record: "generated" or a folder.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    masks: Tensor | None = None
    source: str = "generated"

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, count: int) -> "ImageSet":
        """The first `count` images. Raises ParameterError unless 1 <= count <= N."""
        check_count("subset", count, most=len(self))
        return self.select(slice(count))

    def select(self, indices: Tensor | slice) -> "ImageSet":
        """The images at these indices: an int64 tensor, whose order is kept, or a slice."""
        masks = None if self.masks is None else self.masks[indices]
        return replace(self, images=self.images[indices], labels=self.labels[indices], masks=masks)

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set with its tensors on `device`."""
        masks = None if self.masks is None else self.masks.to(device)
        return replace(self, images=self.images.to(device), labels=self.labels.to(device), masks=masks)

    @property
    def device(self) -> torch.device:
        """Where images and labels are."""
        return self.images.device

    @property
    def draw_device(self) -> torch.device:
        """Where the generator of `batches` draws: beside the images, so that nothing waits for it."""
        return self.device

    @property
    def resolution(self) -> int:
        """Width of the images in pixels."""
        return self.images.shape[-1]

    def chunks(self, size: int) -> Iterator["ImageSet"]:
        """All images in their order, `size` at a time; the last chunk may be smaller."""
        for start in range(0, len(self), size):
            yield self.select(slice(start, start + size))

    def batches(
        self,
        order: Tensor,
        size: int,
        augmentation: str,
        generator: torch.Generator,
        part: Callable[[Tensor], Tensor],
        first: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches to train on: uint8 (n, 3, h, w), augmented, and int64 labels (n,), on the device of the set.

        Args:
            order: int64, the indices of the images in the order in which they are seen.
            size: images per batch; the last batch may be smaller.
            augmentation: one of `augment.AUGMENTATIONS`.
            generator: of the augmentation. It advances by whole batches, whatever is yielded of them.
            part: what is kept of a tensor of the whole batch, such as this process's part.
            first: the batch to begin with; those before it are drawn and not yielded.
        """
        for number, indices in enumerate(order.to(self.device).split(size)):
            batch = AUGMENTATIONS[augmentation](self.images[indices], generator)
            if number >= first:
                yield part(batch), part(self.labels[indices])

    @property
    def names(self) -> list[str]:
        """The class of each image, by its name."""
        return [self.classes[label] for label in self.labels.tolist()]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of shape, pixels and labels in their order; name, source and device do not enter."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)  # in index order, whatever device and memory layout
        return digest.hexdigest()


def canonical_order(images: Tensor, labels: Tensor) -> Tensor:
    """The order in which a data set that is read from files is kept: by the BLAKE2b digest of the image, then by label.

    The same CIFAR-10 arrives in different row orders from torchvision's batches and from a hub's parquet shards. Runs,
    per-image predictions and subsets have to be the same whatever the source, so the order may depend on the content
    alone. Digests are as good as random: any prefix of the order is a random sample of the set, its classes mixed.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).

    Returns:
        int64 (N,), indices that sort the set. Images that agree in pixels and label are interchangeable.
    """
    pixels = images.cpu().contiguous().numpy()
    digests = [hashlib.blake2b(image.data, digest_size=16).digest() for image in pixels]
    keys = list(zip(digests, labels.tolist(), strict=True))
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.int64)
