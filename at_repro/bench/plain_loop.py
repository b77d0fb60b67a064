"""Attention transfer as the field trains it: what our loop is measured against.

A DataLoader with PIL transforms and two workers, NCHW, float32, eager, the teacher run inside the step. Networks and
the loss are ours, so that only the way of running them differs; on a GPU both have kernels that repeat exactly.
"""

from collections.abc import Iterable

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from at_repro import data, losses
from at_repro.data import ImageSet


class PilImages(Dataset):
    """An image set as PIL images with the usual CIFAR transforms."""

    def __init__(self, images: ImageSet):
        self.pixels = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        mean, std = ([value / 255 for value in values] for values in data.normalization(images.name))
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def loader(images: ImageSet, batch_size: int) -> DataLoader:
    """Shuffled batches, prepared by two workers that stay alive between epochs."""
    return DataLoader(PilImages(images), batch_size, shuffle=True, num_workers=2, persistent_workers=True)


def train_epoch(
    student: nn.Module, teacher: nn.Module, batches: Iterable, optimizer: torch.optim.Optimizer, device: torch.device
) -> None:
    """One epoch of the public code's attention transfer, form "code" with beta 1000."""
    student.train()
    teacher.eval()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        with torch.no_grad():
            target = teacher(images)
        output = student(images)
        loss = cross_entropy(output.logits, labels)
        loss = loss + 1000 * losses.activation_transfer(output.groups, target.groups)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()  # else what is still queued counts for what is measured next
