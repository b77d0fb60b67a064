"""Trains what has no record yet: teachers first, then cohort by cohort, each run owned by one process."""

import io
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import cache

import torch

from at_repro import data, networks
from at_repro.data import Images
from at_repro.errors import ParameterError, UserError
from at_repro.records import Store
from at_repro.runs import Run, checks, with_teachers
from at_repro.training import engine
from at_repro.training.locks import choose, tidy
from at_repro.training.loop import train_cohort
from at_repro.training.processes import ALONE, Ranks, join, smallest_batch
from at_repro.training.progress import Progress
from at_repro.training.weights import usable

WAIT = 5.0  # seconds between two looks at a run that another process is training


def train(
    runs: Iterable[Run],
    store: Store,
    *,
    device: str = "auto",
    data_root: str | None = None,
    compile: str = "auto",
    progress: Progress | None = None,
) -> None:
    """Trains every run, and every teacher it needs, that has no record in the store. Safe to call again at any time.

    Everything is checked before anything is trained. A run that another process is training is waited for, not
    repeated. A run that was stopped goes on at the step where it was, one that was killed from its last checkpoint.

    Args:
        runs: what to train; their teachers are added.
        store: where records and checkpoints are kept, made with `writable=True`.
        device: "auto" (the GPU where there is one), "cpu" or "cuda".
        data_root: see `data.data_root`.
        compile: "auto" (where it pays), "on" or "off"; several processes train uncompiled, and refuse "on".
        progress: where to report; None: standard error.

    Raises:
        ParameterError: for a value that is not allowed.
        DataError: where a data set, or ImageNet's weights, are missing or damaged.
        UserError: where the disk refuses a file, the store is then as it was; where a folder of images is no longer
            what a record was trained on; where a teacher diverged or its weights are not here; for a damaged record,
            or a checkpoint that cannot be read or was begun on other images or with weights of other names or shapes.
        KeyboardInterrupt: after Ctrl-C, SIGTERM or a hangup, when the step in progress is done and saved.
    """
    ranks, target = join(engine.device(device))
    if compile == "on" and ranks.count > 1:  # torch averages gradients of a network that is called as it is
        raise ParameterError("compile", compile, f"auto or off with {ranks.count} processes, which train uncompiled")
    engine.compiles(compile, 0, target)
    all_runs = with_teachers([checks.validate(run) for run in runs])
    missing = ranks.decide(lambda: [run for run in all_runs if not store.has(run)])
    progress = progress or Progress(None if ranks.first else io.StringIO())
    check_networks(missing, store)
    sets: dict[tuple, Images] = {}
    for run in missing:
        for split, subset in (("train", run.subset), ("test", None)):
            if (run.dataset, split, subset) not in sets:
                sets[run.dataset, split, subset] = data.load(run.dataset, split, data_root, subset).to(target)
        images = sets[run.dataset, "train", run.subset]
        ranks.check(run, len(images))
        check_shapes(run, len(images.classes))
        check_batches(run, len(images), ranks)
    recorded = [run for run in all_runs if run not in missing]
    check_folders(recorded, store, data_root)
    if ranks.first:
        tell_of_other_code(recorded, store, progress)
        tidy(store)
    announcements: set[Run] = set()
    while missing := ranks.decide(lambda: [run for run in missing if not store.has(run)]):
        with ExitStack() as locks:
            own, precision = ranks.decide(lambda: choose(missing, store, target, locks))
            if precision is not None:  # and so there are runs
                of_both = sets[own[0].dataset, "train", own[0].subset], sets[own[0].dataset, "test", None]
                train_cohort(own, store, *of_both, target, precision, compile, progress, ranks)
                continue
        if missing[0] not in announcements:
            progress.say(f"waiting for another process that trains {missing[0].run_id}")
            announcements.add(missing[0])
        time.sleep(WAIT)
    if ranks.first:
        tidy(store)


def check_networks(missing: Sequence[Run], store: Store) -> None:
    """Raises UserError where a teacher has a record without usable weights, DataError where ImageNet's are not here,
    ParameterError where "module:function" makes no network: here, and not after days of its teacher's training."""
    for network in {run.network for run in missing}:
        networks.group_layers(network)
    for teacher in {run.teacher for run in missing if run.teacher is not None}:
        if record := store.find(teacher):
            usable(record)
    for network in {run.network for run in missing if run.start == "imagenet"}:
        networks.pretrained(network)


def check_shapes(run: Run, num_classes: int) -> None:
    """Raises ParameterError where a run's network does not take its images, or gives another number of logits."""
    for resolution in {data.training_resolution(run.dataset, run.augmentation), data.resolution(run.dataset)}:
        networks.check_shapes(run.network, num_classes, resolution)


def check_batches(run: Run, count: int, ranks: Ranks = ALONE) -> None:
    """Raises ParameterError where `count` images leave a process a batch of one that the run cannot train on."""
    can_be_small = run.norms == "fixed" or any(term.needs_mirror for term in run.terms)
    if can_be_small or smallest_batch(run, count) // ranks.count > 1:
        return
    resolution = data.training_resolution(run.dataset, run.augmentation)
    network = networks.build(run.network, generator=torch.Generator()).train()
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, resolution, resolution))
    except ValueError as error:  # of a batch norm that sees one position of one image
        allowed = f"a size that leaves more than one image for every batch of {count} images ({error})"
        raise ParameterError("batch_size", run.batch_size, allowed) from error


def tell_of_other_code(runs: Sequence[Run], store: Store, progress: Progress) -> None:
    """Names the records of a network of one's own whose function was another one: they are not trained again."""

    @cache
    def text(network: str) -> str:
        with suppress(UserError):  # its module is not here
            return networks.source(network).get("text", "")
        return ""

    for run in runs:
        if now := text(run.network):
            then = store.load(run).values["environment"].get("network", {}).get("text", now)
            if then != now:
                told = f"of other code of {run.network}: to train this, delete {store.record_path(run)}"
                progress.say(f"record {run.run_id} is {told}")


def check_folders(runs: Sequence[Run], store: Store, data_root: str | None) -> None:
    """Raises UserError for a record of a user's own folder of images whose content has changed since.

    A folder that is not here has not changed: its records stand without it.
    """
    root = data.data_root(data_root)
    own = [run for run in runs if run.dataset not in data.DATA_SETS and (root / data.folder(run.dataset)).is_dir()]

    @cache
    def now(dataset: str, split: str, subset: int | None) -> tuple[str, str]:
        images = data.load(dataset, split, root, subset)
        return images.fingerprint, images.source

    for run in own:
        for split, subset in (("train", run.subset), ("test", None)):
            fingerprint, source = now(run.dataset, split, subset)
            if store.load(run).values["data"][split] != fingerprint:
                raise UserError(
                    f"record {run.run_id} is of other images than those in {source} now; "
                    "delete the record, or give the folder another name"
                )
