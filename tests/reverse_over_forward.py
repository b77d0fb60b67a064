"""Training on a function of the input gradient J = dL(W, x)/dx: the mixed second derivative, the other way (section 3).

A penalty P(J) needs dP/dW = <v, dJ/dW> with v = dP/dJ. Reverse-over-reverse backpropagates through the backward pass:
`attention.input_gradient(..., create_graph=True)`. Here the same gradient is taken reverse-over-forward: v is a
constant, so <v, J> is the derivative of the loss in direction v, which one forward pass carries along as a tangent, and
one ordinary backward pass follows. The two share no formula for the second derivative, so each is a test of the other.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from at_repro.attention import input_gradient


def gradient_penalty(
    loss_of_images: Callable[[Tensor], Tensor], images: Tensor, penalty: Callable[[Tensor], Tensor], network: nn.Module
) -> Tensor:
    """A penalty on the input gradient J, ready to be added to the loss: P(J), with its true gradient in the parameters.

    Args:
        loss_of_images: from images (N, C, H, W) to one loss per image (N,); no autocast and no dropout inside.
        penalty: from J (N, C, H, W) to a scalar, such as `losses.min_l2`.
        network: the network inside `loss_of_images`.
    """
    images = images.detach().requires_grad_()
    gradient = input_gradient(loss_of_images(images), images).detach().requires_grad_()
    value = penalty(gradient)
    (direction,) = torch.autograd.grad(value, gradient)
    # Not autograd.forward_ad: its formula for log_softmax works in place and then cannot be differentiated again.
    with _differentiable_batch_norm(network):
        _, tangents = torch.func.jvp(loss_of_images, (images.detach(),), (direction.detach(),))
    along = tangents.sum()
    # Of the directional derivative only the slope is wanted.
    return value.detach() + (along - along.detach())


@contextlib.contextmanager
def _differentiable_batch_norm(network: nn.Module) -> Iterator[None]:
    """Inside, batch norms that use the statistics of the batch are computed by ordinary operations.

    PyTorch's forward-mode formula for the fused kernel takes the batch's mean and variance as constants when it is
    differentiated again: the gradients come out wrong, silently.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
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
    per_channel = (-1, *[1] * (values.dim() - 2))
    return normal * module.weight.view(per_channel) + module.bias.view(per_channel)
