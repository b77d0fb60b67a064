"""One run in training: its network, its optimiser, its curve, and the file from which it goes on after a stop."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from at_repro import losses, networks
from at_repro.errors import UserError
from at_repro.records import checkpoint_file
from at_repro.runs import Run, schedules
from at_repro.runs.terms import select_groups
from at_repro.training import engine
from at_repro.training.batch import FeatureExtractor, StudentBatch
from at_repro.training.engine import Forward
from at_repro.training.processes import ALONE, Ranks


class Settings(NamedTuple):
    """What the schedules say for an epoch: learning rate, share of the task loss, and the weight of each term."""

    learning_rate: float
    share: float
    weights: list[float]


class Student:
    """A run in training, in precision "fp32" or "bf16".

    `epoch` counts the finished epochs, `curve` has one row for each; `step` counts the finished steps of the epoch in
    progress, `totals` holds the sums over its images of the loss and of the errors, `seconds` what it took so far.
    `draws` tells whether the network has drawn from torch's CPU generator in a step, as nothing of a graph can.
    `sessions` has one entry for each process that trained this run: where it began, its share of the seconds, and its
    data and environment.
    """

    def __init__(self, run: Run, num_classes: int, device: torch.device, precision: str, ranks: Ranks = ALONE):
        self.run, self.precision, self.rank = run, precision, ranks.rank
        # Drawn on the CPU: the same seed gives the same initial weights on every device, and the same to
        # every student of this architecture, which makes comparisons within a seed paired.
        network = networks.build(run.network, num_classes, engine.generator(run.seed, "weights"))
        if run.start == "imagenet":
            networks.load_pretrained_(network, run.network, engine.generator(run.seed, "last layer"))
        self._fixed_norms = networks.freeze_(network, run.network, run.frozen_groups, run.norms == "fixed")
        self.network: nn.Module = engine.place(network, device)
        layers = [own for term in run.terms for own, _ in term.layers or ()]
        self.extractor = FeatureExtractor(self.network, run.network, layers)
        self.extractor.module = ranks.parallel(self.extractor.module)
        self.adapters = self._adapters(device)
        self.optimizer = torch.optim.SGD(
            self.parameters(), run.learning_rate, run.momentum, weight_decay=run.weight_decay, foreach=True
        )
        self.epoch = self.step = 0
        self.totals = torch.zeros(2, dtype=torch.float64, device=device)
        self.seconds = 0.0
        self.draws = False
        self.curve: list[dict] = []
        self.sessions: list[dict] = []

    def _adapters(self, device: torch.device) -> nn.ModuleList | None:
        """The 1x1 convolutions of F-ActT: trained with the student, in its checkpoint, and not part of its record."""
        term = next((term for term in self.run.terms if term.needs_adapters), None)
        if term is None:
            return None
        assert self.run.teacher is not None  # which the term learns from
        own, others = (networks.group_channels(run.network) for run in (self.run, self.run.teacher))
        draws = engine.generator(self.run.seed, "adapters")
        return losses.adapters(select_groups(own, term.groups), select_groups(others, term.groups), draws).to(device)

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is trained, the network first."""
        adapters = self.adapters.parameters() if self.adapters is not None else ()
        return [parameter for parameter in (*self.network.parameters(), *adapters) if parameter.requires_grad]

    def see(self, images: Tensor, labels: Tensor, forward: Forward) -> StudentBatch:
        """Passes a batch through the student, prepared as its terms need it."""
        if any(term.needs_mirror for term in self.run.terms):
            images, labels = torch.cat([images, images.flip(-1)]), labels.repeat(2)
        if self.differentiates_twice:
            images, forward = images.detach().requires_grad_(), engine.forward(self.precision, False)
        return StudentBatch(self.extractor, images, labels, forward, self.adapters)

    @property
    def differentiates_twice(self) -> bool:
        """Whether a term is of gradients: such a student is not compiled, whose backward pass has no derivative."""
        return any(term.needs_gradient for term in self.run.terms)

    @property
    def diverged(self) -> bool:
        """Whether the training loss of the last epoch was not finite: training on would change nothing."""
        return bool(self.curve) and not math.isfinite(self.curve[-1]["train_loss"])

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: all epochs are done, or the run has diverged."""
        return self.epoch == self.run.epochs or self.diverged

    def begin_epoch(self) -> Settings:
        """Sets the learning rate of this epoch and the modes of the layers."""
        run = self.run
        rate = schedules.rate_factor(self.epoch, run.epochs, run.milestones, run.drop)
        for group in self.optimizer.param_groups:
            group["lr"] = run.learning_rate * rate
        weights = [term.weight * schedules.decay_factor(term.decay, self.epoch, run.epochs, rate) for term in run.terms]
        share = 1.0 - sum(weight for term, weight in zip(run.terms, weights, strict=True) if term.replaces_task)
        self.network.train()
        for norm in self._fixed_norms:
            norm.eval()
        return Settings(run.learning_rate * rate, share, weights)

    def end_epoch(self, row: dict) -> None:
        """Appends an epoch to the curve: `row` holds its losses and errors by name."""
        self.epoch += 1
        rate = self.optimizer.param_groups[0]["lr"]
        self.curve.append({"epoch": self.epoch, "learning_rate": rate} | row | {"seconds": self.seconds})
        self.step, self.seconds = 0, 0.0
        self.totals.zero_()

    def begin_session(self, data: dict, environment: dict) -> None:
        """Says who trains from here on: fingerprints of the images, and `provenance.environment`."""
        if self.sessions and not self.sessions[-1]["seconds"]:
            self.sessions.pop()  # it did nothing that is left
        session = {"epoch": self.epoch, "step": self.step, "seconds": 0.0}
        self.sessions.append(session | {"data": data, "environment": environment})

    def spend(self, seconds: float) -> None:
        """Counts time: for the epoch in progress, and for the process at work."""
        self.seconds += seconds
        if self.sessions:
            self.sessions[-1]["seconds"] += seconds

    def tensors(self) -> dict[str, Tensor]:
        """What training changes, by name: the network's state, adapters, momentum once there is one, and `totals`."""
        tensors = {f"weights.{name}": value for name, value in self.network.state_dict().items()}
        if self.adapters is not None:
            tensors |= {f"adapters.{name}": value for name, value in self.adapters.state_dict().items()}
        for index, parameter in enumerate(self.parameters()):
            # None where the run has no momentum.
            if (buffer := self.optimizer.state[parameter].get("momentum_buffer")) is not None:
                tensors[f"momentum.{index}"] = buffer
        return tensors | {"totals": self.totals}

    def save(self, path: Path) -> None:
        """Writes the checkpoint, see `checkpoint_file.write`.

        Random state is not part of it: every draw is made from the run's seed, the epoch and the step.
        """
        # Copies: safetensors refuses tensors that share memory, as tied weights do.
        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self.tensors().items()
        }
        about = {
            "precision": self.precision,
            "curve": self.curve,
            "step": self.step,
            "seconds": self.seconds,
            "sessions": self.sessions,
        }
        checkpoint_file.write(path, about, tensors)

    def restore(self, path: Path, data: dict) -> None:
        """Goes on from a checkpoint, if there is one.

        Args:
            data: fingerprints of the images at hand, as for `begin_session`.

        Raises UserError where it cannot be read, or where the run was begun on other images or with a network whose
        weights have other names or shapes.
        """
        if not path.exists():
            return
        about, tensors = checkpoint_file.read(path)
        if about["sessions"] and about["sessions"][-1]["data"] != data:
            raise self._begun("on other images than those at hand; restore them")
        changed = self._begun(f"with other code of {self.run.network}; restore it")
        try:
            self.network.load_state_dict(_below("weights", tensors))
            if self.adapters is not None:
                self.adapters.load_state_dict(_below("adapters", tensors))
        except RuntimeError:
            raise changed from None
        for index, parameter in enumerate(self.parameters()):
            if (momentum := tensors.get(f"momentum.{index}")) is not None:
                if momentum.shape != parameter.shape:
                    raise changed
                buffer = torch.empty_like(parameter, requires_grad=False)  # keeps the memory layout of the parameter
                self.optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(momentum)
        self.curve, self.epoch = about["curve"], len(about["curve"])
        self.step, self.seconds, self.sessions = about["step"], about["seconds"], about["sessions"]
        self.totals.copy_(tensors["totals"])

    def _begun(self, how: str) -> UserError:
        return UserError(f"run {self.run.run_id} was begun {how}, or delete its checkpoint to start anew")


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
