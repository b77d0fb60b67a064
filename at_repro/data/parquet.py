"""Reads image data sets that are stored as parquet shards in the Hugging Face hub's layout.

A shard has a struct column `{bytes, path}` with encoded images, an integer column `label`, and the names of the classes
in the schema's `huggingface` metadata. See https://huggingface.co/docs/hub/datasets-image.
"""

import io
import json
import re
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from at_repro.data.decoding import open_image, upright
from at_repro.errors import DataError


def find_shards(folder: Path, split: str) -> list[Path]:
    """The shards of a split, `{split}-0000i-of-0000N.parquet`, in order; empty where there are none.

    They lie in the folder, or in `data` within it, where hubs put them.

    Raises DataError where one of the N is missing or where sets of different N lie side by side.
    """
    if (folder / "data").is_dir() and not any(folder.glob(f"{split}-*.parquet")):
        folder = folder / "data"
    shards = {}
    for path in sorted(folder.glob(f"{split}-*.parquet")):
        if (numbers := re.fullmatch(r"(\d+)-of-(\d+)", path.stem.removeprefix(f"{split}-"))) and path.is_file():
            shards[path.name] = numbers[2]
    if len(totals := set(shards.values())) > 1:
        raise DataError(f"{folder}: shards of more than one version of {split} lie side by side: {', '.join(shards)}")
    for total in totals:
        # One by one, the first few that are missing: a name may promise more shards than there is memory for.
        names = (f"{split}-{index:0{len(total)}d}-of-{total}.parquet" for index in range(int(total)))
        if missing := list(islice((name for name in names if name not in shards), 4)):
            listed = ", ".join([*missing[:3], *(["…"] if len(missing) > 3 else [])])
            raise DataError(f"{folder}: {listed} of {int(total)} shards missing; download again")
    return [folder / name for name in shards]


def read_shards(
    paths: Sequence[Path],
    size: tuple[int, int] | None = None,
    prepare: Callable[[Tensor], Tensor] = lambda image: image,
) -> tuple[list[Tensor], Tensor, tuple[str, ...]]:
    """Reads and decodes all rows of some shards.

    Args:
        paths: at least one shard; their rows are joined in this order. Images are in the one struct column that has
            `bytes` and `path`.
        size: (H, W) that every image must have, in RGB as it is stored; None: of any size and mode, made RGB.
        prepare: what is done to each image, before the next one is decoded: a set may have no room at its full size.

    Returns:
        Images, uint8 (3, H, W) each, prepared; labels, int64 (N,); the names of the classes.

    Raises:
        DataError: names the shard, and the row (from 0) where a single row is at fault: a file that cannot be read or
            lacks a column or the names; an image that does not decode, or has the wrong size or mode; a label that is
            no class.
    """
    images: list[Tensor] = []
    labels: list[int] = []
    names = []
    for path in paths:
        columns = _columns(path)
        names.append(shard_classes(path))
        if names[-1] != names[0]:
            raise DataError(f"{path}: its class names are not those of {paths[0].name}")
        for row, (content, label) in enumerate(zip(*columns, strict=True)):
            origin = f"{path}: row {row}"
            if label is None or not 0 <= label < len(names[0]):
                raise DataError(f"{origin}: label {label} is not in 0 to {len(names[0]) - 1}")
            if content is None:
                raise DataError(f"{origin}: the image is missing")
            images.append(prepare(_decode(content, size, origin)))
            labels.append(label)
    return images, torch.tensor(labels, dtype=torch.int64), names[0]


def shard_classes(path: Path) -> tuple[str, ...]:
    """The names of the classes of a shard, without reading its images. Raises DataError."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    try:
        classes = json.loads(schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
        if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
            return tuple(classes)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise DataError(f"{path}: its 'huggingface' metadata hold no class names for 'label'")


def _columns(path: Path) -> tuple[list[bytes | None], list[int | None]]:
    """The encoded images and the labels of one shard."""
    try:
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    pictures = [field.name for field in table.schema if _is_image(field.type)]
    if len(pictures) != 1:
        raise DataError(f"{path}: {len(pictures)} columns of encoded images where one is needed")
    if "label" not in table.column_names:
        raise DataError(f"{path}: has no column 'label'; it has {', '.join(table.column_names)}")
    if not pa.types.is_integer(table.schema.field("label").type):
        raise DataError(f"{path}: 'label' is no column of integers")
    return pc.struct_field(table[pictures[0]], "bytes").to_pylist(), table["label"].to_pylist()


def _is_image(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or not {"bytes", "path"} <= {field.name for field in kind}:
        return False
    return pa.types.is_binary(kind.field("bytes").type) or pa.types.is_large_binary(kind.field("bytes").type)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read, download it again ({str(error).splitlines()[0]})")


def _decode(content: bytes, size: tuple[int, int] | None, origin: str) -> Tensor:
    with open_image(io.BytesIO(content), origin) as image:
        if size is not None and image.mode != "RGB":
            raise ValueError(f"the image is of mode {image.mode}, not RGB")
        if size is not None and image.size != size[::-1]:
            raise ValueError(f"the image has {image.height} x {image.width} pixels, not {size[0]} x {size[1]}")
        return pil_to_tensor(upright(image)).contiguous()
