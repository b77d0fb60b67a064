"""How a network is run: device, precision, memory layout and compilation, the same for students and teachers."""

import ctypes
import hashlib
import os
import sys
import timeit
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from at_repro.errors import ParameterError, check_choice
from at_repro.networks import Output, fold_batch_norms

Value = TypeVar("Value")

DEVICES = ("auto", "cpu", "cuda")
COMPILE = ("auto", "on", "off")


def device(name: str = "auto") -> torch.device:
    """The device to train on: "cpu", "cuda", or "auto", the GPU where there is one. Raises ParameterError."""
    check_choice("device", name, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device", name, "auto, cpu (this machine has no CUDA device)")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def compiles(choice: str, images: int, device: torch.device) -> bool:
    """Whether to compile a network through which so many training images will go.

    Compiling costs one to two minutes per architecture on two cores and gives about a fifth in speed: "auto" compiles
    from half a million images on, where a C++ compiler (CPU) or Triton (GPU) exists. Raises ParameterError.
    """
    check_choice("compile", choice, COMPILE)
    if choice == "on" and not can_compile(device):
        raise ParameterError("compile", choice, "auto, off (nothing can be compiled here: is there a C++ compiler?)")
    return choice == "on" or (choice == "auto" and images >= 500_000 and can_compile(device))


@cache
def can_compile(device: torch.device) -> bool:
    """Whether a small function compiles here: a compiler may be missing, broken or without Python's headers."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception:  # whatever the compiler throws, the plain path is there
        return False
    return True


@cache
def fastest_precision(device: torch.device) -> str:
    """ "bf16" where the device convolves faster in it than in float32, or is a GPU that supports it, else "fp32".

    Processors differ by a factor of two both ways: Zen 4 is twice as fast in bfloat16, Xeons without AMX half as fast.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _seconds_of_convolution(torch.bfloat16) < _seconds_of_convolution(torch.float32) else "fp32"


@torch.no_grad()
def _seconds_of_convolution(dtype: torch.dtype) -> float:
    images = torch.zeros(64, 32, 32, 32, dtype=dtype).to(memory_format=torch.channels_last)
    weights = torch.zeros(32, 32, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    return min(timeit.repeat(lambda: torch.conv2d(images, weights, padding=1), number=1, repeat=7))


def keep_freed_memory() -> None:
    """Lets glibc keep what a training step frees for the next step: a fifth faster steps on a CPU.

    Its default gives every large tensor back to the system at once, which then has to clear the pages of the next.
    Nothing happens with another C library.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "gnu_get_libc_version"):
        trim_threshold, mmap_max = -1, -4  # names of <malloc.h>
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)


def repeat_exactly(device: torch.device) -> None:
    """Asks a GPU for kernels that give the same bits each time; torch warns where it has none. A CPU needs nothing.

    For the whole process: cuDNN chooses by rule, not by a race, and does not round float32 to ten bits (TF32); cuBLAS
    works in a fixed space. New memory stays unfilled: torch would fill it on the stream of the caller, which libraries
    that write on their own, such as the decoder of JPEG files, do not wait for.
    """
    if device.type == "cuda":
        # The module has it by a class of its own, which no checker sees.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, on a device and in the memory layout in which convolutions are fastest."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's signatures leave it out


class Forward:
    """How students are run: in precision "fp32" or "bf16", compiled or not. Made once for each by `forward`."""

    def __init__(self, precision: str, compiled: bool):
        def run(network: nn.Module, images: Tensor) -> Output:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
                return network(images)

        self.compiled = compiled
        self._run = _compile(run) if compiled else run

    def __call__(self, network: nn.Module, images: Tensor) -> Output:
        """Any network on normalised float32 images (N, 3, H, W), differentiable.

        The network is an argument, so that one compilation serves every network of the same architecture.
        """
        return self._run(network, images)

    def compute(self, function: Callable[..., Value], *arguments: object) -> Value:
        """`function(*arguments)`, a function of what networks return: compiled, its steps share passes over memory.

        For functions that compare equal from batch to batch, such as distances of maps; not within autocast.
        """
        return (_compile_once(function) if self.compiled else function)(*arguments)


@cache
def forward(precision: str, compiled: bool) -> Forward:
    """The one `Forward` of this precision."""
    return Forward(precision, compiled)


def inference(network: nn.Module, precision: str, compiled: bool) -> Callable[[Tensor], Output]:
    """A frozen network as a function of normalised images: batch norms folded and, if compiled on a CPU, weights as
    constants, a quarter faster; the compiler keeps those, once the size of the network, until the process ends.

    For the one network that every student of a cohort looks at. Equal to `forward` up to rounding; not differentiable.
    """
    network = fold_batch_norms(network)

    def run(images: Tensor) -> Output:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return network(images)

    if not compiled:
        return torch.no_grad()(run)
    compiled_run, constants = _compile(run), torch._inductor.config.patch(freezing=True)

    # Both around what is compiled, not inside or as its options: while it is traced, weights become constants only if
    # freezing is set and no gradient is wanted. On a GPU nobody has tried that yet.
    @torch.no_grad()
    def infer(images: Tensor) -> Output:
        with nullcontext() if images.is_cuda else constants:
            return compiled_run(images)

    return infer


def _compile(function: Callable) -> Callable:
    # One entry for every architecture, mode and batch size that passes through `forward`, and every teacher. At torch's
    # own limit of 8 the next pair of networks in a process would be run uncompiled, silently. Set at every call: torch
    # forgets it in another context, such as a worker's next task.
    compiled = torch.compile(function, dynamic=False)

    def call(*arguments: object) -> Any:
        torch._dynamo.config.recompile_limit = 256
        return compiled(*arguments)

    return call


_compile_once = cache(_compile)


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for every purpose and seed, so that no draw depends on what was drawn elsewhere."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))
