"""The archives of CUB-200-2011 and MIT Indoor Scenes as their authors publish them, unpacked into a folder.

- CUB-200-2011: `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `bounding_boxes.txt`, `classes.txt` and
  `images/`, in the folder or in `CUB_200_2011/` within. Every photograph is cropped to its bird (Section 4.2).
- MIT Indoor Scenes: `TrainImages.txt`, `TestImages.txt` and `Images/CLASS/`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from at_repro.errors import DataError

NAMES = {"cub200": "CUB-200-2011", "indoor67": "MIT Indoor Scenes"}
"""Folders of the data root whose errors stand beside the paper's: nothing but these archives is read from them."""


class Photograph(NamedTuple):
    """Where a photograph lies, its class, and the part of it that counts: left, top, right, bottom; None: all."""

    path: Path
    label: int
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Archive:
    """A published data set: the names of its classes, and `photographs(split)` for "train" and "test"."""

    classes: tuple[str, ...]
    photographs: Callable[[str], list[Photograph]]


def find(folder: Path) -> Archive | None:
    """The archive that was unpacked into this folder; None where it is none.

    Raises DataError where one is damaged, and where there is none in a folder of NAMES: the same photographs from
    elsewhere may be split or cropped in another way.
    """
    for birds in (folder, folder / "CUB_200_2011"):
        if (birds / "train_test_split.txt").is_file():
            return _birds(birds)
    if (folder / "TrainImages.txt").is_file() and (folder / "Images").is_dir():
        return _scenes(folder)
    if folder.name in NAMES:
        raise DataError(
            f"{folder} holds no unpacked archive of {NAMES[folder.name]}; other copies of it are read from folders "
            "of other names, and not held against the paper"
        )
    return None


def _birds(folder: Path) -> Archive:
    names = {key: name for key, name in _table(folder / "images.txt", 2)}
    labels = {key: label for key, label in _table(folder / "image_class_labels.txt", 2)}
    trained = {key: flag == "1" for key, flag in _table(folder / "train_test_split.txt", 2)}
    boxes = {key: box for key, *box in _table(folder / "bounding_boxes.txt", 5)}
    classes = {key: name for key, name in _table(folder / "classes.txt", 2)}
    order = {key: place for place, key in enumerate(classes)}
    if not names.keys() == labels.keys() == trained.keys() == boxes.keys() or not set(labels.values()) <= set(classes):
        raise DataError(f"{folder}: its lists do not name the same photographs; unpack the archive again")

    def photographs(split: str) -> list[Photograph]:
        return [
            Photograph(folder / "images" / name, order[labels[key]], _box(folder, boxes[key]))
            for key, name in names.items()
            if trained[key] == (split == "train")
        ]

    return Archive(tuple(name.split(".", 1)[-1].replace("_", " ") for name in classes.values()), photographs)


def _box(folder: Path, numbers: list[str]) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = map(float, numbers)
        box = round(left), round(top), round(left + width), round(top + height)
        if box[0] < box[2] and box[1] < box[3]:
            return box
    except (ValueError, OverflowError):  # no numbers, or none that are finite
        pass
    raise DataError(f"{folder / 'bounding_boxes.txt'}: {' '.join(numbers)!r} is no box")


def _scenes(folder: Path) -> Archive:
    lists = {split: folder / f"{split.capitalize()}Images.txt" for split in ("train", "test")}
    named = {split: [name for (name,) in _table(path, 1)] for split, path in lists.items()}
    classes = sorted({name.split("/")[0] for names in named.values() for name in names})

    def photographs(split: str) -> list[Photograph]:
        return [Photograph(folder / "Images" / name, classes.index(name.split("/")[0]), None) for name in named[split]]

    return Archive(tuple(classes), photographs)


def _table(path: Path, columns: int) -> list[list[str]]:
    """The lines of a text file, each split at spaces into so many words, the last of which may hold spaces."""
    if not path.is_file():
        raise DataError(f"{path} is missing, or no file")
    try:
        rows = [line.strip().split(" ", columns - 1) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    for row in rows:
        if len(row) != columns:
            raise DataError(f"{path}: {' '.join(row)!r} has not {columns} parts")
    return rows
