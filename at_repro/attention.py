"""Attention maps: what a network looks at, as one number per position.

Activation-based maps (section 3.1 of the paper) collapse the channels of an activation tensor, gradient-based ones
(section 3.2) are the derivative of the loss with respect to the input. Grad-CAM, which is not the paper's, stands
beside them for comparison. Normalisation and resizing are separate, visible steps. Maps and norms are computed in
float32 whatever comes in, also under autocast: inputs of lower precision are converted first, and no operation used
below is one that autocast would convert back. float64 stays float64. `input_gradient` has the dtype of the images.
"""

import functools
import math
import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from at_repro.errors import ParameterError, check_choice

MAPPINGS = ("sum-1", "sum-2", "sum-4", "max-1", "max-2")
"""The mapping functions that the experiments name. `mapping` knows every other power as well."""

NORMS = ("l2", "l1", "none")
"""What `normalize` can divide a map by."""

SMALLEST_NORM = 1e-20
"""A map whose norm is smaller is divided by this instead: an all-zero map stays zero and has finite gradients.

Far below any map of a living network, also of F_sum^4, and far from float32's limits."""


def full_precision(values: Tensor) -> Tensor:
    """The same values in float32; float64 is left alone, so that derivatives can be checked numerically."""
    return values if values.dtype == torch.float64 else values.float()


def power_sum(activations: Tensor, p: float = 2) -> Tensor:
    """F_sum (p = 1) and F_sum^p: the sum over channels of abs(A)^p (section 3.1).

    Args:
        activations: (N, C, H, W), any floating dtype, signed.
        p: any positive power. Where A is exactly 0 the derivative is taken as 0, also for p < 1.

    Returns:
        (N, H, W), float32 (float64 for float64). abs(A)^p must fit in that type (float16 is safe up to p = 7, larger
        types where the activations are not huge).

    Raises:
        ParameterError: p is not positive and finite, or the activations are not 4-D.
    """
    _check(activations, p)
    return _power(full_precision(activations), p).sum(dim=1)


def power_max(activations: Tensor, p: float = 1) -> Tensor:
    """F_max^p: the maximum over channels of abs(A)^p (section 3.1).

    Args, shape, dtype and errors as of `power_sum`. Channels that share the maximum share its gradient.
    """
    _check(activations, p)
    strongest = full_precision(activations).abs().amax(dim=1)
    return strongest if p == 1 else _power(strongest, p)  # a power keeps the order, so it can wait for the maximum


def _check(activations: Tensor, p: float) -> None:
    if not 0 < p < math.inf:
        raise ParameterError("p", p, "a positive, finite power")
    if activations.dim() != 4:
        raise ParameterError("activations", f"tensor of shape {tuple(activations.shape)}", "a tensor (N, C, H, W)")


def _power(values: Tensor, p: float) -> Tensor:
    """abs(values)^p. The powers of the paper are products, which cost less than `pow`."""
    if p == 1:
        return values.abs()
    if p == 2:
        return values.square()
    if p == 4:
        return values.square().square()
    # The derivative of pow at 0 is infinite for p < 1, the second one for p < 2; both would turn into NaN after a ReLU.
    magnitudes = values.abs()
    zero = magnitudes == 0
    return magnitudes.masked_fill(zero, 1).pow(p).masked_fill(zero, 0)


def mapping(name: str) -> Callable[[Tensor], Tensor]:
    """The mapping function of that name: `sum-{p}` is F_sum^p, `max-{p}` is F_max^p, p any positive number below 1000.

    Each has one spelling, since names are part of a run's identity: decimal digits, no zeros that could be left out.

    Returns:
        A function of activations (N, C, H, W) that returns maps (N, H, W).

    Raises:
        ParameterError: there is no mapping function of that name.
    """
    match = isinstance(name, str) and re.fullmatch(r"(sum|max)-((?:0|[1-9][0-9]{0,2})(?:\.[0-9]*[1-9])?)", name)
    if not match or float(match[2]) == 0:
        raise ParameterError("mapping", name, (*MAPPINGS, "or sum-{p} and max-{p} with another p from 0 to 1000"))
    return functools.partial(power_sum if match[1] == "sum" else power_max, p=float(match[2]))


def peaks(samples: Tensor) -> Tensor:
    """The largest absolute value of each sample, as a constant to divide by before squaring.

    Squares of large or tiny values leave float32's range where the values do not. Norms are homogeneous, so the peak
    may be treated as a constant: it cancels, and with it every derivative.

    Args:
        samples: (N, ...), of two dimensions or more.

    Returns:
        (N, 1, ...), detached, at least `SMALLEST_NORM`.
    """
    # Not flattened: compiled, a search in another order than that of the memory goes value by value.
    every = tuple(range(1, samples.dim()))
    return samples.detach().abs().amax(dim=every, keepdim=True).clamp_min(SMALLEST_NORM)


