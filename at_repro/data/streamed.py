"""Image sets too large for memory, such as ImageNet: they stay in their files, threads decode them batch by batch."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from at_repro.data import augment, folders, jpeg, names
from at_repro.data.decoding import open_upright
from at_repro.data.image_set import ImageSet
from at_repro.errors import DataError, check_count

AUGMENTATIONS = ("resized-crop-flip", "none")

_CHUNK = 64  # images that `select` has decoded at a time
_AHEAD = 4  # batches that are decoded before they are asked for

# Indices of images, and for each the five draws of its augmentation; None: as tests see it.
Task = tuple[Sequence[int], Iterable[Tensor | None]]

Picture = TypeVar("Picture", Image.Image, Tensor)


def load_streamed(name: str, split: str, root: Path) -> "StreamedSet":
    """Lists a split of the images in a folder of the data root; none is read.

    The folder holds `train` and `test` (or `validation`, `val`), each a folder with a folder of PNG, JPEG or WebP files
    for each class: the layout in which ImageNet is usually kept. The order is by a hash of the files' names.

    Args and errors as of `data.load`: a file that is none of these is named, and classes in which splits differ.
    """
    folder, resolution = names.folder(name), names.resolution(name)
    source, other = (folders.split_folder(root / folder, part) for part in (split, folders.OTHER[split]))
    for part in (source, other):
        if not part.is_dir():
            raise DataError(f"{part} is no folder: only files can be streamed, no shards")
    photographs, classes = folders.list_images(source, other)
    folders.check_classes(root / folder, classes, folders.list_classes(other))
    for photograph in photographs:
        if not str(photograph.path).lower().endswith(folders.SUFFIXES):
            raise DataError(f"{photograph.path} is none of {', '.join(folders.SUFFIXES)}")
    start = len(os.path.join(source, ""))
    files = [(str(photograph.path)[start:], photograph.label) for photograph in photographs]
    files.sort(key=lambda file: hashlib.blake2b(os.fsencode(file[0]), digest_size=16).digest())
    paths, labels = zip(*files, strict=True)
    on_cpu = torch.tensor(labels)
    return StreamedSet(name, split, paths, on_cpu, classes, str(source), resolution, on_cpu.device)


@dataclass(frozen=True, eq=False)
class StreamedSet:
    """Images and labels of one split of a data set, as an `ImageSet` whose images are not in memory.

    Attributes:
        name, split, labels, classes: as of an `ImageSet`; there are no masks.
        paths: the files, below the folder `source`.
        resolution: height and width in pixels that they are decoded to.
        device: where batches are put.
    """

    name: str
    split: str
    paths: Sequence[str]
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    resolution: int
    device: torch.device
    draw_device = torch.device("cpu")  # where the threads cut out the parts that are drawn, whatever the device

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, count: int) -> "StreamedSet":
        """The first `count` images. Raises ParameterError unless 1 <= count <= N."""
        check_count("subset", count, most=len(self))
        return replace(self, paths=self.paths[:count], labels=self.labels[:count])

    def select(self, indices: Tensor | slice) -> ImageSet:
        """The images at these indices, in memory, as tests see them. Raises DataError for a file that is damaged."""
        numbers = torch.arange(len(self))[indices.cpu() if isinstance(indices, Tensor) else indices]
        part = replace(
            self, paths=[self.paths[index] for index in numbers], labels=self.labels[numbers.to(self.device)]
        )
        none = torch.empty(0, 3, self.resolution, self.resolution, dtype=torch.uint8, device=self.device)
        images = torch.cat([*(chunk.images for chunk in part.chunks(_CHUNK)), none])
        return ImageSet(self.name, self.split, images, part.labels, self.classes, source=self.source)

    def to(self, device: torch.device | str) -> "StreamedSet":
        """The same set whose batches are put on `device`."""
        labels = self.labels.to(device)
        # With its number: threads that decode do not know which GPU the caller has set as its own.
        return replace(self, labels=labels, device=labels.device)

    def chunks(self, size: int) -> Iterator[ImageSet]:
        """All images in their order, so many at a time, as tests see them. Raises DataError for a damaged file."""
        parts = [range(len(self))[start : start + size] for start in range(0, len(self), size)]
        batches = self._decode((part, [None] * len(part)) for part in parts)
        for part, images in zip(parts, batches, strict=True):
            labels = self.labels[part.start : part.stop]
            yield ImageSet(self.name, self.split, images, labels, self.classes, source=self.source)

    def batches(
        self,
        order: Tensor,
        size: int,
        augmentation: str,
        generator: torch.Generator,
        part: Callable[[Tensor], Tensor],
        first: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `ImageSet.batches`, decoded ahead of time; what other processes train on is not decoded.

        "resized-crop-flip" draws the same parts of the same images as there: here of whole images, in full resolution.
        Raises DataError.
        """
        whole = order.cpu().split(size)
        parts = [part(indices) for indices in whole]

        def tasks() -> Iterator[Task]:
            for number, indices in enumerate(parts):
                draws: Iterable[Tensor | None] = [None] * len(indices)
                if augmentation != "none":
                    draws = part(torch.rand(5, len(whole[number]), generator=generator).T)
                if number >= first:
                    yield indices.tolist(), draws

        # Those of `torchrun` decode their own parts.
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        for indices, images in zip(parts[first:], self._decode(tasks(), processes), strict=True):
            yield images, self.labels[self._send(indices)]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of resolution and files, by name, size in bytes and label: pixels would take hours.

        Raises DataError for a file that is empty or not there.
        """
        digest = hashlib.sha256(repr(self.resolution).encode())
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            try:
                size = os.stat(os.path.join(self.source, path)).st_size
            except OSError as error:
                raise DataError(f"{self.source}/{path}: {error.strerror}") from None
            if not size:
                raise DataError(f"{self.source}/{path} is empty")
            digest.update(b"%b\0%d\0%d\n" % (os.fsencode(path), size, label))
        return digest.hexdigest()

    def _decode(self, tasks: Iterable[Task], processes: int = 1) -> Iterator[Tensor]:
        """uint8 (N, 3, H, W) on the device for each task in turn; threads read, and decode, a few tasks ahead."""
        pool, queue = ThreadPoolExecutor(_threads(processes)), deque[list[Future]]()
        try:
            for task in tasks:
                queue.append([pool.submit(self._read, index, draw) for index, draw in zip(*task, strict=True)])
                if len(queue) > _AHEAD:
                    yield self._gather(queue.popleft(), pool)
            while queue:
                yield self._gather(queue.popleft(), pool)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, index: int, draws: Tensor | None) -> Tensor | jpeg.JpegFile:
        """As `_image`; as it is in its file if the device decodes that."""
        path = os.path.join(self.source, self.paths[index])
        if jpeg.decodes(self.device) and (content := jpeg.content(path)) is not None:
            return jpeg.JpegFile(path, content, draws)
        return self._image(path, draws)

    def _image(self, path: str, draws: Tensor | None) -> Tensor:
        """uint8 (H, W, 3): the order in which files hold an image, and in which convolutions are fastest."""
        return torch.from_numpy(np.array(self._crop(open_upright(path), draws)))

    def _gather(self, images: list[Future], pool: ThreadPoolExecutor) -> Tensor:
        results = [image.result() for image in images]
        if any(isinstance(image, jpeg.JpegFile) for image in results):
            return jpeg.on_own_stream(self.device, partial(self._decode_on_device, results, pool))
        return self._send(torch.stack(results)).permute(0, 3, 1, 2)

    def _decode_on_device(self, images: list[Tensor | jpeg.JpegFile], pool: ThreadPoolExecutor) -> Tensor:
        """The same of images of which some are still to be decoded, on the device, by it."""
        files = [image for image in images if isinstance(image, jpeg.JpegFile)]
        try:
            tensors = jpeg.decode([file.content for file in files], self.device)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # one is damaged or unknown to the decoder: Pillow says which, or knows it
            pictures = pool.map(lambda file: self._image(file.path, file.draws), files)
            crops = (self._send(image).permute(2, 0, 1) for image in pictures)
        else:
            crops = (self._crop(image, file.draws) for image, file in zip(tensors, files, strict=True))
        return torch.stack(
            [
                next(crops) if isinstance(image, jpeg.JpegFile) else self._send(image).permute(2, 0, 1)
                for image in images
            ]
        )

    def _send(self, tensor: Tensor) -> Tensor:
        """The tensor on the device, without waiting for what that is doing."""
        return (tensor.pin_memory() if self.device.type == "cuda" else tensor).to(self.device, non_blocking=True)

    def _crop(self, image: Picture, draws: Tensor | None) -> Picture:
        """The part that these draws choose, or that tests see, as a square; of Pillow's images or uint8 (3, H, W)."""
        size = [self.resolution, self.resolution]
        if draws is None:
            return transforms.center_crop(transforms.resize(image, [round(self.resolution * 8 / 7)]), size)
        rows, columns = transforms.get_size(image)
        area, shape, down, right = draws[:4]
        shares = augment.parts(area, shape, down, right, columns / rows)
        sizes = (rows, columns, rows, columns)
        top, left, height, width = (round(share.item() * size) for share, size in zip(shares, sizes, strict=True))
        image = transforms.resized_crop(image, top, left, max(1, height), max(1, width), size)
        return transforms.horizontal_flip(image) if draws[4] < 0.5 else image


Images = ImageSet | StreamedSet


def _threads(processes: int) -> int:
    """One for each core this process may use, if so many share them; 16 at most: more would wait for Python's lock."""
    return min(16, max(1, cores() // processes))


def cores() -> int:
    """How many this process may use: under a cluster's scheduler fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
