"""A frozen network with its batch norms folded into its convolutions: the same function, fewer passes over memory."""

import copy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from at_repro.networks.efficientnet import EfficientNetLite
from at_repro.networks.nin import NetworkInNetwork
from at_repro.networks.resnet import ResNet
from at_repro.networks.wrn import WideResNet


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy of `network` for inference only: in eval mode, no parameter requires gradients, batch norms folded.

    A batch norm is folded where it is the only reader of a convolution: all of NIN's, ResNet's and EfficientNet-Lite's,
    `bn1` of every WRN block and, where it is wider than 1, the first batch norm. A WRN's others read a sum, or share
    what they read with a shortcut, and stay. Gradients with respect to the *input* work as before.

    Networks that are not of this package, and subclasses of those that are, are copied and frozen but not folded:
    folding traces the forward pass once, which only is safe for passes known to have no data-dependent control flow
    and no hooks.

    Args:
        network: not changed, and shares no memory with the copy. The copy must stay in eval mode.

    Returns:
        A module with the same inputs and Output, equal up to rounding.
    """
    result = copy.deepcopy(network).eval()
    if type(network) in (WideResNet, NetworkInNetwork, ResNet, EfficientNetLite):
        result = _fold(fx.symbolic_trace(result))
    return result.requires_grad_(False)


def _fold(module: fx.GraphModule) -> fx.GraphModule:
    layers = dict(module.named_modules())
    for norm in [node for node in module.graph.nodes if node.op == "call_module"]:
        conv = norm.args[0]
        if not isinstance(layers[norm.target], nn.BatchNorm2d) or not isinstance(layers.get(conv.target), nn.Conv2d):
            continue
        if len(conv.users) == 1:
            module.set_submodule(conv.target, fuse_conv_bn_eval(layers[conv.target], layers[norm.target]))
            norm.replace_all_uses_with(conv)
            module.graph.erase_node(norm)
    module.delete_all_unused_submodules()
    module.recompile()
    return module
