"""How much the points on which paper and public code differ change, measured on one batch of real images."""

from statistics import fmean

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from at_repro import attention, data
from at_repro.analysis import map_statistics
from at_repro.analysis.network_maps import level_names
from at_repro.analysis.study import Study
from at_repro.data import ImageSet, augment
from at_repro.errors import ParameterError
from at_repro.losses import activation_transfer, softened_divergence
from at_repro.networks import WideResNet

COLUMNS = ["between", "size", "in"]


def of(study: Study, batch: int) -> pd.DataFrame:
    """`measure` for the plain student and the teacher of a study, on its first test images; empty without them.

    Raises ParameterError for a batch that is not between 1 and the number of test images.
    """
    if study.images is not None and not (isinstance(batch, int) and 1 <= batch <= len(study.images)):
        raise ParameterError("batch", batch, f"an integer from 1 to {len(study.images)}")
    networks = study.networks("student", "teacher")
    if study.images is None or len(networks) < 2:
        return pd.DataFrame(columns=COLUMNS)
    return measure(networks["student"], networks["teacher"], study.images.select(slice(batch)))


def measure(student: nn.Module, teacher: nn.Module, images: ImageSet) -> pd.DataFrame:
    """One row per difference: `between`, `size` (a number) and `in` (its meaning and unit).

    Args:
        student, teacher: trained, in evaluation mode.
        images: one batch, such as 128 test images, on the device of the networks.
    """
    batch = augment.normalize(images.images, *data.normalization(images.name))
    with torch.no_grad():
        seen, taught = student(batch), teacher(batch)
    rows: list[tuple[str, float | Tensor, str]] = [
        ("code form, beta 1000", 1000 * activation_transfer(seen.groups, taught.groups), "its value"),
        ("paper form, beta 0.1", 0.1 * activation_transfer(seen.groups, taught.groups, form="paper"), "its value"),
        ("code form against paper form", _gradient_ratio(student, taught.groups, batch),
         "gradient norm at beta 1000 over that at beta 0.1"),
        ("mean of powers against sum", _distance(_means(seen.groups), _maps(seen.groups, "sum-2")), _DISTANCE),
        ("A against |A| in F_sum", _distance(_signed(seen.groups), _maps(seen.groups, "sum-1")), _DISTANCE),
        ("KL averaged over classes, doubled", _old_distillation(seen.logits, taught.logits), "share of the weight"),
    ]  # fmt: skip
    if isinstance(student, WideResNet):  # other networks' groups are after it already
        activated = _maps(_activated(student, seen.groups), "sum-2")
        between = "maps before against after batch norm and ReLU"
        rows.append((between, _distance(activated, _maps(seen.groups, "sum-2")), _DISTANCE))
    for level, group in zip(level_names(len(seen.groups)), seen.groups, strict=True):
        rows.append((f"code form, {level} level", 1000 / group[0, 0].numel(), "weight on the squared distance"))
    return pd.DataFrame([(name, float(size), unit) for name, size, unit in rows], columns=COLUMNS)


def readable(sizes: pd.DataFrame) -> pd.DataFrame:
    """`measure` for readers, indexed by what is compared: three decimals, none from 100 on, beyond float32's digits."""
    text = sizes.set_index("between")
    return text.assign(size=[f"{size:.3f}" if abs(size) < 100 else f"{size:.0f}" for size in text["size"]])


_DISTANCE = "l2 distance of normalised maps, mean over levels"


def _gradient_ratio(student: nn.Module, taught: tuple[Tensor, ...], batch: Tensor) -> float:
    """How much harder the code form pulls at the student's groups than the paper form; NaN where neither pulls."""
    norms = []
    for form, beta in (("code", 1000.0), ("paper", 0.1)):
        with torch.no_grad():
            groups = [group.requires_grad_() for group in student(batch).groups]
        loss = beta * activation_transfer(groups, taught, form=form)
        norms.append(torch.stack([gradient.norm() for gradient in torch.autograd.grad(loss, groups)]).norm())
    return (norms[0] / norms[1]).item()


def _maps(groups: tuple[Tensor, ...], mapping: str) -> list[Tensor]:
    return [attention.mapping(mapping)(group) for group in groups]


def _means(groups: tuple[Tensor, ...]) -> list[Tensor]:
    return [group.float().square().mean(1) for group in groups]


def _signed(groups: tuple[Tensor, ...]) -> list[Tensor]:
    return [group.float().sum(1) for group in groups]


def _activated(network: WideResNet, groups: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What the next layer sees of each group: after the batch norm and ReLU that follow it."""
    following = (network.get_submodule("group1.block0.bn0"), network.get_submodule("group2.block0.bn0"), network.bn)
    with torch.no_grad():
        return tuple(F.relu(norm(group)) for norm, group in zip(following, groups, strict=True))


def _distance(ours: list[Tensor], others: list[Tensor]) -> float:
    return fmean(map_statistics.distance(*pair).mean().item() for pair in zip(ours, others, strict=True))


def _old_distillation(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> float:
    """The older public code's KL term, averaged over batch and classes and doubled, over today's."""
    old = F.kl_div(F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1), reduction="batchmean")
    old = old / student.shape[1]
    return (2 * temperature**2 * old / softened_divergence(student, teacher, temperature)).item()
