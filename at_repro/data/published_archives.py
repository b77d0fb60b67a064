"""The archives of CUB-200-2011 and MIT Indoor Scenes as their authors publish them, unpacked into a folder.

- CUB-200-2011: `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `bounding_boxes.txt`, `classes.txt` and
  `images/`, in the folder or in `CUB_200_2011/` within. Every photograph is cropped to its bird (Section 4.2).
- MIT Indoor Scenes: `TrainImages.txt`, `TestImages.txt` and `Images/CLASS/`.
"""

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from at_repro.errors import DataError

NAMES = {"cub200": "CUB-200-2011", "indoor67": "MIT Indoor Scenes"}
"""Folders of the data root whose errors stand beside the paper's: nothing but these archives is read from them."""


class Photograph(NamedTuple):
    """Where a photograph lies, its class, and the part of it that counts: left, top, right, bottom; None: all."""

    path: str | Path
    label: int
    box: tuple[int, int, int, int] | None = None


def read(folder: Path, split: str) -> tuple[list[Photograph], tuple[str, ...]] | None:
    """The photographs of a split, and the names of the classes, of the archive that was unpacked into this folder.

    None where it is none. Raises DataError where one is damaged, and where there is none in a folder of NAMES: the same
    photographs from elsewhere may be split or cropped in another way.
    """
    for birds in (folder, folder / "CUB_200_2011"):
        if (birds / "train_test_split.txt").is_file():
            return _birds(birds, split)
    if (folder / "TrainImages.txt").is_file() and (folder / "Images").is_dir():
        return _scenes(folder, split)
    if folder.name in NAMES:
        raise DataError(
            f"{folder} holds no unpacked archive of {NAMES[folder.name]}; other copies of it are read from folders "
            "of other names, and not held against the paper"
        )
    return None


def _birds(folder: Path, split: str) -> tuple[list[Photograph], tuple[str, ...]]:
    lists = ("images", "image_class_labels", "train_test_split", "bounding_boxes", "classes")
    names, labels, splits, boxes, classes = (_by_number(folder / f"{name}.txt") for name in lists)
    if not names.keys() == labels.keys() == splits.keys() == boxes.keys() or not set(labels.values()) <= set(classes):
        raise DataError(f"{folder}: its lists do not name the same photographs; unpack the archive again")
    order = list(classes)
    photographs = [
        Photograph(folder / "images" / name, order.index(labels[key]), _box(folder, boxes[key]))
        for key, name in names.items()
        if (splits[key] == "1") == (split == "train")
    ]
    return photographs, tuple(name.split(".", 1)[-1].replace("_", " ") for name in classes.values())


def crop(image: Image.Image, box: tuple[int, int, int, int], path: str | Path) -> Image.Image:
    """The part of the photograph at `path` in its box. Raises DataError where the box reaches out of the picture.

    By one pixel it may, as where pixels were counted from 1: that pixel is left out.
    """
    left, top, right, bottom = box
    inside = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    outside = max(abs(side - limit) for side, limit in zip(box, inside, strict=True))
    if outside > 1 or inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise DataError(
            f"{path}: its box in bounding_boxes.txt, from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), "
            f"is not within its {image.width} x {image.height} pixels"
        )
    return image.crop(inside)


def _box(folder: Path, numbers: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = map(float, numbers.split())
        box = round(left), round(top), round(left + width), round(top + height)
        if box[0] < box[2] and box[1] < box[3]:
            return box
    except (ValueError, OverflowError):  # no four numbers, or none that are finite
        pass
    raise DataError(f"{folder / 'bounding_boxes.txt'}: {numbers!r} is no box")


def _scenes(folder: Path, split: str) -> tuple[list[Photograph], tuple[str, ...]]:
    of_split = {part: _lines(folder / f"{part.capitalize()}Images.txt") for part in ("train", "test")}
    classes = sorted({name.split("/")[0] for names in of_split.values() for name in names})
    photographs = [Photograph(folder / "Images" / name, classes.index(name.split("/")[0])) for name in of_split[split]]
    return photographs, tuple(classes)


def _by_number(path: Path) -> dict[str, str]:
    """What a text file says of each number that its lines begin with."""
    lines = [line.partition(" ") for line in _lines(path)]
    if faults := [number for number, _, rest in lines if not rest]:
        raise DataError(f"{path}: nothing stands behind {faults[0]!r}")
    return {number: rest for number, _, rest in lines}


def _lines(path: Path) -> list[str]:
    if not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path}: is missing, or no file")
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
