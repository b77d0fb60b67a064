"""Networks with ImageNet weights on photographs: what they take them for, and where they look, beside Grad-CAM."""

import re
from dataclasses import dataclass

from torch import Tensor, nn

from at_repro import attention
from at_repro.analysis import network_maps
from at_repro.analysis.attention_table import PHOTOGRAPHS
from at_repro.analysis.study import WithImages, test_images
from at_repro.data import ImageSet
from at_repro.errors import DataError, ParameterError, check_choice
from at_repro.networks import imagenet
from at_repro.training import engine

GRAD_CAM = "Grad-CAM"


@dataclass(frozen=True)
class Gallery(WithImages):
    """Photographs and networks to look at them with.

    Attributes:
        networks: in evaluation mode, each at its own resolution; those whose weights are here.
        absences: what is not here, one line each.
    """

    networks: dict[str, nn.Module]
    absences: list[str]

    def stamp(self, *names: str) -> str:
        """What a figure of these networks (none: of all) was made from, and what it lacks."""
        resolutions = [
            f"{name} at {self.networks[name].resolution} px" for name in names or self.networks if name in self.networks
        ]
        return "; without ".join(["; ".join([PHOTOGRAPHS, *resolutions]), *self.absences])


def check_network_names(names: list[str]) -> None:
    """Raises ParameterError unless these are one or more names of networks with ImageNet weights, each once."""
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise ParameterError("networks", names, "a list of one or more names, such as ['efficientnet-lite0']")
    for name in names:
        check_choice("networks", name, imagenet.RESOLUTIONS)


def open_gallery(names: list[str], device: str = "auto", data_root: str = "") -> Gallery:
    """Loads the networks and the test images of `PHOTOGRAPHS`; what is not here is noted, not an error.

    Args:
        names: of networks, see `imagenet.RESOLUTIONS`.
        device: "auto", "cpu" or "cuda".
        data_root: empty: the default of `data.data_root`.

    Raises:
        ParameterError: for a value that is not allowed.
    """
    check_network_names(names)
    target = engine.device(device)
    networks: dict[str, nn.Module] = {}
    absences: list[str] = []
    for name in names:
        try:
            networks[name] = imagenet.classifier(name).to(target)
        except DataError as error:
            absences.append(str(error))
    images, note = test_images(PHOTOGRAPHS, data_root, device, download=True)
    if note:
        absences.append(note)
    return Gallery(images, networks, absences)


def titles(network: nn.Module | None, images: ImageSet | None) -> list[str]:
    """A line per photograph: its true class, and what of ImageNet's 1000 classes the network takes it for.

    Empty without network or photographs.
    """
    if network is None or images is None:
        return []
    classes = network_maps.predictions(network, images).tolist()
    names = [re.sub(r"^\d+\.", "", name).replace("_", " ") for name in images.classes]  # 001.Sooty_Albatross, as in CUB
    labels = [names[label] for label in images.labels.tolist()]
    return [f"{label}, seen as: {imagenet.CATEGORIES[of]}" for label, of in zip(labels, classes, strict=True)]


def maps(
    networks: dict[str, nn.Module], images: ImageSet | None, mapping: str = "sum-2"
) -> dict[str, dict[str, Tensor]]:
    """By network, the maps of all its levels, low to top, and behind them Grad-CAM: (N, h, w) each, on the CPU.

    Grad-CAM is that of the top level for the class that the network predicts, see `attention.grad_cam`. Nothing without
    photographs; with them and a network it raises ParameterError for an unknown mapping.
    """
    return {} if images is None else {name: _maps(network, images, mapping) for name, network in networks.items()}


def _maps(network: nn.Module, images: ImageSet, mapping: str) -> dict[str, Tensor]:
    batches = []
    for output in network_maps.outputs(network, images, with_gradients=True):
        cam = attention.grad_cam(output.logits.amax(1), output.groups[-1]).cpu()
        batches.append(network_maps.of_groups(output.groups, [mapping]) | {GRAD_CAM: {GRAD_CAM: cam}})
    levels = network_maps.join(batches)
    return levels[mapping] | levels[GRAD_CAM]
