"""Training on a function of the input gradient J = dL(W, x)/dx: the mixed second derivative, the other way (section 3).

A penalty P(J) needs dP/dW = <v, dJ/dW> with v = dP/dJ. Reverse-over-reverse backpropagates through the backward pass:
`attention.input_gradient(..., create_graph=True)`. Here the same gradient is taken reverse-over-forward: v is a
constant, so <v, J> is the derivative of the loss in direction v, which one forward pass carries along as a tangent, and
one ordinary backward pass follows. The two share no formula for the second derivative, so each is a test of the other.

On a CPU (torch 2.13) reverse-over-reverse is the faster one, with and without batch norm, and the only one that works
under autocast: it is what to train with there.

Batch norm in the extra pass. The paper leaves it open. In training mode it normalises with the statistics of the batch,
and derivatives go through these statistics, as in the ordinary pass: J and dJ/dW are exactly those of the loss that is
trained. The running statistics follow the ordinary pass only, so they move once per step, as without a penalty.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from at_repro.attention import input_gradient
from at_repro.errors import ParameterError


def directional_loss(
    loss_of_images: Callable[[Tensor], Tensor], images: Tensor, direction: Tensor, network: nn.Module
) -> tuple[Tensor, Tensor]:
    """The losses, and the derivative <direction, J> of their sum along a direction in image space, in one pass.

    Args:
        loss_of_images: from images (N, C, H, W) to one loss per image (N,); no autocast inside.
        images: (N, C, H, W).
        direction: same shape; treated as a constant.
        network: the network inside `loss_of_images`. Its batch norms, which must be modules, are computed by
            `differentiable_batch_norm`, and their running statistics do not move.

    Returns:
        The losses (N,) and the directional derivative (scalar). One ordinary backward pass from either, or from any
        combination, reaches the parameters.

    Raises:
        ParameterError: direction and images differ in shape, the losses are not one per image, or the network has layer
            or instance norms.
    """
    if direction.shape != images.shape:
        wanted = f"the shape of the images, {tuple(images.shape)}"
        raise ParameterError("direction", f"tensor of shape {tuple(direction.shape)}", wanted)
    # Not autograd.forward_ad: its formula for log_softmax works in place and then cannot be differentiated again.
    with differentiable_batch_norm(network):
        losses, tangents = torch.func.jvp(loss_of_images, (images.detach(),), (direction.detach(),))
    if losses.shape != images.shape[:1]:
        raise ParameterError("losses", f"tensor of shape {tuple(losses.shape)}", f"one loss per image ({len(images)},)")
    return losses, tangents.sum()


def gradient_penalty(
    loss_of_images: Callable[[Tensor], Tensor],
    images: Tensor,
    penalty: Callable[[Tensor], Tensor],
    network: nn.Module,
    gradient: Tensor | None = None,
) -> Tensor:
    """A penalty on the input gradient J, ready to be added to the loss: P(J), with its true gradient in the parameters.

    Args:
        loss_of_images: from images (N, C, H, W) to one loss per image (N,); gives the same losses when called again
            (no dropout). See `directional_loss`.
        images: (N, C, H, W). No gradient reaches them.
        penalty: from J (N, C, H, W) to a scalar, such as `losses.min_l2`. For the symmetry norm give images and their
            mirror images as one batch and use `lambda j: symmetry(*j.chunk(2))`.
        network: the network inside `loss_of_images`.
        gradient: J, when the caller has it from its ordinary pass over the same images (`attention.input_gradient`):
            saves a forward and a backward pass. Without it the ordinary pass is made here, and moves the running
            statistics.

    Returns:
        Scalar.

    Raises:
        ParameterError: as `directional_loss`.
    """
    if gradient is None:
        images = images.detach().requires_grad_()
        gradient = input_gradient(loss_of_images(images), images)
    gradient = gradient.detach().requires_grad_()
    value = penalty(gradient)
    (direction,) = torch.autograd.grad(value, gradient)
    _, along = directional_loss(loss_of_images, images, direction, network)
    # Of the directional derivative only the slope is wanted.
    return value.detach() + (along - along.detach())


@contextlib.contextmanager
def differentiable_batch_norm(network: nn.Module) -> Iterator[None]:
    """Inside, batch norms that use the statistics of the batch are computed by ordinary operations.

    PyTorch's forward-mode formula for the fused kernel takes the batch's mean and variance as constants when it is
    differentiated again: the gradients come out wrong, silently. Layer and instance norm have the same fault and are
    refused. Running statistics are left as they are.

    Raises:
        ParameterError: the network has layer or instance norms.
    """
    norms = []
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm | _InstanceNorm):
            wanted = "networks without layer or instance norm; use input_gradient(..., create_graph=True)"
            raise ParameterError("network", f"{type(module).__name__} {name}", wanted)
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            norms.append(module)
    for module in norms:
        module.forward = functools.partial(_batch_norm, module)
    try:
        yield
    finally:
        for module in norms:
            del module.forward


def _batch_norm(module: _BatchNorm, values: Tensor) -> Tensor:
    every_place = (0, *range(2, values.dim()))
    variance, mean = torch.var_mean(values, every_place, correction=0, keepdim=True)
    normal = (values - mean) * (variance + module.eps).rsqrt()
    if not module.affine:
        return normal
    per_channel = (-1, *[1] * (values.dim() - 2))
    return normal * module.weight.view(per_channel) + module.bias.view(per_channel)
