"""What the attention maps of trained networks say, in numbers."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from at_repro import attention, data
from at_repro.analysis import map_statistics
from at_repro.data import Images, ImageSet, augment
from at_repro.errors import ParameterError
from at_repro.networks import Output

LEVELS = ("low", "middle", "top")
BATCH = 250  # of images of 32 x 32 pixels, see `batches`


def check_mappings(mappings: list[str]) -> None:
    """Raises ParameterError unless these are one or more names of mapping functions, see `attention.mapping`."""
    if not isinstance(mappings, list) or not mappings:
        raise ParameterError("mappings", mappings, "a list of one or more mapping functions, such as ['sum-2']")
    for mapping in mappings:
        attention.mapping(mapping)


def maps(network: nn.Module, images: Images, mapping: str = "sum-2") -> list[Tensor]:
    """Attention maps of a network in evaluation mode: one tensor (N, H, W) per group, low to top, float32 on the CPU.

    Raises ParameterError for an unknown mapping.
    """
    return list(maps_by_mapping(network, images, [mapping])[mapping].values())


def maps_by_mapping(network: nn.Module, images: Images, mappings: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """`maps` by mapping function and level, for which the network sees the images once. Raises ParameterError."""
    functions = {mapping: attention.mapping(mapping) for mapping in mappings}
    parts = [
        {mapping: [function(group).cpu() for group in output.groups] for mapping, function in functions.items()}
        for output in _outputs(network, images)
    ]
    return {
        mapping: by_level([torch.cat(level) for level in zip(*(part[mapping] for part in parts), strict=True)])
        for mapping in functions
    }


def by_network(
    networks: dict[str, nn.Module], images: Images | None, mappings: Sequence[str] = ("sum-2",)
) -> dict[str, dict[str, dict[str, Tensor]]]:
    """`maps_by_mapping` of several networks, for `map_statistics.measure`; nothing without images."""
    return {} if images is None else {n: maps_by_mapping(network, images, mappings) for n, network in networks.items()}


def predictions(network: nn.Module, images: Images) -> Tensor:
    """The class that a network in evaluation mode gives each image: int64 (N,), on the CPU."""
    return torch.cat([output.logits.argmax(1).cpu() for output in _outputs(network, images)])


def rows(
    networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2", first: int = 0
) -> dict[str, Tensor]:
    """The maps of several networks on the same images, by labels such as "low, teacher", level after level.

    Nothing without images.

    Args:
        first: the index of the level to begin with.
    """
    maps = {name: of_network[mapping] for name, of_network in by_network(networks, images, [mapping]).items()}
    levels = max((list(levels) for levels in maps.values()), key=len, default=[])
    return {
        f"{level}, {name}": of_network[level]
        for level in levels[first:]
        for name, of_network in maps.items()
        if level in of_network
    }


def mapping_rows(
    networks: dict[str, nn.Module], images: ImageSet | None, mappings: Sequence[str], level: int
) -> dict[str, Tensor]:
    """The maps that several mapping functions make of the same activations, by labels such as "sum-2, teacher".

    Nothing without images. Raises ParameterError for an unknown mapping.
    """
    maps = by_network(networks, images, mappings)
    return {
        f"{mapping}, {name}": list(of_network[mapping].values())[level]
        for mapping in mappings
        for name, of_network in maps.items()
    }


def norms(networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2") -> pd.DataFrame:
    """The l2 norm of every network's raw maps, at every level and image: what `attention.normalize` divides by.

    Returns columns network, level, norm; no rows without images or networks. Raises ParameterError for an unknown
    mapping.
    """
    norms = map_statistics.measure(by_network(networks, images, [mapping]), images, ["norm"])
    return norms[["network", "level", "value"]].rename(columns={"value": "norm"})


def mapping_correlations(
    network: nn.Module | None, images: ImageSet | None, mappings: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Pearson's correlation, over positions, of the maps that two mapping functions make of the same activations.

    By level a square frame, with the mappings as index and columns: the mean over images. An image on which one of the
    two maps is uniform counts for nothing. Nothing without network or images. Raises ParameterError for an unknown
    mapping.
    """
    if network is None or images is None:
        return {}
    maps = maps_by_mapping(network, images, mappings)
    return {
        level: pd.DataFrame(
            {
                other: {own: map_statistics.correlation(maps[own][level], maps[other][level]).nanmean().item()
                        for own in maps}
                for other in maps
            }
        )
        for level in maps[mappings[0]]
    }  # fmt: skip


