"""One encoded picture as one sees it, whatever it is encoded in."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

# What folders and hubs hold, whatever the files are called; more would let a file choose any of Pillow's decoders.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")

DAMAGES = (OSError, ValueError, SyntaxError, TypeError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files, and for EXIF data, that are damaged."""


def open_image(encoded: str | Path | BinaryIO) -> Image.Image:
    """A picture in the mode in which it is stored; its pixels are not read yet.

    Args:
        encoded: a file in one of FORMATS, whatever its name.

    Raises ValueError where it is of no such format; else one of DAMAGES, then or when its pixels are read.
    """
    try:
        return Image.open(encoded, formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ValueError(f"the image is none of {', '.join(FORMATS)}") from None


def upright(image: Image.Image) -> Image.Image:
    """In RGB, turned as its EXIF data say; of an animation the first picture. Raises one of DAMAGES.

    Grey ones of 16 bits, which Pillow would cut off at 255, are scaled to 8 bits.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray(((np.asarray(image, np.int64) + 128) // 257).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
