"""JPEG files decoded where the network is: a GPU decodes many at once, and the cores beside it only read."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

_END = b"\xff\xd9"  # the marker at the end of every whole file


class JpegFile(NamedTuple):
    """A file that waits to be decoded: its path, its bytes, uint8 (B,), and the draws of its augmentation, if any."""

    path: str
    content: Tensor
    draws: Tensor | None


@cache
def decodes(device: torch.device) -> bool:
    """Whether a device decodes JPEG files itself: a GPU does, unless torchvision was built without nvJPEG: it warns."""
    if device.type != "cuda":
        return False
    try:
        decode([encode_jpeg(torch.zeros(3, 16, 16, dtype=torch.uint8))], device)
    except RuntimeError as error:
        warnings.warn(f"JPEG files are decoded on the CPU: {str(error).splitlines()[0]}", stacklevel=2)
        return False
    return True


def content(path: str | Path) -> Tensor | None:
    """The bytes of a file, uint8 (B,), that every decoder of JPEG reads alike; None for one that is Pillow's work.

    Alike are those in the usual colours or in grey, upright, with an end. In folders of JPEG files some are in truth of
    another format, of other colours, turned by their EXIF data, or damaged.
    """
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            usual = image.mode in ("RGB", "L") and image.info.get("adobe_transform", 1) == 1
            upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        content = np.fromfile(path, np.uint8)
        whole = content.tobytes().rstrip(b"\0").endswith(_END)
        return torch.from_numpy(content) if usual and upright and whole else None
    except Exception:  # of many kinds: whoever decodes it with Pillow says what is wrong with which file
        return None


def decode(contents: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Images in RGB, uint8 (3, H, W) on the device, of the bytes that `content` gives; a GPU decodes all at once.

    Raises RuntimeError where one of them is damaged or unknown to the decoder; it does not say which.
    """
    if device.type == "cuda":
        # The decoder writes on a stream of its own into memory that the caller's may still have to read
        # (pytorch/vision, pull request 9606).
        torch.cuda.current_stream(device).synchronize()
    return decode_jpeg(list(contents), mode=ImageReadMode.RGB, device=device)


def on_own_stream(device: torch.device, work: Callable[[], Tensor]) -> Tensor:
    """What `work` returns; on a GPU it is computed on a stream of its own, and does not wait for the steps before."""
    if device.type != "cuda":
        return work()
    current, own = torch.cuda.current_stream(device), _stream(device)
    with torch.cuda.stream(own):
        images = work()
    current.wait_stream(own)
    images.record_stream(current)
    return images


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
