"""Several processes that train together, each on its part of every batch: what `torchrun` starts.

Every process draws for the whole batch, so that the parts are those of one process's batch. Gradients are
averaged by torch's DistributedDataParallel; since every loss here is a mean over images, each process weighs its own by
its share of the batch, and their average is the gradient of the whole batch, whatever the number of processes. Batch
norms in training mode see the images of their own process.

One process, the first, decides what is trained, evaluates, saves and reports.
"""

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from at_repro.errors import ParameterError
from at_repro.runs import Run

PATIENCE = timedelta(hours=2)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together: `rank` of `count`, counted from 0."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process decides, evaluates, saves and reports."""
        return self.rank == 0

    def decide(self, choose: Callable[[], Value]) -> Value:
        """What the first process chooses, for all; the others do not call `choose`."""
        if self.count == 1:
            return choose()
        choice: list[Any] = [choose() if self.first else None]  # the first one's comes into its place
        distributed.broadcast_object_list(choice)
        return choice[0]

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, along the first dimension: parts differ by one image at most."""
        return batch if self.count == 1 else batch.tensor_split(self.count)[self.rank]

    def weight(self, own: int, whole: int) -> float:
        """The factor on the mean loss of `own` images of `whole`, so that the processes' average is the whole mean."""
        return 1.0 if self.count == 1 else own * self.count / whole

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with gradients that are averaged over the processes after each backward pass."""
        if self.count == 1:
            return network
        parallel = DistributedDataParallel(network)
        parallel.broadcast_buffers = False  # an argument of this name is deprecated in some versions of torch
        return parallel

    def collect(self, sums: Sequence[Tensor]) -> None:
        """Adds up tensors over all processes, in place, for the first one; the others' become zero."""
        for total in sums if self.count > 1 else ():
            distributed.reduce(total, 0)
            if not self.first:
                total.zero_()

    def largest(self, value: float, device: torch.device) -> float:
        """The largest value that any process gives."""
        if self.count == 1:
            return value
        largest = torch.tensor(value, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return largest.item()

    def check(self, run: Run, images: int) -> None:
        """Raises ParameterError where several processes cannot train a run on so many images."""
        if self.count == 1:
            return
        for term in run.terms:
            if term.needs_adapters or term.needs_gradient or term.needs_mirror:
                raise ParameterError("processes", self.count, f"1, for a run with {term.kind}")
        if smallest_batch(run, images) < self.count:
            allowed = f"a size that leaves {self.count} images, one for each process, for every batch of {images}"
            raise ParameterError("batch_size", run.batch_size, allowed)


ALONE = Ranks()


def smallest_batch(run: Run, images: int) -> int:
    """Of an epoch of so many images: the last batch, where it is not a whole one."""
    return min(run.batch_size, images % run.batch_size or run.batch_size)


def is_first() -> bool:
    """Whether this process is the first of those that `torchrun` started, or the only one."""
    return int(os.environ.get("WORLD_SIZE", 1)) == 1 or os.environ.get("RANK", "0") == "0"


def join(device: torch.device) -> tuple[Ranks, torch.device]:
    """Joins the processes that `torchrun` started, if it did; returns this one's rank, and its own device.

    NCCL connects GPUs, gloo CPUs. Once per process: later calls find the group. Raises
    ParameterError where another launcher does not say which process this is, and which GPU is whose.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        return ALONE, device
    joined = distributed.is_initialized()
    needed = ["LOCAL_RANK"] * (device.type == "cuda") + ["RANK", "MASTER_ADDR", "MASTER_PORT"] * (not joined)
    for name in needed:
        if name not in os.environ:
            raise ParameterError("WORLD_SIZE", count, f"1, or processes that torchrun starts, which sets {name} too")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not joined:
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)  # the others wait while the first one evaluates
        atexit.register(distributed.destroy_process_group)
    return Ranks(distributed.get_rank(), count), device