def resized_rows(
    networks: dict[str, nn.Module], images: ImageSet | None, level: int, mapping: str = "sum-2"
) -> dict[str, Tensor]:
    """The maps of one level at their own size, and resized to half and a quarter of it as if paired with smaller ones.

    By labels such as "8x8, teacher"; nothing without images. Raises ParameterError for an unknown mapping.
    """
    if images is None:
        return {}
    rows = {}
    for name, network in networks.items():
        own = maps(network, images, mapping)[level]
        height, width = own.shape[1:]
        for by in (1, 2, 4):
            size = (height // by, width // by)
            rows[f"{size[0]}x{size[1]}, {name}"] = attention.resize(own, size)
    return rows


def channel_rows(
    networks: dict[str, nn.Module], images: ImageSet | None, level: int, count: int = 4
) -> dict[str, Tensor]:
    """What F-ActT compares, abs(A_c) of the strongest channels of a level, and what AT does, the F_sum^2 map.

    The `count` channels with the most energy, the sum of A_c^2 over places and images, strongest first. By labels such
    as "channel 3, teacher", counted from 0, and "sum-2, teacher"; nothing without images.
    """
    if images is None:
        return {}
    rows = {}
    for name, network in networks.items():
        activations = torch.cat([output.groups[level].cpu() for output in _outputs(network, images)])
        energy = activations.square().sum((0, 2, 3))
        for channel in energy.argsort(descending=True, stable=True)[:count].tolist():
            rows[f"channel {channel}, {name}"] = activations[:, channel].abs()
        rows[f"sum-2, {name}"] = attention.power_sum(activations)
    return rows


def softened(
    networks: dict[str, nn.Module], images: ImageSet | None, temperatures: Sequence[float], count: int = 4
) -> pd.DataFrame:
    """What distillation compares: the class probabilities of the first `count` images, softmax(logits / T) at each T.

    Returns columns image (its place in the set), network, temperature, class, probability; no rows without images or
    networks. Raises ParameterError for a temperature that is not positive.
    """
    for temperature in temperatures:
        if not temperature > 0:
            raise ParameterError("temperature", temperature, "a positive number")
    rows = []
    if images is not None:
        first = images.select(slice(count))
        for name, network in networks.items():
            logits = torch.cat([output.logits.cpu() for output in _outputs(network, first)])
            for temperature in temperatures:
                for image, probabilities in enumerate((logits / temperature).softmax(1).tolist()):
                    pairs = zip(images.classes, probabilities, strict=True)
                    rows += [(image, name, temperature, label, probability) for label, probability in pairs]
    return pd.DataFrame(rows, columns=["image", "network", "temperature", "class", "probability"])


def difference_rows(
    networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2", teacher: str = "teacher"
) -> dict[str, Tensor]:
    """Where students look otherwise than their teacher: abs(Q_S - Q_T) of l2-normalised maps, whose squares AT adds up.

    By labels such as "low, student", level after level; nothing without images or teacher. Raises ParameterError for an
    unknown mapping.
    """
    if images is None or teacher not in networks:
        return {}
    taught = [attention.normalize(level) for level in maps(networks[teacher], images, mapping)]
    students = {
        name: [attention.normalize(level) for level in maps(network, images, mapping)]
        for name, network in networks.items()
        if name != teacher
    }
    return {
        f"{level}, {name}": (own[index] - taught[index]).abs()
        for index, level in enumerate(level_names(len(taught)))
        for name, own in students.items()
    }


def gradient_rows(networks: dict[str, nn.Module], images: ImageSet | None) -> dict[str, Tensor]:
    """Gradient attention of several networks, ``|dL/dx|`` summed over colours, by labels such as "J, teacher".

    Nothing without images.
    """
    if images is None:
        return {}
    return {
        f"J, {name}": attention.gradient_map(_gradient(network, images, mirrored=False))
        for name, network in networks.items()
    }


def mirrored_rows(networks: dict[str, nn.Module], images: ImageSet | None) -> dict[str, Tensor]:
    """What the symmetry norm compares: J of the images, and J of their mirror images, mirrored back; as maps.

    Then the map of their difference, which is what the norm makes small. By labels such as "J(x), teacher"; nothing
    without images.
    """
    if images is None:
        return {}
    rows = {}
    for name, network in networks.items():
        own, other = _gradient(network, images, mirrored=False), _gradient(network, images, mirrored=True).flip(-1)
        for label, gradient in (("J(x)", own), ("mirrored", other), ("difference", own - other)):
            rows[f"{label}, {name}"] = attention.gradient_map(gradient)
    return rows


def gradients(networks: dict[str, nn.Module], images: Images | None, teacher: str = "teacher") -> pd.DataFrame:
    """What gradient-based transfer and the symmetry norm act on, a row per network, means over images.

    Columns: `network`; `norm`, the l2 norm of J = dL/dx; `symmetry`, the cosine of the angle between J(x) and the
    mirrored J of the mirror image, 1 where flips change no more than its length; `distance`, the l2 norm of J minus the
    teacher's, and `cosine`, that of the angle between the two (both NaN without teacher, which has 0 and 1).
    No rows without images or networks. An image whose J is 0 counts for `norm` and `distance` alone.
    """
    sums: dict[str, list[Tensor]] = {name: [] for name in networks} if images is not None else {}
    for batch in images.chunks(BATCH) if sums and images is not None else ():
        gradients = {name: _gradient(network, batch, mirrored=False).flatten(1) for name, network in networks.items()}
        taught = gradients.get(teacher)
        for name, own in gradients.items():
            other = _gradient(networks[name], batch, mirrored=True).flip(-1).flatten(1)
            nothing = torch.full((len(own),), float("nan"))
            difference = nothing if taught is None else (own - taught).norm(dim=1)
            cosine = nothing if taught is None else _cosine(own, taught)
            sums[name].append(torch.stack([own.norm(dim=1), _cosine(own, other), difference, cosine]))
    means = [(name, *torch.cat(parts, 1).double().nanmean(1).tolist()) for name, parts in sums.items()]
    return pd.DataFrame(means, columns=["network", "norm", "symmetry", "distance", "cosine"])


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    """Of the angles between rows: (N, D) twice to (N,); NaN where one is 0, which has no direction."""
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


def _gradient(network: nn.Module, images: ImageSet, mirrored: bool) -> Tensor:
    """J of a network in evaluation mode at the images or at their mirror images: (N, 3, H, W), on the CPU."""
    network.eval()
    batch = augment.normalize(images.images, *data.normalization(images.name))
    batch = (batch.flip(-1) if mirrored else batch).requires_grad_()
    task = F.cross_entropy(network(batch).logits, images.labels, reduction="none")
    return attention.input_gradient(task, batch).cpu()


def of_level(rows: dict[str, Tensor], level: str) -> dict[str, Tensor]:
    """Of maps by labels such as "low, teacher", see `rows`, those of one level, by the rest of their labels."""
    return {label.removeprefix(f"{level}, "): maps for label, maps in rows.items() if label.startswith(f"{level}, ")}


def one_per_class(images: Images, count: int = 1) -> ImageSet:
    """The first `count` images of every class in the set's order: a rule stated in advance, never a choice by hand."""
    of_class = [(images.labels == label).nonzero()[:count, 0] for label in range(len(images.classes))]
    return images.select(torch.cat(of_class))


def level_names(count: int) -> Sequence[str]:
    """Names of a network's levels: low, middle and top for three groups, else their numbers."""
    return LEVELS if count == len(LEVELS) else [f"level {index + 1}" for index in range(count)]


def by_level(maps: Sequence[Tensor]) -> dict[str, Tensor]:
    """A network's maps, low to top, by the names of their levels."""
    return dict(zip(level_names(len(maps)), maps, strict=True))


def level(name: str) -> int:
    """The index of a level of a network with three groups. Raises ParameterError."""
    if name not in LEVELS:
        raise ParameterError("level", name, LEVELS)
    return LEVELS.index(name)


def batches(network: nn.Module, images: Images) -> Iterator[ImageSet]:
    """The images in parts whose activations fit into memory: as many pixels at a time as 250 images of 32x32 have."""
    resolution = getattr(network, "resolution", images.resolution)  # of `networks.ResizeInput`
    return images.chunks(max(1, BATCH * 32**2 // resolution**2))


@torch.no_grad()
def _outputs(network: nn.Module, images: Images) -> Iterator[Output]:
    """What a network in evaluation mode makes of the images, batch by batch."""
    mean, std = data.normalization(images.name)
    network.eval()
    for batch in batches(network, images):
        yield network(augment.normalize(batch.images, mean, std))
