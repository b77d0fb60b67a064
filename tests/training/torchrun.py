"""Calls torchrun on a script, as a user does."""

import os
import subprocess
import sys
from pathlib import Path


def torchrun(script: Path, processes: int, **variables: str) -> subprocess.CompletedProcess:
    """With one thread for each process, and these variables besides; a crash says where, in C++ and Python."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environment |= {"OMP_NUM_THREADS": "1", "TORCH_CUSTOM_TERMINATE": "1", "PYTHONFAULTHANDLER": "1"} | variables
    return subprocess.run([*command, str(script)], env=environment, capture_output=True, text=True)
