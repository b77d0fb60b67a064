"""What is trained while the book is built: a student without and with attention transfer, on generated images."""

import shutil
import tempfile
from dataclasses import dataclass, replace

import pandas as pd
from torch import Tensor

from at_repro import data, experiments
from at_repro.analysis import network_maps
from at_repro.data import ImageSet
from at_repro.errors import duration
from at_repro.records import Store, open_store
from at_repro.runs import ActivationTransfer, Run
from at_repro.training import engine, load_network, train

IMAGES, EPOCHS, BATCH = 1600, 4, 16  # a quarter of a minute on two cores, slow ones
EXAMPLES = 4  # test images


@dataclass(frozen=True)
class Live:
    """What was trained just now.

    Attributes:
        curves: columns column, epoch, test_error and so on, see `Record.epochs`.
        images, maps: a few test images, and their top maps by network.
        stamp: where and in what time, for readers.
    """

    curves: pd.DataFrame
    images: ImageSet
    maps: dict[str, Tensor]
    stamp: str


def train_now(device: str = "auto") -> Live:
    """Trains two small students, one of them with AT from a recorded teacher, and throws their records away.

    Progress goes to standard error. The numbers say nothing about the paper: they show that training works here. Where
    the teacher has no record the plain student is alone.

    Raises ParameterError for a device that is not allowed.
    """
    own, report_store = engine.device(device), open_store("reduced")
    teacher = experiments.get("objects").runs("reduced", [0])[0]["student"]
    student = Run("wrn-10-1", EPOCHS, "shapes", subset=IMAGES, batch_size=BATCH, learning_rate=0.05, milestones=(0.6,))
    runs = {"student": student}
    if report_store.has_network(teacher):
        runs["AT"] = replace(student, terms=(ActivationTransfer(),), teacher=teacher)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, writable=True)
        if "AT" in runs:
            shutil.copytree(report_store.record_path(teacher), store.record_path(teacher))
        train(list(runs.values()), store, device=device, compile="off")  # compiling would take longer than training
        records = {name: store.load(run) for name, run in runs.items()}
        all_runs = ({"teacher": teacher} if "AT" in runs else {}) | runs
        images = data.load("shapes", "test").to(own)
        networks = {name: load_network(store, run, images, own) for name, run in all_runs.items()}
        curves = [record.epochs().assign(column=name, seed=0) for name, record in records.items()]
    examples = network_maps.first_of_classes(images, classes=EXAMPLES)
    seconds = sum(record.training_seconds for record in records.values())
    where = records["student"].devices[0]
    stamp = f"trained just now on {where} in {duration(seconds)}: {IMAGES} generated images, {EPOCHS} epochs"
    return Live(pd.concat(curves, ignore_index=True), examples, network_maps.top(networks, examples), stamp)
