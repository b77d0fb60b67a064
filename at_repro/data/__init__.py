"""Image sets: `load` reads, lists or generates one by name, `describe` says what there is."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from at_repro.data.names import DATA_SETS, SPLITS, check_name, folder, is_streamed, resolution, training_resolution
from at_repro.errors import DataError, ParameterError, check_choice

if TYPE_CHECKING:
    from at_repro.data.image_set import ImageSet
    from at_repro.data.streamed import Images, StreamedSet

__all__ = [
    "DATA_SETS", "SPLITS", "Description", "ImageSet", "Images", "StreamedSet", "augmentations", "check_name",
    "data_root", "describe", "folder", "is_streamed", "load", "normalization", "resolution",
    "training_resolution",
]  # fmt: skip

# What reads images imports torch, which takes seconds: it is imported where images are read, not where runs are listed.


def __getattr__(name: str) -> object:
    if name in ("ImageSet", "Images", "StreamedSet"):
        from at_repro.data import streamed

        return getattr(streamed, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(
    name: str, split: str, root: str | Path | None = None, subset: int | None = None, download: bool = True
) -> "Images":
    """A split of a data set: in memory or, where its name ends in "-streamed", as a list of files.

    Args:
        name: one of DATA_SETS, or a folder of the data root and a size such as "faces@64", see `folders.load_folder`,
            or "imagenet@224-streamed", see `streamed.load_streamed`.
        split: "train" or "test".
        root: the data root, see `data_root`; not used by generated sets.
        subset: only the first so many images in the set's order; None: all.
        download: whether CIFAR-10 is downloaded where it is not there; nothing else is.

    Returns:
        An ImageSet, whose `images` are uint8 (N, 3, H, W); of a streamed one a StreamedSet, which decodes images where
        `select` or a training asks for them.

    Raises:
        ParameterError: a name, split, subset or data root that is not allowed.
        DataError: the data are missing or damaged, or may not be read.
    """
    from at_repro.data import cifar10, folders, shapes, streamed

    check_name(name)
    check_choice("split", split, SPLITS)
    if name == "shapes":
        return shapes.shapes(split, subset)
    images: Images
    try:
        if name == "cifar10":
            images = cifar10.cifar10(split, data_root(root), download)
        else:
            with suppress(FileNotFoundError):  # what is looked for in it would seem not to be there
                os.scandir(data_root(root) / folder(name)).close()
            read = streamed.load_streamed if is_streamed(name) else folders.load_folder
            images = read(name, split, data_root(root))
    except OSError as error:  # of a folder: files have lines of their own
        raise DataError(f"{error.filename or name}: cannot be read ({error.strerror or error})") from None
    return images if subset is None else images.subset(subset)


def normalization(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation per channel for `augment.normalize`, in units of 0 to 255. Raises ParameterError."""
    from at_repro.data import augment, folders, shapes

    check_name(name)
    known_sets = {"shapes": (shapes.MEAN, shapes.STD), "cifar10": (augment.CIFAR10_MEAN, augment.CIFAR10_STD)}
    return known_sets.get(name, (folders.MEAN, folders.STD))


def augmentations(name: str) -> tuple[str, ...]:
    """What images of this data set can be augmented with: streamed ones as for ImageNet, or not at all."""
    from at_repro.data import augment, streamed

    return streamed.AUGMENTATIONS if is_streamed(name) else tuple(augment.AUGMENTATIONS)


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data sets: the argument, else AT_REPRO_DATA, else a cache folder of the user's.

    The cache folder need not exist. Raises ParameterError where a folder is given that does not.
    """
    for source, text in (("data root", root), ("AT_REPRO_DATA", os.environ.get("AT_REPRO_DATA"))):
        if text:
            try:
                if (path := Path(text).expanduser()).is_dir():
                    return path
            # Too long; an unknown user's home; a number; a null byte.
            except (OSError, RuntimeError, TypeError, ValueError):
                pass
            raise ParameterError(source, str(text), "a folder that exists")
    cache = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")  # of `Path` it raises without a home
    return Path(cache) / "at_repro" / "data"


@dataclass(frozen=True)
class Description:
    """The splits of a data set by name; or, without any, the reason why not."""

    splits: "dict[str, Images]"
    problem: str = ""


def describe(name: str, root: str | Path | None = None) -> Description:
    """Reads a data set and describes it. Downloads nothing; data that are missing or damaged are a `problem`.

    Of a streamed one no more than names and sizes of its files is read.

    Raises ParameterError for an unknown name.
    """
    check_name(name)
    try:
        splits = {split: load(name, split, root, download=False) for split in SPLITS}
        for images in splits.values():
            _ = images.fingerprint  # an empty file of a streamed set is found by it
    except (DataError, ParameterError) as error:
        return Description({}, str(error))
    return Description(splits)
