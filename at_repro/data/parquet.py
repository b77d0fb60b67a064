"""Reads image data sets that are stored as parquet shards in the Hugging Face hub's layout.

A shard has a struct column `{bytes, path}` with encoded images, an integer column `label`, and the names of the classes
in the schema's `huggingface` metadata. See https://huggingface.co/docs/hub/datasets-image.
"""

import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from at_repro.data import decoding
from at_repro.errors import DataError


def find_shards(folder: Path, split: str) -> list[Path]:
    """The shards of a split, `{split}-0000i-of-0000N.parquet`, in order; empty where there are none.

    They lie in the folder, or in `data` within it, where hubs put them.

    Raises DataError where one of the N is missing or where sets of different N lie side by side.
    """
    if (folder / "data").is_dir() and not any(folder.glob(f"{split}-*.parquet")):
        folder = folder / "data"
    shards = {}
    for path in folder.glob(f"{split}-*.parquet"):
        numbers = re.fullmatch(rf"{re.escape(split)}-(\d+)-of-(\d+)\.parquet", path.name)
        if numbers and path.is_file():
            shards[path.name] = numbers.groups()
    if len({total for _, total in shards.values()}) > 1:
        raise DataError(f"{folder}: shards of more than one version of {split} lie side by side: {_names(shards)}")
    for _, total in list(shards.values())[:1]:
        width = len(total)
        expected = [f"{split}-{index:0{width}d}-of-{total}.parquet" for index in range(int(total))]
        if missing := [name for name in expected if name not in shards]:
            raise DataError(f"{folder}: {_names(missing)} of {int(total)} shards missing; download again")
    return [folder / name for name in sorted(shards)]


@overload
def read_shards(paths: Sequence[Path], size: tuple[int, int]) -> tuple[Tensor, Tensor, tuple[str, ...]]: ...


@overload
def read_shards(paths: Sequence[Path], size: None = None) -> tuple[list[Tensor], Tensor, tuple[str, ...]]: ...


def read_shards(
    paths: Sequence[Path], size: tuple[int, int] | None = None
) -> tuple[Tensor | list[Tensor], Tensor, tuple[str, ...]]:
    """Reads and decodes all rows of some shards.

    Args:
        paths: at least one shard; their rows are joined in this order. Images are in the one struct column that has
            `bytes` and `path`.
        size: (H, W) that every image must have, in RGB as it is stored; None: of any size and mode, made RGB.

    Returns:
        Images, uint8 (N, 3, H, W) where `size` is given, else a list of uint8 (3, H, W);
        labels, int64 (N,); the names of the classes.

    Raises:
        DataError: names the shard, and the row (from 0) where a single row is at fault: a file that cannot be read or
            lacks a column or the names; an image that does not decode, or has the wrong size or mode; a label that is
            no class.
    """
    images: list[np.ndarray] = []
    labels: list[int | None] = []
    classes: tuple[str, ...] | None = None
    for path in paths:
        encoded, shard_labels, names = _read(path)
        if classes is not None and names != classes:
            raise DataError(f"{path}: its class names are not those of {paths[0].name}")
        classes = names
        for row, (item, label) in enumerate(zip(encoded, shard_labels, strict=True)):
            if label is None or not 0 <= label < len(names):
                raise DataError(f"{path}: row {row}: label {label} is not in 0 to {len(names) - 1}")
            try:
                images.append(_decode(item, size))
            except decoding.DAMAGES as error:
                raise DataError(f"{path}: row {row}: {error}") from None
        labels.extend(shard_labels)
    assert classes is not None  # there is at least one shard
    every_label = torch.tensor(labels, dtype=torch.int64)
    if size is None:
        return [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images], every_label, classes
    pixels = torch.from_numpy(np.array(images, dtype=np.uint8).reshape(-1, *size, 3))
    return pixels.permute(0, 3, 1, 2).contiguous(), every_label, classes


def shard_classes(path: Path) -> tuple[str, ...]:
    """The names of the classes of a shard, without reading its images. Raises DataError."""
    try:
        return _class_names(path, pq.read_schema(path))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read, download it again ({str(error).splitlines()[0]})")


def _read(path: Path) -> tuple[list[bytes | None], list[int | None], tuple[str, ...]]:
    """The encoded images, the labels and the class names of one shard."""
    try:
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    column = _image_column(path, table.schema)
    if "label" not in table.column_names:
        raise DataError(f"{path}: has no column 'label'; it has {', '.join(table.column_names)}")
    if not pa.types.is_integer(table.schema.field("label").type):
        raise DataError(f"{path}: 'label' is no column of integers")
    encoded = [item["bytes"] if item else None for item in table.column(column).to_pylist()]
    return encoded, table.column("label").to_pylist(), _class_names(path, table.schema)


def _image_column(path: Path, schema: pa.Schema) -> str:
    columns = [field.name for field in schema if _is_image(field.type)]
    if len(columns) != 1:
        raise DataError(f"{path}: {len(columns)} columns of encoded images where one is needed")
    return columns[0]


def _is_image(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}


def _class_names(path: Path, schema: pa.Schema) -> tuple[str, ...]:
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        classes = features["label"]["names"]
        if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
            return tuple(classes)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise DataError(f"{path}: its 'huggingface' metadata hold no class names for 'label'") from None


def _decode(encoded: bytes | None, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 (H, W, 3). Raises ValueError or one of Pillow's errors, without the place."""
    if encoded is None:
        raise ValueError("the image is missing")
    image = decoding.open_image(io.BytesIO(encoded))
    if size is not None and image.mode != "RGB":
        raise ValueError(f"the image is of mode {image.mode}, not RGB")
    if size is not None and image.size != size[::-1]:
        raise ValueError(f"the image has {image.height} x {image.width} pixels, not {size[0]} x {size[1]}")
    return np.array(decoding.upright(image))


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
