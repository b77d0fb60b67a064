"""CIFAR-10 (Krizhevsky 2009) from whichever copy there is: torchvision's batches, a hub's shards, or a download."""

import os
import tempfile
from pathlib import Path

import torch
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from at_repro.data import names
from at_repro.data.image_set import ImageSet, canonical_order
from at_repro.data.parquet import find_shards, read_shards
from at_repro.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZES = names.SIZES["cifar10"]

_BATCHES = datasets.CIFAR10.base_folder
_SHARDS = ("cifar10/plain_text", "plain_text")


def cifar10(split: str, root: Path, download: bool = True) -> ImageSet:
    """Reads a split of CIFAR-10 from the first of these that is there, into one order (see `canonical_order`):

    `cifar-10-batches-py` as torchvision lays it out; parquet shards in `cifar10/plain_text` or `plain_text`; a download
    by torchvision into `root`.

    Args and errors as of `data.load`: "train" has 50,000 images, "test" 10,000; a download is of 170 MB; what is
    damaged, a batch, shard or row, is named.
    """
    if (root / _BATCHES).is_dir():
        images, labels, classes, source = _read_batches(split, root)
    elif shards := next(filter(None, (find_shards(root / folder, split) for folder in _SHARDS)), []):
        pictures, labels, classes = read_shards(shards, size=(32, 32))
        source = shards[0].parent
        images = torch.stack(pictures) if pictures else torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    elif download:
        _download(root)
        images, labels, classes, source = _read_batches(split, root)
    else:
        raise _absence(root, "not downloaded yet")
    if classes != CLASSES:
        raise DataError(f"{source}: its classes are not CIFAR-10's: {', '.join(classes)}")
    if len(labels) != SIZES[split]:
        raise DataError(f"{source}: {len(labels)} images where the {split} split of CIFAR-10 has {SIZES[split]}")
    order = canonical_order(images, labels)
    return ImageSet("cifar10", split, images[order], labels[order], CLASSES, source=str(source))


def _read_batches(split: str, root: Path) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...], Path]:
    """Images, labels, class names and folder of torchvision's layout; it verifies checksums, then unpickles."""
    folder = root / _BATCHES
    try:
        batches = datasets.CIFAR10(root, train=split == "train", download=False)
    except RuntimeError:
        raise DataError(
            f"{folder}: {', '.join(_faulty_files(folder))} missing or damaged (checksum); "
            f"delete the folder, and CIFAR-10 is downloaded again"
        ) from None
    images = torch.from_numpy(batches.data).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(batches.targets, dtype=torch.int64), tuple(batches.classes), folder


def _faulty_files(folder: Path) -> list[str]:
    kind = datasets.CIFAR10
    files = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    return [name for name, md5 in files if not check_integrity(folder / name, md5)]


def _download(root: Path) -> None:
    """Downloads beside its final place and renames, so that an interrupted download leaves no half of a data set."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=root) as folder:
            datasets.CIFAR10(folder, download=True)
            os.rename(Path(folder) / _BATCHES, root / _BATCHES)
    except (OSError, RuntimeError) as error:
        # Another process may have finished the same download first: its copy is as good.
        if not (root / _BATCHES).is_dir():
            raise _absence(root, f"the download failed: {error}") from None


def _absence(root: Path, reason: str) -> DataError:
    names = ", ".join([f"{_BATCHES}/", *(f"{folder}/*.parquet" for folder in _SHARDS)])
    return DataError(
        f"CIFAR-10 is not in {root} ({reason}); looked for {names}; set AT_REPRO_DATA, or the data root, to a folder "
        "that holds one of them (with internet, torchvision downloads it there); the preset smoke needs no data"
    )
