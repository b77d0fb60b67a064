"""What the name of a data set says before any image is read: its folder, its resolution, how it is held."""

import re
from typing import NamedTuple

from at_repro.errors import ParameterError

SIZES = {"shapes": {"train": 10_000, "test": 2_000}, "cifar10": {"train": 50_000, "test": 10_000}}
"""Number of images of each split, of the data sets that need no folder of the user's."""

DATA_SETS = tuple(SIZES)
SPLITS = ("train", "test")

FOLDERS = (
    "NAME@SIZE (a folder of the data root, named with letters, digits and _, its images as squares of SIZE pixels: "
    "8 to 256, divisible by 8, such as faces@64)"
)
STREAMED = (
    "NAME@SIZE-streamed (the same files, read again and again: for what is larger than the memory; tests see the "
    "middle 7/8 of the short side)"
)


class Folder(NamedTuple):
    """What a name such as "faces@64" or "imagenet@224-streamed" stands for; `resolution` in pixels."""

    folder: str
    resolution: int
    streamed: bool


def parse(name: object) -> Folder | None:
    """The folder that a name stands for; None for one of DATA_SETS and for no name."""
    match = re.fullmatch(r"([A-Za-z0-9_]+)@([1-9][0-9]{0,2})(-streamed)?", name) if isinstance(name, str) else None
    if match is None or not 8 <= (pixels := int(match[2])) <= 256 or pixels % 8:
        return None
    return Folder(match[1], pixels, match[3] is not None)


def check_name(name: str) -> None:
    """Raises ParameterError unless `name` is one of DATA_SETS, or as FOLDERS or STREAMED says."""
    if name not in DATA_SETS and parse(name) is None:  # a tuple: a spec from JSON may hold what has no hash
        raise ParameterError("data set", name, [*DATA_SETS, FOLDERS, STREAMED])


def is_streamed(name: str) -> bool:
    """Whether the images of this data set stay in their files, see `streamed`."""
    return (parts := parse(name)) is not None and parts.streamed


def resolution(name: str) -> int:
    """Height and width of the images in pixels, known without reading them. Raises ParameterError for a wrong name."""
    check_name(name)
    return 32 if (parts := parse(name)) is None else parts.resolution


def window_resolution(resolution: int) -> int:
    """Resolution of the windows of `augment.window_flip`: 7/8 of the images' to the nearest multiple of 8."""
    return max(8, 8 * round(resolution * 7 / 64))


def training_resolution(name: str, augmentation: str) -> int:
    """Height and width in pixels of what a network is trained on: of the images, or of the windows cut from them."""
    return window_resolution(resolution(name)) if augmentation == "window-flip" else resolution(name)


def folder(name: str) -> str:
    """The folder of the data root that a user's own data set is in. Raises ParameterError for one of DATA_SETS."""
    if (parts := parse(name)) is None:
        raise ParameterError("data set", name, [FOLDERS, STREAMED])
    return parts.folder
