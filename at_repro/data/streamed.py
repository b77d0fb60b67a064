"""Image sets too large for memory, such as ImageNet: they stay in their files, workers decode them batch by batch."""

import hashlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from at_repro.data import own
from at_repro.data.image_set import ImageSet, check_subset
from at_repro.errors import DataError, check_choice

NAMING = "NAME@SIZE-streamed (the same, read from its files again and again: for what is larger than the memory)"
AUGMENTATIONS = ("resized-crop-flip", "none")  # what the workers can do

_SUFFIX = "-streamed"
_CHUNK = 64  # images that `select` and `chunks` have decoded at a time

Key = tuple[int, int | None]  # of an image: its place, and the seed of its augmentation; None: as tests see it


def parse(name: object) -> tuple[str, int] | None:
    """Folder and side in pixels of a name such as "imagenet@224-streamed"; None where it is no such name."""
    if not isinstance(name, str) or not name.endswith(_SUFFIX):
        return None
    return own.parse(name.removesuffix(_SUFFIX))


def streamed(name: str, split: str, root: Path) -> "StreamedSet":
    """Lists a split of the images in a folder of the data root; none is read.

    The folder holds `train` and `test` (or `validation`, `val`), each a folder with a folder of PNG, JPEG or WebP files
    for each class: the layout in which ImageNet is usually kept. The order is by a hash of the files' names.

    Args:
        name: folder and size, see NAMING.
        split: "train" or "test".
        root: the data root.

    Raises:
        ParameterError: unknown split.
        DataError: nothing is there, or the splits' classes differ.
    """
    check_choice("split", split, own.SPLITS)
    folder, side = parse(name)
    place, other = (own.image_folder(root / folder, part) for part in (split, "test" if split == "train" else "train"))
    if place.classes != other.classes:
        differing = ", ".join(sorted(set(place.classes) ^ set(other.classes)))
        raise DataError(f"{root / folder}: the classes of its splits differ: {differing}")
    files = [(str(Path(path).relative_to(place.root)), label) for path, label in place.samples]
    files.sort(key=lambda file: hashlib.blake2b(file[0].encode(), digest_size=16).digest())
    paths, labels = zip(*files, strict=True)
    on_cpu = torch.tensor(labels)
    return StreamedSet(name, split, paths, on_cpu, tuple(place.classes), str(place.root), side, on_cpu.device)


@dataclass(frozen=True, eq=False)
class StreamedSet:
    """Images and labels of one split of a data set, as an `ImageSet` whose images are not in memory.

    Attributes:
        name, split, labels, classes: as of an `ImageSet`.
        paths: the files, below the folder `source`.
        side: height and width in pixels that they are decoded to.
        device: where batches are put.
    """

    name: str
    split: str
    paths: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    side: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, count: int) -> "StreamedSet":
        """The first `count` images. Raises ParameterError unless 1 <= count <= N."""
        check_subset(count, len(self))
        return replace(self, paths=self.paths[:count], labels=self.labels[:count])

    def select(self, chosen: Tensor | slice) -> ImageSet:
        """The images at these places, in memory, as tests see them. Raises DataError for a file that is damaged."""
        places = torch.arange(len(self))[chosen]
        parts = self._decoded([(place, None) for place in part.tolist()] for part in places.split(_CHUNK) if len(part))
        images = torch.cat([*parts, torch.empty(0, 3, self.side, self.side, dtype=torch.uint8, device=self.device)])
        labels = self.labels[places.to(self.labels.device)]
        return ImageSet(self.name, self.split, images, labels, self.classes, source=self.source)

    def to(self, device: torch.device | str) -> "StreamedSet":
        """The same set whose batches are put on `device`."""
        return replace(self, labels=self.labels.to(device), device=torch.device(device))

    def chunks(self, size: int) -> Iterator[ImageSet]:
        """All images in their order, so many at a time, as tests see them. Raises DataError for a damaged file."""
        places = range(len(self))
        parts = [places[start : start + size] for start in range(0, len(self), size)]
        decoded = self._decoded([(place, None) for place in part] for part in parts)
        for part, images in zip(parts, decoded, strict=True):
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
        """As `ImageSet.batches`, decoded by workers ahead of time; what other processes train on is not decoded.

        Each image has a seed of its own, so it is the same whichever worker makes it. Raises DataError.
        """
        seeds = torch.randint(2**62, order.shape, generator=generator, device=generator.device).cpu()
        chosen = [part(places) for places in order.cpu().split(size)][first:]
        drawn = [part(own_seeds) for own_seeds in seeds.split(size)][first:]
        keys = (
            [(place, None if augmentation == "none" else seed) for place, seed in zip(places, own_seeds, strict=True)]
            for places, own_seeds in zip(map(Tensor.tolist, chosen), map(Tensor.tolist, drawn), strict=True)
        )
        for places, images in zip(chosen, self._decoded(keys), strict=True):
            yield images, self.labels[places.to(self.device)]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of names, sizes in bytes and labels of the files: their pixels would take hours."""
        digest = hashlib.sha256(repr(self.side).encode())
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            digest.update(f"{path}\0{(Path(self.source) / path).stat().st_size}\0{label}\n".encode())
        return digest.hexdigest()

    def _decoded(self, keys: Iterable[list[Key]]) -> Iterator[Tensor]:
        """uint8 (N, 3, side, side) on the device, for each list of keys in turn."""
        loader = DataLoader(
            _Files(self.source, self.paths, self.side),
            batch_sampler=list(keys),
            num_workers=_workers(),
            collate_fn=_stacked,
            worker_init_fn=_leave_interrupts,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else it draws from the process's own
        )
        for images in loader:
            if isinstance(images, str):
                raise DataError(images)
            yield images.to(self.device, non_blocking=True)


class _Files(Dataset):
    """Decodes the file of a key; where it is damaged, returns what is wrong: an error would come with a traceback."""

    def __init__(self, folder: str, paths: Sequence[str], side: int):
        self.folder, self.paths = Path(folder), paths
        self.tested = v2.Compose([v2.Resize(round(side * 8 / 7), antialias=True), v2.CenterCrop(side)])
        self.augmented = v2.Compose([v2.RandomResizedCrop(side, antialias=True), v2.RandomHorizontalFlip()])

    def __getitem__(self, key: Key) -> Tensor | str:
        place, seed = key
        try:
            image = own.decoded(self.folder / self.paths[place])
        except DataError as error:
            return str(error)
        if seed is None:
            return self.tested(image)
        with torch.random.fork_rng(devices=[]):  # torchvision's transforms draw from the global generator
            torch.manual_seed(seed)
            return self.augmented(image)


def _stacked(items: list[Tensor | str]) -> Tensor | str:
    return next((item for item in items if isinstance(item, str)), None) or torch.stack(items)


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: this one's batches are needed until the step in progress is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _workers() -> int:
    """One for each core, shared among the processes that `torchrun` started on this machine; 16 at most."""
    return min(16, max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
