"""The grid of runs over a cluster: cohorts are handed to the workers of Dask, teachers before their students.

Each worker calls `training.train` on the shared store, and what holds there holds here: what a dead worker leaves is
continued from its last checkpoint, by the worker that gets its task next. Needs the extra `cluster`.
"""

import importlib.util
import os
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

import torch

from at_repro import data, files
from at_repro.data.streamed import cores
from at_repro.errors import ParameterError, UserError, check_choice
from at_repro.records import Store
from at_repro.runs import Run, checks, teachers_and_cohorts, with_teachers
from at_repro.training import Progress, engine, train
from at_repro.training.missing_runs import (
    check_batches,
    check_folders,
    check_networks,
    check_shapes,
    tell_of_other_code,
)

if TYPE_CHECKING:  # it comes with the extra `cluster`
    from distributed import Client

_ALONE = threading.Lock()  # of a worker with several threads one trains: torch's default generator is of the process
_LOCAL = "AT_REPRO_LOCAL_CLUSTER"  # in the environment of workers that share this machine's cores and GPUs
RETRIES = 3  # of a cohort that fails for another reason than a user's error, such as a GPU that others fill


@contextmanager
def connect(cluster: str) -> Iterator["Client"]:
    """A client of a cluster, until the end of the `with`.

    Args:
        cluster: "local:N" for N worker processes on this machine, which share its cores and take its GPUs in turn; or
            the address of a scheduler, such as "tcp://host:8786".

    Raises:
        ParameterError: it is neither, or nobody answers at the address.
        UserError: the extra is not installed.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UserError("distributed is not installed; run in the clone: pip install -e '.[cluster]'")
    from distributed import Client, LocalCluster

    requirement = "local:N, or the address of a scheduler such as tcp://host:8786"
    if local := re.fullmatch(r"local:([1-9][0-9]{0,2})", cluster):
        workers = int(local[1])
        # Dask's own default is one thread for each worker.
        environment = {"OMP_NUM_THREADS": str(max(1, cores() // workers)), _LOCAL: "1"}
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=":0", env=environment
            ) as local_cluster,
            Client(local_cluster) as client,
        ):
            yield client
    elif re.fullmatch(r"(tcp|tls|ws|wss)://\S+", cluster):
        try:
            client = Client(cluster, timeout="20s")
        except (OSError, TypeError, ValueError) as error:  # TypeError: tls without certificates
            raise ParameterError("cluster", cluster, f"{requirement} ({str(error).splitlines()[0]})") from None
        with client:
            yield client
    else:
        raise ParameterError("cluster", cluster, requirement)


def train_on(
    client: "Client",
    runs: Sequence[Run],
    store: Store,
    *,
    device: str = "auto",
    data_root: str | None = None,
    compile: str = "auto",
    progress: Progress | None = None,
) -> None:
    """Trains what has no record, as `training.train` does, a cohort at a time on every worker.

    A cohort whose worker dies is given to another one, as often as the scheduler allows: three times by default. Where
    the first workers announce a resource `GPU`, a cohort takes one; who they are is asked when there is one, and waited
    for.

    Args:
        runs, device, compile, progress: as for `training.train`.
        client: see `connect`.
        store: a folder that every worker sees at the same path, as for `data_root`.

    Raises:
        ParameterError: for a value that is not allowed, of a run as well; before anything is trained.
        DataError: a data set, or ImageNet's weights, are missing or damaged; before anything is trained.
        UserError: with the message of the first one that was raised on a worker, or where a cohort's workers died again
            and again; what is recorded stays.
    """
    from distributed import KilledWorker, as_completed

    progress = progress or Progress()
    check_choice("compile", compile, engine.COMPILE)
    check_choice("device", device, engine.DEVICES)  # workers may have one that this machine lacks
    all_runs = with_teachers([checks.validate(run) for run in runs])
    missing = [run for run in all_runs if not store.has(run)]

    @cache  # many runs have the same images
    def sizes(dataset: str, split: str, subset: int | None) -> tuple[int, int]:
        images = data.load(dataset, split, data_root, subset=subset)
        return len(images), len(images.classes)

    check_networks(missing, store)
    for run in missing:  # here, before a worker of a long queue finds out
        count, num_classes = sizes(run.dataset, "train", run.subset)
        sizes(run.dataset, "test", None)
        check_shapes(run, num_classes)
        check_batches(run, count)
    recorded = [run for run in all_runs if run not in missing]
    check_folders(recorded, store, data_root)
    tell_of_other_code(recorded, store, progress)
    if not missing:
        return
    root = data.data_root(data_root).absolute()  # workers have their own folder, and their own AT_REPRO_DATA
    with files.write_errors(root):
        root.mkdir(parents=True, exist_ok=True)  # the cache folder: what is named to a worker has to be there
    cohorts = [rest for cohort in teachers_and_cohorts(all_runs) if (rest := [run for run in cohort if run in missing])]
    if not _workers(client):  # on a cluster with a queue they come when it is their turn
        progress.say(f"waiting for the first worker; watch for it at {client.dashboard_link}")
        client.wait_for_workers(1)
    resources = {"GPU": 1} if any("GPU" in worker["resources"] for worker in _workers(client)) else {}
    progress.say(f"{len(missing)} run(s) in {len(cohorts)} cohort(s); watch them at {client.dashboard_link}")
    task_of: dict[Run, object] = {}
    # Keys are of this command alone: of another one's task the scheduler would give us the result, and forget ours.
    for members in cohorts:
        before = [task_of[run.teacher] for run in members if run.teacher in task_of]
        task = client.submit(
            _train, [run.to_dict() for run in members], str(store.folder), device, str(root), compile, before,
            key=f"{members[0].run_id}-{uuid4().hex}", retries=RETRIES, resources=resources,
        )  # fmt: skip
        task_of |= dict.fromkeys(members, task)
    count = 0
    for task in as_completed(set(task_of.values())):
        try:
            lines, error = task.result()
        except KilledWorker as killed:
            lines, run_id = [], str(killed.task).rpartition("-")[0]
            error = (
                f"{run_id}: {killed.allowed_failures + 1} workers died while they trained it; is there memory enough? "
                "What is recorded stays, and the same command continues"
            )
        except CancelledError as cancelled:
            lines, reason = [], getattr(cancelled, "reason", "cancelled")
            error = f"the cluster gave up ({reason}); what is recorded stays, and the same command continues"
        if error:
            if client.status == "running":  # else nobody is there to be told
                client.cancel(list(task_of.values()))
            raise UserError(error)
        count += len(lines)
        for line in lines:
            progress.say(f"recorded {line} ({count} of {len(missing)})")
    if left := [run.run_id for run in missing if not store.has(run)]:
        raise UserError(
            f"not in {store.folder} though the workers are done: {', '.join(left)}; do they see that folder?"
        )


def _train(
    specs: list[dict], folder: str, device: str, data_root: str, compile: str, before: object
) -> tuple[list[str], str]:
    """On a worker: trains a cohort; returns a line for each run, or the message of a user's error."""
    if _LOCAL in os.environ:
        from distributed import get_worker

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch may have been loaded before that was set
        if torch.cuda.is_available():
            torch.cuda.set_device(get_worker().name % torch.cuda.device_count())
    try:
        runs, store = [Run.from_dict(spec) for spec in specs], Store(folder, writable=True)
        with _ALONE:
            train(runs, store, device=device, data_root=data_root, compile=compile)
    except UserError as error:
        return [], str(error)
    return [f"{run.run_id}: {store.load(run).outcome}" for run in runs], ""


def _workers(client: "Client") -> list[dict]:
    return list(client.scheduler_info(n_workers=-1)["workers"].values())
