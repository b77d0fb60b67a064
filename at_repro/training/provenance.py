"""Where a record comes from: code, packages, machine and command."""

import platform
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from at_repro import files

PACKAGES = ("at-repro", "torch", "torchvision", "numpy", "safetensors")


def environment(device: torch.device) -> dict:
    """What cannot be in a run's spec but may matter: code version, packages, device, threads and command."""
    return {
        "commit": commit(),
        "command": command(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def command() -> str:
    """The command line of this process as somebody would type it; "a notebook" inside of one."""
    program = Path(sys.argv[0]).name
    if program == "ipykernel_launcher.py":  # its arguments are a file of this machine
        return "a notebook"
    # Where a folder lies on this machine changes no number and is nobody's business: its name is enough.
    arguments = [re.sub(r"(?s)^(-\w=?|--[\w-]+=)?/(.*/)?(?=[^/])", r"\1.../", word) for word in sys.argv[1:]]
    return shlex.join((["python", "-m", "at_repro"] if program == "__main__.py" else [program]) + arguments)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout without installing it
        return "unknown"


def device_name(device: torch.device) -> str:
    """A name for readers: the GPU's model, or the processor's with the number of threads used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)} ({_processor()})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


@cache
def commit() -> str:
    """The commit of the checkout this package runs from, with "+changes" if it has any; "unknown" outside of one.

    As this process first asked for it: what runs is what was loaded, whatever the disk holds by now.
    """
    package = files.CHECKOUT / "at_repro"
    try:
        # Installed below somebody's own repository, this package is none of that repository's files.
        _git(package, "ls-files", "--error-unmatch", "--", "__init__.py")
        name = _git(package, "rev-parse", "HEAD")
        changes = _git(package, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+changes" if changes else "")


def _git(folder: Path, *arguments: str) -> str:
    process = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return process.stdout.strip()
