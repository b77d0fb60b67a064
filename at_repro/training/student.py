"""One run in training: its network, its optimiser, its curve, and the file from which it goes on after a stop."""

import json
import math
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from at_repro import losses, networks
from at_repro.errors import UserError
from at_repro.training import engine, schedules
from at_repro.training.batch import StudentBatch, Watched
from at_repro.training.engine import Forward
from at_repro.training.spec import Run


class Student:
    """A run in training, in precision "fp32" or "bf16".

    `epoch` counts the finished epochs; `curve` has one row for each.
    """

    def __init__(self, run: Run, num_classes: int, device: torch.device, precision: str):
        self.run, self.precision = run, precision
        # Drawn on the CPU: the same seed gives the same initial weights on every device, and the same to
        # every student of this architecture, which makes comparisons within a seed paired.
        network = networks.build(run.network, num_classes, engine.generator(run.seed, "weights"))
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)
        named = [own for term in run.terms for own, _ in term.layers or ()]
        self.watched = Watched(self.network, run.network, named)
        self.adapters = self._adapters(device)
        self.optimizer = torch.optim.SGD(
            self._parameters(), run.learning_rate, run.momentum, weight_decay=run.weight_decay, foreach=True
        )
        self.epoch = 0
        self.curve: list[dict] = []

    def _adapters(self, device: torch.device) -> nn.ModuleList | None:
        """The 1x1 convolutions of F-ActT: trained with the student, in its checkpoint, and not part of its record."""
        if not any(term.needs_adapters for term in self.run.terms):
            return None
        channels = (networks.group_channels(run.network) for run in (self.run, self.run.teacher))
        return losses.adapters(*channels, engine.generator(self.run.seed, "adapters")).to(device)

    def _parameters(self) -> list[nn.Parameter]:
        """Everything that is trained, the network first."""
        return [*self.network.parameters(), *(self.adapters.parameters() if self.adapters is not None else ())]

    def see(self, images: Tensor, labels: Tensor, forward: Forward) -> StudentBatch:
        """Passes a batch through the student, prepared as its terms need it."""
        if any(term.needs_mirror for term in self.run.terms):
            images, labels = torch.cat([images, images.flip(-1)]), labels.repeat(2)
        if any(term.needs_gradient for term in self.run.terms):
            # A compiled backward pass cannot be differentiated again.
            images, forward = images.detach().requires_grad_(), engine.forward(self.precision, False)
        return StudentBatch(self.watched, images, labels, forward, self.adapters)

    @property
    def diverged(self) -> bool:
        """Whether the loss of the last epoch was not finite: training on would change nothing."""
        return bool(self.curve) and not math.isfinite(self.curve[-1]["train_loss"])

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: all epochs are done, or the run has diverged."""
        return self.epoch == self.run.epochs or self.diverged

    def begin_epoch(self) -> tuple[float, list[float]]:
        """Sets the learning rate of this epoch; returns the share of the task loss and the weight of each term."""
        run = self.run
        rate = schedules.rate_factor(self.epoch, run.epochs, run.milestones, run.drop)
        for group in self.optimizer.param_groups:
            group["lr"] = run.learning_rate * rate
        weights = [term.weight * schedules.decay_factor(term.decay, self.epoch, run.epochs, rate) for term in run.terms]
        share = 1.0 - sum(weight for term, weight in zip(run.terms, weights, strict=True) if term.replaces_task)
        self.network.train()
        return share, weights

    def end_epoch(self, row: dict) -> None:
        """Appends an epoch to the curve: `row` holds its losses and errors by name."""
        self.epoch += 1
        self.curve.append({"epoch": self.epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]} | row)

    def save(self, path: Path) -> None:
        """Writes the checkpoint: to a temporary file, flushed, then renamed over the previous one."""
        tensors = {f"weights.{name}": value for name, value in self.network.state_dict().items()}
        if self.adapters is not None:
            tensors |= {f"adapters.{name}": value for name, value in self.adapters.state_dict().items()}
        for index, parameter in enumerate(self._parameters()):
            tensors[f"momentum.{index}"] = self.optimizer.state[parameter]["momentum_buffer"]
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        temporary = path.with_suffix(".tmp")
        save_file(tensors, temporary, {"precision": self.precision, "curve": json.dumps(self.curve)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)

    @staticmethod
    def epochs_done(path: Path) -> int:
        """The number of finished epochs in a checkpoint. Raises UserError where it cannot be read."""
        return len(_read(path)[0])

    @staticmethod
    def precision_of(path: Path) -> str:
        """The precision in which a checkpoint was trained so far. Raises UserError where it cannot be read."""
        return _read(path)[1]

    def restore(self, path: Path) -> None:
        """Goes on from a checkpoint, if there is one. Raises UserError where it cannot be read."""
        if not path.exists():
            return
        curve, _, tensors = _read(path)
        weights = {name: tensors[f"weights.{name}"] for name in self.network.state_dict()}
        self.network.load_state_dict(weights)
        if self.adapters is not None:
            self.adapters.load_state_dict({name: tensors[f"adapters.{name}"] for name in self.adapters.state_dict()})
        for index, parameter in enumerate(self._parameters()):
            buffer = torch.empty_like(parameter, requires_grad=False)  # keeps the memory layout of the parameter
            self.optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(tensors[f"momentum.{index}"])
        self.curve, self.epoch = curve, len(curve)


def _read(path: Path) -> tuple[list[dict], str, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return json.loads(about["curve"]), about["precision"], tensors
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UserError(f"checkpoint {path} cannot be read ({error}); delete it to start this run anew") from None
