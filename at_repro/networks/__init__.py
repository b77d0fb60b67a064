"""Networks that return their logits and the activations of their groups, and one way to build them by name."""

from at_repro.networks.fold_batch_norms import fold_batch_norms
from at_repro.networks.foreign_weights import from_authors, load_authors, to_authors
from at_repro.networks.imagenet import ResizeInput, freeze_, load_pretrained_, pretrained
from at_repro.networks.output import Output
from at_repro.networks.registry import (
    available,
    build,
    check_layers,
    check_name,
    check_shapes,
    forward_operations,
    group_channels,
    group_layers,
    is_function,
    load_function,
    parameter_count,
    register,
    source,
)
from at_repro.networks.tap import choose_layers, tap
from at_repro.networks.wrn import WideResNet

__all__ = [
    "Output", "ResizeInput", "WideResNet", "available", "build", "check_layers", "check_name", "check_shapes",
    "choose_layers", "fold_batch_norms", "forward_operations", "freeze_", "from_authors", "group_channels",
    "group_layers", "is_function", "load_authors", "load_function", "load_pretrained_", "parameter_count", "pretrained",
    "register", "source", "tap", "to_authors",
]  # fmt: skip