def normalize(maps: Tensor, norm: str = "l2") -> Tensor:
    """Each sample's map divided by its own norm (section 3.1: important for the success of the transfer).

    Args:
        maps: (N, H, W), or (N, ...) of two dimensions or more to normalise whole activations.
        norm: "l2", "l1" or "none". The divisor is never smaller than `SMALLEST_NORM`: all-zero maps stay zero.

    Returns:
        Same shape, float32 (float64 for float64). With "l2" and "l1" it does not change when a sample is multiplied by
        a positive number.

    Raises:
        ParameterError: unknown norm, maps of fewer dimensions.
    """
    check_choice("norm", norm, NORMS)
    if maps.dim() < 2:
        raise ParameterError("maps", f"tensor of shape {tuple(maps.shape)}", "a tensor (N, ...), one map per sample")
    maps = full_precision(maps)
    if norm == "none":
        return maps
    maps = maps / peaks(maps)  # times a reciprocal, the largest entry would not be 1, nor its derivative 0
    every = tuple(range(1, maps.dim()))
    # The largest entry is now 1 and the norm at least 1, unless the peak was below SMALLEST_NORM.
    if norm == "l1":
        return maps * maps.abs().sum(dim=every, keepdim=True).clamp_min(1).reciprocal()
    return maps * maps.square().sum(dim=every, keepdim=True).clamp_min(1).rsqrt()


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps interpolated bilinearly to another size (section 3.1), pixels taken as areas (`align_corners=False`).

    There is no antialiasing: at less than half of the size positions are left out.

    Args:
        maps: (..., H, W), floating.
        size: (height, width) wanted.

    Returns:
        (..., height, width), float32 (float64 for float64).
    """
    planes = full_precision(maps).reshape(-1, 1, *maps.shape[-2:])
    planes = F.interpolate(planes, size=tuple(size), mode="bilinear", align_corners=False)
    return planes.reshape(*maps.shape[:-2], *size)


def same_size(*maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (..., H, W) of several networks at the smallest height and the smallest width of all, as they are compared.

    Those that have this size are returned as they are, others as `resize` makes them, in float32 (float64 for float64).
    """
    size = min(x.shape[-2] for x in maps), min(x.shape[-1] for x in maps)
    return tuple(x if x.shape[-2:] == size else resize(x, size) for x in maps)


def input_gradient(losses: Tensor, images: Tensor, create_graph: bool = False) -> Tensor:
    """J = dL(W, x) / dx, the gradient-based attention of each image (section 3.2).

    The paper defines J for one image. The gradient of a batch's *mean* loss would be N times smaller and depend on the
    batch size, so this is the gradient of the *sum* of the per-sample losses: image i gets the gradient of its own
    loss. (Batch norm in training mode couples the images; J then includes what image i does to the others' losses.)

    Args:
        losses: (N,), one loss per image, as from `cross_entropy(..., reduction="none")`.
        images: (N, C, H, W), requires grad, what the losses were computed from.
        create_graph: make J itself differentiable (reverse over reverse).

    Returns:
        (N, C, H, W), dtype of the images. The graph of the losses is kept, so that they can still be trained on. Under
        autocast in float16 elements below 6e-8 are lost: give `scale * losses` and divide J by `scale`.

    Raises:
        ParameterError: the losses are not one per image, or not computed from images that require grad.
    """
    if losses.shape != images.shape[:1]:
        raise ParameterError("losses", f"tensor of shape {tuple(losses.shape)}", f"one loss per image ({len(images)},)")
    gradient = None
    if images.requires_grad and losses.requires_grad:
        (gradient,) = torch.autograd.grad(
            losses.sum(), images, create_graph=create_graph, retain_graph=True, allow_unused=True
        )
    if gradient is None:
        requirement = "images that require grad, from which the losses were computed"
        raise ParameterError("images", "a tensor without a gradient of the losses", requirement)
    return gradient


# Own code: the package `grad-cam` would bring OpenCV, scikit-learn and more for what autograd does in two lines.
def grad_cam(scores: Tensor, activations: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2): the positions of a layer that speak for one class.

    Each channel is weighted by the mean over positions of d score / d A, and what is left of their sum below 0 is cut
    off. Where a mean over positions and a linear layer follow the group directly, as in ResNet, a weight is that of the
    linear layer divided by the number of positions, and the map that of CAM (Zhou et al. 2016) divided by it, cut off
    below 0.

    Args:
        scores: (N,), one logit per image, such as that of the predicted class, before any softmax.
        activations: (N, C, H, W), what the scores were computed from, requires grad: a group of `networks.Output`.

    Returns:
        (N, H, W), not negative, float32 (float64 for float64), without gradient; all 0 where nothing speaks for it.

    Raises:
        ParameterError: the activations are not 4-D; the scores are not one per image, or were not computed from the
            activations, or from no position of any image's.
    """
    if activations.dim() != 4:
        raise ParameterError("activations", f"tensor of shape {tuple(activations.shape)}", "(N, C, H, W)")
    if scores.shape != activations.shape[:1]:
        raise ParameterError("scores", f"tensor of shape {tuple(scores.shape)}", "one per image of the activations")
    if not (scores.requires_grad and activations.requires_grad):
        requirement = (
            "activations that require grad; of a frozen network: call the network with images.requires_grad_()"
        )
        raise ParameterError("activations", "tensor without gradient", requirement)
    (slopes,) = torch.autograd.grad(scores.sum(), activations, retain_graph=True, allow_unused=True)
    if slopes is None:
        raise ParameterError("activations", "tensor that the scores do not depend on", "what they were computed from")
    if not slopes.any():  # a transformer's last block, of which the class token alone is read
        requirement = "a layer whose positions reach the scores: name an earlier block, or the norm inside the last one"
        raise ParameterError("layers", "one at whose positions every gradient is 0", requirement)
    weights = full_precision(slopes).mean((2, 3), keepdim=True)
    return (weights * full_precision(activations.detach())).sum(1).relu()
