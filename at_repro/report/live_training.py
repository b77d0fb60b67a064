"""What is trained while the book is built: a student without and with attention transfer, on generated images."""

import tempfile
from dataclasses import dataclass, replace

import pandas as pd
from torch import Tensor

from at_repro import data
from at_repro.analysis import network_maps
from at_repro.data import ImageSet
from at_repro.records import Store
from at_repro.records.record import duration
from at_repro.runs import ActivationTransfer, Run
from at_repro.training import engine, load_network, train

IMAGES, EPOCHS, BATCH = 1000, 8, 32  # less than half a minute on two cores
SHOWN = 4  # test images


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
    """Trains a small teacher and two students of it, one of them with AT, and throws their records away.

    Progress goes to standard error. The numbers say nothing about the paper: they show that training works here.
    Raises ParameterError for a device that is not allowed.
    """
    teacher = Run("wrn-10-2", EPOCHS, dataset="shapes", subset=IMAGES, batch_size=BATCH)
    student = replace(teacher, network="wrn-10-1")
    taught = replace(student, terms=(ActivationTransfer(),), teacher=teacher)
    runs = {"teacher": teacher, "student": student, "AT": taught}
    own = engine.device(device)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, writable=True)
        train(list(runs.values()), store, device=device, compile="off")  # compiling would take longer than training
        records = {name: store.load(run) for name, run in runs.items()}
        images = data.load("shapes", "test").to(own)
        networks = {name: load_network(store, run, images, own) for name, run in runs.items()}
        curves = pd.concat([record.epochs().assign(column=name, seed=0) for name, record in records.items()])
        examples = network_maps.one_per_class(images).select(slice(SHOWN))
        maps = network_maps.top(networks, examples)
        seconds = sum(record.training_seconds for record in records.values())
        where = records["AT"].values["environment"]["device"]
    stamp = f"trained just now on {where} in {duration(seconds)}: {IMAGES} generated images, {EPOCHS} epochs"
    return Live(curves.reset_index(drop=True), examples, maps, stamp)
