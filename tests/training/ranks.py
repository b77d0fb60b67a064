"""Processes that train together as torchrun starts them, but forked from one that has imported torch already."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed

PATIENCE = 300.0  # seconds
_PROCESSES = multiprocessing.get_context("forkserver")


def together(count: int, said: Path, work: Callable[..., object], *arguments: object) -> list[int]:
    """Calls `work(*arguments)`, of a module, in `count` processes, whose standard errors go to a file; returns how each
    ended, as `subprocess` says it. Like torchrun it keeps the store through which they meet, but it ends no process
    for another's sake."""
    _PROCESSES.set_forkserver_preload(["at_repro.training"])
    meeting = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    given = [(rank, count, meeting.port, said, work, arguments) for rank in range(count)]
    processes = [_PROCESSES.Process(target=_rank, args=each, daemon=True) for each in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():  # it waits for another for ever
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def _rank(rank: int, count: int, port: int, said: Path, work: Callable[..., object], arguments: tuple) -> None:
    with said.open("a") as stream:
        os.dup2(stream.fileno(), sys.stderr.fileno())
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    torch.set_num_threads(1)
    work(*arguments)
    if distributed.is_initialized():
        distributed.destroy_process_group()
