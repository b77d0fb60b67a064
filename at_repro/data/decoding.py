"""One encoded picture as one sees it, whatever it is encoded in."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from at_repro.errors import DataError

# What folders and hubs hold, whatever the files are called; more would let a file choose any of Pillow's decoders.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")

# What Pillow raises for files, and for EXIF data, that are damaged.
_DAMAGES = (OSError, ValueError, SyntaxError, TypeError, struct.error, Image.DecompressionBombError)


@contextmanager
def open_image(file: str | Path | BinaryIO, origin: str | None = None) -> Iterator[Image.Image]:
    """A picture in the mode in which it is stored, whose head is read and no pixel yet.

    Args:
        file: in one of FORMATS, whatever its name.
        origin: what an error calls it; None: its path.

    Raises DataError, also for what is read of it, or raised as a ValueError, inside.
    """
    origin = origin or str(file)
    if isinstance(file, str | Path) and os.path.exists(file) and not os.path.isfile(file):
        raise DataError(f"{origin} is no file")  # a pipe would be waited for
    try:
        with Image.open(file, formats=FORMATS) as image:
            yield image
    except Image.UnidentifiedImageError:
        raise DataError(f"{origin}: the image is none of {', '.join(FORMATS)}") from None
    except _DAMAGES as error:
        raise DataError(f"{origin}: {error}") from None


def open_upright(file: str | Path) -> Image.Image:
    """A picture as `upright` returns it. Raises DataError."""
    with open_image(file) as image:
        return upright(image)


def upright(image: Image.Image) -> Image.Image:
    """In RGB, over white where it is transparent, turned as its EXIF data say; of an animation the first picture. Of
    damaged ones `open_image` says so.

    Grey ones of 16 bits, which Pillow would cut off at 255, are scaled to 8 bits.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray(((np.asarray(image, np.int64) + 128) // 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:  # what is hidden below may be anything, all black for example
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")
