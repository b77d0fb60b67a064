"""What transfer changed in a student: which images it gets right, and where it looks, against the plain student."""

import pandas as pd
import torch
from torch import Tensor, nn

from at_repro import attention, networks
from at_repro.analysis import map_statistics, network_maps
from at_repro.analysis.study import Study
from at_repro.data import ImageSet
from at_repro.errors import DataError
from at_repro.training import engine


def outcomes(study: Study, method: str) -> dict[str, list[int]]:
    """Indices of the test images by what became of them from the plain student to that of a method.

    Newly right, newly wrong, right in both and wrong in both; empty where one of the two is not run or diverged.
    """
    records = [study.first(name) for name in ("student", method) if name in study.records]
    if len(records) < 2 or any(record.diverged for record in records):
        return {}
    first, second = (~record.mistakes() for record in records)
    masks = {
        "newly right": ~first & second, "newly wrong": first & ~second,
        "right in both": first & second, "wrong in both": ~first & ~second,
    }  # fmt: skip
    return {outcome: mask.nonzero()[0].tolist() for outcome, mask in masks.items()}


def images(study: Study, method: str, outcome: str, count: int) -> ImageSet | None:
    """The first test images of an outcome, in the set's order; None where there are none."""
    indices = outcomes(study, method).get(outcome, [])[:count]
    return study.images.select(torch.tensor(indices)) if study.images is not None and indices else None


def rows(study: Study, method: str, images: ImageSet | None) -> dict[str, Tensor]:
    """Top maps (N, H, W) of the plain student, of the method's and of their teacher, and what "moved" between the two
    students: where the normalised map grew (positive) and where it shrank. Empty without images or a student.
    """
    networks = study.networks("student", method, "teacher")
    if images is None or not {"student", method} <= networks.keys():
        return {}
    maps = network_maps.top(networks, images)
    return maps | {"moved": attention.normalize(maps[method]) - attention.normalize(maps["student"])}


def pretrained(study: Study) -> dict[str, nn.Module]:
    """The network that the study's plain student was before fine-tuning, with ImageNet's classes, frozen.

    Empty without images, without a record, and where students start from random weights or the weights are not here.
    """
    if study.images is None or "student" not in study.records or study.columns["student"].start != "imagenet":
        return {}
    try:
        network = networks.pretrained(study.columns["student"].network)
    except DataError:
        return {}
    return {"pretrained": engine.place(network, engine.device(study.device)).eval().requires_grad_(False)}


def movement(study: Study, method: str, count: int) -> pd.DataFrame:
    """How far attention moved, by outcome and level: the l2 distance of both students' normalised maps, as text.

    The mean over images and its 95 % interval, "0.256 ± 0.005"; no rows where a student or the images are missing.

    Args:
        count: images of each outcome that are measured, the first ones.
    """
    networks = study.networks("student", method)
    rows: dict[str, dict[str, str]] = {}
    for outcome in outcomes(study, method) if len(networks) == 2 else ():
        if sample := images(study, method, outcome, count):
            maps = network_maps.by_network(networks, sample)
            moved = map_statistics.tabulate(maps, sample, ["distance"], "student")
            values = moved[moved["network"] == method].groupby("level", sort=False)["value"]
            rows[outcome] = {level: f"{of.mean():.3f} ± {1.96 * of.sem():.3f}" for level, of in values}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("outcome")
