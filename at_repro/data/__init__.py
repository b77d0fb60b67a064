"""Image sets: `load` reads, lists or generates one by name, `describe` says what there is."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from at_repro.data import cifar10 as _cifar10
from at_repro.data import folders as _folders
from at_repro.data import shapes as _shapes
from at_repro.data import streamed as _streamed
from at_repro.data.augment import AUGMENTATIONS, CIFAR10_MEAN, CIFAR10_STD
from at_repro.data.image_set import ImageSet
from at_repro.data.streamed import StreamedSet
from at_repro.errors import DataError, ParameterError, check_choice

Images = ImageSet | StreamedSet

__all__ = [
    "DATA_SETS",
    "SPLITS",
    "Description",
    "ImageSet",
    "Images",
    "StreamedSet",
    "augmentations",
    "check_name",
    "data_root",
    "describe",
    "folder",
    "is_streamed",
    "load",
    "normalization",
    "resolution",
    "size",
]

SPLITS = ("train", "test")


@dataclass(frozen=True)
class _DataSet:
    """How to get a data set, and the constants it is normalised with.

    `read` takes split, subset, data root and whether it may download.
    """

    read: Callable[[str, int | None, str | Path | None, bool], Images]
    sizes: dict[str, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def _read_shapes(split: str, subset: int | None, root: str | Path | None, download: bool) -> ImageSet:
    return _shapes.shapes(split, subset)


def _read_cifar10(split: str, subset: int | None, root: str | Path | None, download: bool) -> ImageSet:
    images = _cifar10.cifar10(split, data_root(root), download)
    return images if subset is None else images.subset(subset)


_REGISTRY = {
    "shapes": _DataSet(_read_shapes, _shapes.SIZES, _shapes.MEAN, _shapes.STD),
    "cifar10": _DataSet(_read_cifar10, _cifar10.SIZES, CIFAR10_MEAN, CIFAR10_STD),
}
DATA_SETS = tuple(_REGISTRY)


def check_name(name: str) -> None:
    """Raises ParameterError unless `name` is one of DATA_SETS, or as `folders.NAMING` or `streamed.NAMING` says."""
    if name not in DATA_SETS and _folder(name) is None:  # a tuple: a spec from JSON may hold what has no hash
        raise ParameterError("data set", name, [*DATA_SETS, _folders.NAMING, _streamed.NAMING])


def is_streamed(name: str) -> bool:
    """Whether the images of this data set stay in their files, see `streamed`."""
    return _streamed.parse(name) is not None


def _folder(name: object) -> tuple[str, int] | None:
    """The folder and resolution that a name stands for; None for one of DATA_SETS and for no name."""
    return _folders.parse(name) or _streamed.parse(name)


def load(
    name: str, split: str, root: str | Path | None = None, subset: int | None = None, download: bool = True
) -> Images:
    """A split of a data set: in memory or, where its name ends in "-streamed", as a list of files.

    Args:
        name: one of DATA_SETS, or a folder of the data root and a size such as "faces@64", see `folders.load_folder`,
            or "imagenet@224-streamed", see `streamed.load_streamed`.
        split: "train" or "test".
        root: the data root, see `data_root`; not used by generated sets.
        subset: only the first so many images in the set's order; None: all.
        download: whether to fetch what is not there.

    Raises:
        ParameterError: a name, split, subset or data root that is not allowed.
        DataError: the data are missing or damaged.
    """
    return _named(name).read(split, subset, root, download)


def _named(name: str) -> _DataSet:
    check_name(name)
    return (
        _REGISTRY[name] if name in _REGISTRY else _DataSet(partial(_read_folder, name), {}, _folders.MEAN, _folders.STD)
    )


def _read_folder(name: str, split: str, subset: int | None, root: str | Path | None, download: bool) -> Images:
    images = (_streamed.load_streamed if is_streamed(name) else _folders.load_folder)(name, split, data_root(root))
    return images if subset is None else images.subset(subset)


def size(name: str, split: str) -> int:
    """Number of images of a split, known without reading it. Raises ParameterError unless the name is in DATA_SETS."""
    check_choice("data set", name, DATA_SETS)
    return _REGISTRY[name].sizes[split]


def resolution(name: str) -> int:
    """Height and width of the images in pixels, known without reading them. Raises ParameterError for a wrong name."""
    check_name(name)
    found = _folder(name)
    return 32 if found is None else found[1]


def folder(name: str) -> str:
    """The folder of the data root that a user's own data set is in. Raises ParameterError for one of DATA_SETS."""
    if (found := _folder(name)) is None:
        raise ParameterError("data set", name, [_folders.NAMING, _streamed.NAMING])
    return found[0]


def normalization(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation per channel for `augment.normalize`, in units of 0 to 255. Raises ParameterError."""
    named = _named(name)
    return named.mean, named.std


def augmentations(name: str) -> tuple[str, ...]:
    """What images of this data set can be augmented with: streamed ones as for ImageNet, or not at all."""
    return _streamed.AUGMENTATIONS if is_streamed(name) else tuple(AUGMENTATIONS)


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data sets: the argument, else AT_REPRO_DATA, else a cache folder of the user's.

    The cache folder need not exist. Raises ParameterError where a folder is given that does not.
    """
    for source, given in (("data root", root), ("AT_REPRO_DATA", os.environ.get("AT_REPRO_DATA"))):
        if given:
            try:
                path = Path(given).expanduser()
                found = path.is_dir()
            except (
                OSError,
                RuntimeError,
                TypeError,
                ValueError,
            ):  # too long; an unknown user's home; a number; a null byte
                found = False
            if not found:
                raise ParameterError(source, str(given), "a folder that exists")
            return path
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "at_repro" / "data"


@dataclass(frozen=True)
class SplitDescription:
    """One split: number of images, their (height, width), number of images per class, fingerprint."""

    images: int
    size: tuple[int, int]
    class_counts: dict[str, int]
    fingerprint: str


@dataclass(frozen=True)
class Description:
    """What is known of a data set: where it was found and its splits; or, with neither, the reason why not."""

    name: str
    source: str | None
    splits: dict[str, SplitDescription]
    problem: str | None = None


def describe(name: str, root: str | Path | None = None) -> Description:
    """Reads a data set and describes it. Downloads nothing; data that are missing or damaged are a `problem`.

    Of a streamed one no more than names and sizes of its files is read.

    Raises ParameterError for an unknown name.
    """
    named = _named(name)
    try:
        loaded = {split: named.read(split, None, root, False) for split in SPLITS}
        found = {split: _describe(images) for split, images in loaded.items()}
    except (DataError, ParameterError) as error:
        return Description(name, None, {}, str(error))
    return Description(name, loaded["train"].source, found)


def _describe(images: Images) -> SplitDescription:
    counts = images.labels.bincount(minlength=len(images.classes)).tolist()
    return SplitDescription(
        images=len(images),
        size=(images.resolution, images.resolution),
        class_counts=dict(zip(images.classes, counts, strict=True)),
        fingerprint=images.fingerprint,
    )
