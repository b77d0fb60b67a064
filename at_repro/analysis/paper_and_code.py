"""Where paper and public code differ, and how much each point matters, measured on real images."""

from collections.abc import Mapping
from statistics import fmean

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from at_repro import attention, data
from at_repro.analysis import map_statistics, network_maps
from at_repro.analysis.network_maps import level_names
from at_repro.analysis.study import Study
from at_repro.data import Images, ImageSet, augment
from at_repro.losses import activation_transfer
from at_repro.networks import WideResNet

# By point: the paper, the public code, this book, the size of the difference, see `sizes`, and what that is.
POINTS = {
    "distance of maps": (
        "β/2 · norm, not squared, summed over layers", "β · mean of squares, summed over layers", "code",
        "{form:.0f}", "times the gradient norm of the paper's loss",
    ),
    "β": (
        '10³ / (elements · batch size), "about 0.1"', "1000, the same with its mean of squares", "1000",
        "{low:.3g}, {middle:.3g}, {top:.3g}", "weight on the squared distance, low to top",
    ),
    "channels": ("sum of powers", "mean of powers", "sum", "{channels:.3f}", "apart"),
    "signs": ("|A|^p", "A^p, used with p = 2", "|A|^p", "{signs:.3f}", "apart at p = 1; nothing at p = 2"),
    "where maps are taken": (
        "outputs of groups", "before the next batch norm and ReLU", "code",
        "{position:.3f}", "apart from those after it",
    ),
    "distillation": (
        "T = 4, α = 0.9", "KL summed; at first averaged over classes, doubled", "summed",
        "{distillation:.3f}", "of this book's weight at first",
    ),
    "β in AT+KD": ("decays, it is not said how", "does not decay", "linearly towards 0", "", ""),
    "learning rate": (
        "not checked in print", "drops named for epochs 60, 120, 160 come one earlier; momentum anew; in one early "
        "version never", "at 60, 120, 160", "", "",
    ),
    "several GPUs": ("not mentioned", "β times their number", "β stays", "", ""),
    "ResNet-34": (
        "blocks 3, 4, 6, 3", "as a student 3, 4, 6, 5; no student's shortcuts have batch norm", "paper", "", "",
    ),
    "groups on ImageNet": ("the last two", "all four, each with the same β", "paper", "", ""),
    "initial weights": ("not given", "Kaiming; at first √2 wider", "code, ResNets as torchvision", "", ""),
    "all else": ("F_max, F-ActT, NIN, gradients, Scenes, CUB", "in none that we found", "paper", "", ""),
}  # fmt: skip
COLUMNS = ["paper", "public code", "this book", "size", "of what"]


def of_study(study: Study, batch: int) -> dict[str, float]:
    """`sizes` for the plain student and the teacher of a study, on its first test images; empty without them."""
    networks, images = study.networks("student", "teacher"), study.sample(batch)
    if images is None or len(networks) < 2:
        return {}
    return sizes(networks["student"], networks["teacher"], images)


def sizes(student: nn.Module, teacher: nn.Module, images: ImageSet) -> dict[str, float]:
    """How much each point changes.

    Args:
        student, teacher: trained, in evaluation mode, of three groups.
        images: one batch, such as 128 test images, on the device of the networks.

    Returns:
        By point the size. `form`: the norm of the code form's gradient by the student's groups, at β = 1000, over that
        of the paper form's at β = 0.1, NaN where neither has one; `low`, `middle`, `top`: the code form's weight on the
        squared distance; `distillation`: the first KL term over today's. The rest are l2 distances of the student's
        normalised maps, mean over levels and images: `channels`, means against sums; `signs`, A against abs(A);
        `position`, before against after batch norm and ReLU, of wide residual networks alone: groups of others come
        after theirs.
    """
    batch = augment.normalize(images.images, *data.normalization(images.name))
    with torch.no_grad():
        output, target = student(batch), teacher(batch)
    energy = _maps(output.groups, "sum-2")
    own = {
        "form": _gradient_ratio(output.groups, target.groups),
        "channels": _distance([group.float().square().mean(1) for group in output.groups], energy),
        "signs": _distance([group.float().sum(1) for group in output.groups], _maps(output.groups, "sum-1")),
        "distillation": 2 / output.logits.shape[1],  # averaged over classes as well, and doubled
    }
    if isinstance(student, WideResNet):
        own["position"] = _distance(_maps(_activate(student, output.groups), "sum-2"), energy)
    weights = [1000 / group[0, 0].numel() for group in output.groups]
    return own | dict(zip(level_names(len(weights)), weights, strict=True))


def distances_before_and_after(networks: Mapping[str, nn.Module], images: Images | None) -> pd.DataFrame:
    """How far maps of wide residual networks are from the teacher's where they are taken, and where they are read.

    Maps are taken where groups end; what reads a group, the next one or the classifier, sees it after batch norm and
    ReLU. A row per network, none without teacher or images; columns, by `place` and level: the l2 distance of
    normalised F_sum^2 maps, mean over images.
    """
    wide = {name: network for name, network in networks.items() if isinstance(network, WideResNet)}
    if images is None or wide != networks or "teacher" not in wide:
        return pd.DataFrame()
    maps = {name: _maps_before_and_after(network, images) for name, network in wide.items()}
    target = maps.pop("teacher")
    levels = level_names(len(target) // 2)
    columns = pd.MultiIndex.from_product([["before", "after"], levels], names=["place", None])
    means = {
        name: [map_statistics.distance(*pair).mean().item() for pair in zip(own, target, strict=True)]
        for name, own in maps.items()
    }
    return pd.DataFrame.from_dict(means, orient="index", columns=columns).rename_axis("method")


def table(sizes: dict[str, float]) -> pd.DataFrame:
    """A row per point, for readers: texts. A size that was not measured is empty.

    Args:
        sizes: see `sizes`.
    """
    rows = [(*sides, _format(size, sizes), unit) for *sides, size, unit in POINTS.values()]
    return pd.DataFrame(rows, pd.Index(POINTS), COLUMNS)


def _format(size: str, sizes: dict[str, float]) -> str:
    try:
        return size.format(**sizes)
    except KeyError:
        return ""


def _gradient_ratio(groups: tuple[Tensor, ...], target: tuple[Tensor, ...]) -> float:
    leaves = [group.detach().requires_grad_() for group in groups]
    norms = []
    for form, beta in (("code", 1000.0), ("paper", 0.1)):
        loss = beta * activation_transfer(leaves, target, form=form)
        norms.append(torch.stack([gradient.norm() for gradient in torch.autograd.grad(loss, leaves)]).norm())
    return (norms[0] / norms[1]).item()


def _maps(groups: tuple[Tensor, ...], mapping: str) -> list[Tensor]:
    return [attention.mapping(mapping)(group) for group in groups]


def _maps_before_and_after(network: WideResNet, images: Images) -> list[Tensor]:
    batches = [
        network_maps.of_groups((*output.groups, *_activate(network, output.groups)), ["sum-2"])
        for output in network_maps.outputs(network, images)
    ]
    return list(network_maps.join(batches)["sum-2"].values())


def _activate(network: WideResNet, groups: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What the next layer sees of each group: after the batch norm and ReLU that follow it."""
    norms = (network.get_submodule("group1.block0.bn0"), network.get_submodule("group2.block0.bn0"), network.bn)
    with torch.no_grad():
        return tuple(F.relu(norm(group)) for norm, group in zip(norms, groups, strict=True))


def _distance(ours: list[Tensor], others: list[Tensor]) -> float:
    return fmean(map_statistics.distance(*pair).mean().item() for pair in zip(ours, others, strict=True))
