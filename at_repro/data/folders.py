"""Any other images: a folder of the data root, with a folder for each class or a hub's parquet shards, at one size."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as transforms

from at_repro.data import decoding, names, published_archives
from at_repro.data.image_set import ImageSet, canonical_order
from at_repro.data.parquet import find_shards, read_shards, shard_classes
from at_repro.data.published_archives import Photograph
from at_repro.errors import DataError

# Of ImageNet, in units of 0 to 255: natural images of any kind.
MEAN = (123.7, 116.3, 103.5)
STD = (58.4, 57.1, 57.4)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# What pictures are called as, also those that are not read here: they are named, and not left out.
PICTURES = (
    *IMG_EXTENSIONS, ".apng", ".avif", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".pnm",
    ".tga",
)  # fmt: skip
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "validation", "val")}
OTHER = {"train": "test", "test": "train"}


def load_folder(name: str, split: str, root: Path) -> ImageSet:
    """Reads a split of the images in a folder of the data root.

    The folder holds `train` and `test` (or `validation`, `val`): each a folder with a folder of PNG, JPEG, WebP or
    GIF files for each class, or parquet shards `train-00000-of-0000N.parquet`, there or in `data` (see `parquet`); or
    it is one of the published archives, unpacked (see `published_archives`). Each image is made as small as its short
    side allows and cropped to a square in its middle; grey ones get three equal channels. Images are in canonical order
    (see `canonical_order`).

    Args and errors as of `data.load`: an image or shard that is damaged is named, classes in which splits differ, and
    those of one name.
    """
    folder, resolution = names.folder(name), names.resolution(name)
    check_classes(root / folder, *(_classes(root / folder, part) for part in (split, OTHER[split])))
    images, labels, classes, source = _read(root / folder, split, resolution)
    order = canonical_order(images, labels)
    return ImageSet(name, split, images[order], labels[order], classes, source=str(source))


def _read(folder: Path, split: str, resolution: int) -> tuple[Tensor, Tensor, tuple[str, ...], Path]:
    small = partial(square, resolution=resolution)
    archive, source = published_archives.read(folder, split), folder
    if archive is None and not (source := split_folder(folder, split)).is_dir():
        images, labels, classes = read_shards(find_shards(folder, source.name), prepare=small)
        source = folder
    else:
        photographs, classes = archive or list_images(source, split_folder(folder, OTHER[split]))
        images = [small(_decode(photograph)) for photograph in photographs]
        labels = torch.tensor([photograph.label for photograph in photographs])
    if not len(labels):
        raise DataError(f"{source} holds no {split} images")
    return torch.stack(images), labels, classes, source


def _classes(folder: Path, split: str) -> tuple[str, ...]:
    if archive := published_archives.read(folder, split):
        return archive[1]
    of_split = split_folder(folder, split)
    return list_classes(of_split) if of_split.is_dir() else shard_classes(find_shards(folder, of_split.name)[0])


def check_classes(folder: Path, classes: Sequence[str], others: Sequence[str]) -> None:
    """Raises DataError unless the two splits of a folder have the same classes, each with a name of its own."""
    if repeated := [name for name, count in Counter(classes).items() if count > 1]:
        raise DataError(f"{folder}: more than one of its classes is named {', '.join(map(repr, repeated))}")
    if classes != others:
        raise DataError(f"{folder}: the classes of its splits differ: {', '.join(sorted({*classes} ^ {*others}))}")


def split_folder(folder: Path, split: str) -> Path:
    """The folder of a split, or the beginning of the names of its shards. Raises DataError where there is neither."""
    for name in SPLIT_FOLDERS[split]:
        if (folder / name).is_dir() or find_shards(folder, name):
            return folder / name
    patterns = " or ".join(f"{name}/CLASS/*.png" for name in SPLIT_FOLDERS[split])
    shards = " or ".join(f"{name}-00000-of-0000N.parquet" for name in SPLIT_FOLDERS[split])
    raise DataError(f"{folder} holds no {split} images; looked for {patterns} (or JPEG, WebP) and for {shards}")


def list_images(of_split: Path, other: Path) -> tuple[list[Photograph], tuple[str, ...]]:
    """The images of a split, a folder with a folder for each class, and the classes' names.

    A class and a file may be links; links to folders within a class are not followed. `other` is the folder of the
    other split, if it has one. Files that no picture is called as are passed over. Raises DataError where there is no
    class, for a class without images, and where a link lets an image count twice, in one split or in both; OSError
    where a folder cannot be read.
    """
    classes, photographs = list_classes(of_split), []
    _check_links([*(of_split / name for name in classes), *other.glob("*/")])
    for label, name in enumerate(classes):
        images = [file for file in _files(of_split / name) if file.name.lower().endswith(PICTURES)]
        if not images:
            raise DataError(f"{of_split}: class {name} holds no images")
        _check_linked_images(images, (of_split, other))
        photographs += [Photograph(image.path, label) for image in images]
    return photographs, classes


def _files(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """All files below a folder. Their entries know without a look at the disk whether they are links; unlike `os.walk`
    it does not go on without a folder that cannot be read, whose images nobody would miss."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif not (entry.is_symlink() and os.path.isdir(entry)):
                yield entry


def _check_links(classes: Iterable[Path]) -> None:
    places = sorted((path.resolve(), path) for path in classes)  # what lies in a folder follows it
    for (place, path), (next_place, next_path) in pairwise(places):
        if next_place.is_relative_to(place):
            raise DataError(f"{next_path} is {path}, or lies in it, by a link: images would count twice")


def _check_linked_images(images: Iterable[os.DirEntry[str]], splits: Sequence[Path]) -> None:
    """Links that lead out of the data set are as good as copies: hubs keep their images so."""
    inside = tuple(f"{split.resolve()}{os.sep}" for split in splits)
    for link in filter(os.DirEntry.is_symlink, images):
        if (image := os.path.realpath(link)).startswith(inside):
            raise DataError(f"{link.path} is {image} by a link: it would count twice")


def list_classes(of_split: Path) -> tuple[str, ...]:
    """The names of a split's classes. Raises DataError where it has none or a link to nothing, OSError where it cannot
    be read."""
    entries = list(os.scandir(of_split))
    for entry in entries:
        if not os.path.exists(entry):
            raise DataError(f"{entry.path} is a link to nothing")
    classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise DataError(f"{of_split} holds no folder of a class")
    return tuple(classes)


def _decode(photograph: Photograph) -> Tensor:
    """The part of an image that counts, upright, as uint8 (3, H, W). Raises DataError."""
    image = decoding.open_upright(photograph.path)
    if photograph.box:
        image = published_archives.crop(image, photograph.box, photograph.path)
    return transforms.pil_to_tensor(image)


def load_square(path: str | Path, resolution: int) -> Tensor:
    """The middle of a picture, upright: uint8 (3, resolution, resolution). Raises DataError."""
    return square(transforms.pil_to_tensor(decoding.open_upright(path)), resolution)


def square(image: Tensor, resolution: int) -> Tensor:
    """The middle of an image of a folder's data set: uint8 (3, H, W) to (3, resolution, resolution)."""
    return transforms.center_crop(transforms.resize(image, [resolution], antialias=True), [resolution])
