"""Any other images: a folder of the data root, with a folder for each class or a hub's parquet shards, at one size."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as transforms

from at_repro.data import decoding, names, published_archives
from at_repro.data.image_set import ImageSet, canonical_order
from at_repro.data.parquet import find_shards, read_shards, shard_classes
from at_repro.errors import DataError, check_choice

# Of ImageNet, in units of 0 to 255: natural images of any kind.
MEAN = (123.7, 116.3, 103.5)
STD = (58.4, 57.1, 57.4)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SPLITS = {"train": ("train",), "test": ("test", "validation", "val")}


def load_folder(name: str, split: str, root: Path) -> ImageSet:
    """Reads a split of the images in a folder of the data root.

    The folder holds `train` and `test` (or `validation`, `val`): each a folder with a folder of PNG, JPEG or WebP
    files for each class, or parquet shards `train-00000-of-0000N.parquet`, there or in `data` (see `parquet`); or it is
    one of the published archives, unpacked (see `published_archives`). Each image is made as small as its short side
    allows and cropped to a square in its middle; grey ones get three equal channels. Images are in canonical order
    (see `canonical_order`).

    Args:
        name: folder and size, such as "faces@64", see `names.FOLDERS`.
        split: "train" or "test".
        root: the data root.

    Raises:
        ParameterError: unknown split.
        DataError: nothing is there, an image or shard is damaged, which is named, or the splits' classes differ.
    """
    check_choice("split", split, SPLITS)
    folder, resolution = names.folder(name), names.resolution(name)
    images, labels, classes, source = _read(root / folder, split, resolution)
    check_classes(root / folder, classes, _classes(root / folder, "test" if split == "train" else "train"))
    order = canonical_order(images, labels)
    return ImageSet(name, split, images[order], labels[order], classes, source=str(source))


def _read(folder: Path, split: str, resolution: int) -> tuple[Tensor, Tensor, tuple[str, ...], Path]:
    images: Iterable[Tensor]
    labels: Sequence[int] | Tensor
    if (archive := published_archives.find(folder)) is not None:
        source, classes, photographs = folder, archive.classes, archive.photographs(split)
        images, labels = (_decoded(each.path, each.box) for each in photographs), [each.label for each in photographs]
    elif (source := place(folder, split)).is_dir():
        files, classes = list_images(source)
        images, labels = (_decoded(path) for path, _ in files), [label for _, label in files]
    else:
        images, labels, classes = read_shards(find_shards(folder, source.name))
        source = folder
    if not len(labels):
        raise DataError(f"{source} holds no {split} images")
    return torch.stack([square(image, resolution) for image in images]), torch.as_tensor(labels), classes, source


def _classes(folder: Path, split: str) -> tuple[str, ...]:
    if (archive := published_archives.find(folder)) is not None:
        return archive.classes
    of_split = place(folder, split)
    if of_split.is_dir():
        return list_classes(of_split)
    return shard_classes(find_shards(folder, of_split.name)[0])


def check_classes(folder: Path, classes: Sequence[str], others: Sequence[str]) -> None:
    """Raises DataError, with those that differ, unless the two splits of a folder have the same classes."""
    if classes != others:
        raise DataError(f"{folder}: the classes of its splits differ: {', '.join(sorted({*classes} ^ {*others}))}")


def place(folder: Path, split: str) -> Path:
    """The folder of a split, or the beginning of the names of its shards. Raises DataError where there is neither."""
    for name in SPLITS[split]:
        if (folder / name).is_dir() or find_shards(folder, name):
            return folder / name
    patterns = " or ".join(f"{name}/CLASS/*.png" for name in SPLITS[split])
    raise DataError(f"{folder} holds no {split} images; looked for {patterns} (or JPEG, WebP) and for parquet shards")


def list_images(of_split: Path) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    """The images of a split, a folder with a folder for each class: their files with labels, and the classes' names.

    Links are followed, but no folder is entered twice, nor one that holds the split. Raises DataError where there is no
    class, or one without images.
    """
    classes, files = list_classes(of_split), []
    for label, name in enumerate(classes):
        if not (paths := [path for path in _walk(of_split / name) if path.lower().endswith(IMG_EXTENSIONS)]):
            raise DataError(f"{of_split}: class {name} holds no images")
        files += [(path, label) for path in paths]
    return files, classes


def list_classes(of_split: Path) -> tuple[str, ...]:
    """The names of a split's classes. Raises DataError where it has none."""
    if classes := tuple(sorted(entry.name for entry in os.scandir(of_split) if entry.is_dir())):
        return classes
    raise DataError(f"{of_split} holds no folder of a class")


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder of a class."""
    entered = {_identity(parent) for parent in folder.absolute().parents}
    for root, folders, files in os.walk(folder, followlinks=True):
        if (identity := _identity(root)) in entered:
            folders.clear()
            continue
        entered.add(identity)
        yield from (os.path.join(root, name) for name in files)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """An image whose head is read and no pixel yet. Raises DataError, also for what is read of it inside."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path} is no file")  # a pipe would be waited for
    try:
        with decoding.open_image(path) as image:
            yield image
    except decoding.DAMAGES as error:
        raise DataError(f"{path}: {error}") from None


def open_upright(path: str | Path) -> Image.Image:
    """An image in RGB, upright as one sees it. Raises DataError."""
    with open_image(path) as image:
        return decoding.upright(image)


def _decoded(path: str | Path, box: tuple[int, int, int, int] | None = None) -> Tensor:
    """An image as uint8 (3, H, W), upright; of its part in a box (left, top, right, bottom). Raises DataError."""
    upright = open_upright(path)
    return transforms.pil_to_tensor(upright if box is None else upright.crop(box))


def square(image: Tensor, resolution: int) -> Tensor:
    """The middle of an image of a folder's data set: uint8 (3, H, W) to (3, resolution, resolution)."""
    return transforms.center_crop(transforms.resize(image, [resolution], antialias=True), [resolution])
