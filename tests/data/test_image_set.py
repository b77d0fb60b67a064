"""Image sets: subsets, fingerprints and the canonical order."""

import pytest
import torch

from at_repro.data.image_set import ImageSet, canonical_order
from at_repro.errors import ParameterError


def image_set(count: int = 200) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (count, 3, 8, 8), generator=generator).byte()
    labels = torch.arange(count) * 2 // count
    return ImageSet("toy", "train", images, labels, ("a", "b"), masks=images[:, 0] > 127)


def test_subset_takes_the_first_images_with_labels_and_masks():
    whole, part = image_set(), image_set().subset(7)
    assert len(part) == 7
    assert torch.equal(part.images, whole.images[:7]), "a subset has to be a prefix"
    assert torch.equal(part.masks, whole.masks[:7]), "masks have to stay with their images"


@pytest.mark.parametrize("count", [0, -1, 201, 2.0, True])
def test_subset_refuses_a_count_out_of_range(count):
    with pytest.raises(ParameterError, match=r"subset: .* 1 to 200"):
        image_set().subset(count)


def test_fingerprint_sees_pixels_labels_and_order_and_nothing_else():
    one = image_set()
    changed = one.images.clone()
    changed[5, 1, 2, 3] ^= 1
    flip = torch.arange(199, -1, -1)
    renamed = ImageSet("other", "test", one.images, one.labels, ("c", "d"), source="elsewhere")
    relaid = one.images.contiguous(memory_format=torch.channels_last)
    assert renamed.fingerprint == one.fingerprint, "a name or source must not change the fingerprint"
    assert ImageSet("toy", "train", relaid, one.labels, ("a", "b")).fingerprint == one.fingerprint, (
        "memory layout counted"
    )
    for images, labels in [(changed, one.labels), (one.images, 1 - one.labels), (one.images[flip], one.labels[flip])]:
        other = ImageSet("toy", "train", images, labels, ("a", "b"))
        assert other.fingerprint != one.fingerprint, "a change of pixels, labels or order went unseen"


def test_canonical_order_does_not_depend_on_the_order_of_the_source():
    one = image_set()
    shuffle = torch.randperm(len(one), generator=torch.Generator().manual_seed(2))
    first = canonical_order(one.images, one.labels)
    second = canonical_order(one.images[shuffle], one.labels[shuffle])
    assert torch.equal(one.images[first], one.images[shuffle][second]), "two sources give two orders"
    assert torch.equal(one.labels[first], one.labels[shuffle][second]), "labels left their images"
    assert first.sort().values.tolist() == list(range(len(one))), "the order has to be a permutation"


def test_canonical_order_sorts_equal_images_by_label():
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    labels = torch.tensor([3, 1, 2, 0])
    assert labels[canonical_order(images, labels)].tolist() == [0, 1, 2, 3], "the label has to break ties"


def test_canonical_order_mixes_classes():
    one = image_set()
    prefix = one.labels[canonical_order(one.images, one.labels)][:50]
    assert 10 < int(prefix.sum()) < 40, "the source is sorted by class; a prefix in canonical order has to hold both"
