"""Any module as a network, by the names of its layers."""

import copy
import gc
import types
import weakref

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from at_repro import attention, losses, networks
from at_repro.errors import ParameterError

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    return torchvision.models.mobilenet_v3_small(num_classes=4).eval()


def test_groups_are_the_outputs_of_the_named_layers(model):
    layers = ["features.1", "features.4"]
    output = networks.tap(model, layers)(IMAGES)
    torch.testing.assert_close(output.logits, model(IMAGES))
    torch.testing.assert_close(output.groups[0], model.features[:2](IMAGES))
    torch.testing.assert_close(output.groups[1], model.features[:5](IMAGES))


def test_groups_can_be_trained_through(model):
    networks.tap(model, ["features.1"])(IMAGES).groups[0].sum().backward()
    assert model.features[0][0].weight.grad is not None
    assert model.features[4].block[0][0].weight.grad is None


def test_the_model_itself_still_works_and_keeps_nothing(model):
    tapped = networks.tap(model, ["features.1"])
    assert model(IMAGES).shape == (2, 4)
    group = weakref.ref(tapped(IMAGES).groups[0])
    gc.collect()
    assert group() is None, "activations outlive their pass"


def test_state_modes_and_copies(model):
    tapped = networks.tap(model, ["features.4"])
    assert not tapped.model.training and tapped.train().model.training
    tapped.eval()
    double = copy.deepcopy(tapped)
    with torch.no_grad():
        model.features[0][0].weight.zero_()
    assert not torch.equal(double(IMAGES).groups[0], tapped(IMAGES).groups[0])
    double.load_state_dict(tapped.state_dict())
    assert torch.equal(double(IMAGES).groups[0], tapped(IMAGES).groups[0])
    assert double.double()(IMAGES.double()).groups[0].dtype == torch.float64


@pytest.mark.slow
def test_can_be_compiled_in_one_graph():
    """With a layer behind the tapped one that overwrites in place."""
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(4)
    tapped = networks.tap(nn.Sequential(*layers), ["0"])
    tapped(IMAGES)
    compiled = torch.compile(tapped, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(IMAGES), tapped(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", ["features.0", "features.2"])
def test_a_layer_that_is_overwritten_in_place_is_seen_as_it_was(layer):
    """SqueezeNet rectifies in place: without a copy the map would be that of the ReLU behind the layer."""
    model = torchvision.models.squeezenet1_1().eval()
    expected = IMAGES
    for module in model.features[: int(layer.split(".")[1]) + 1]:
        expected = module(expected)
    expected = expected.clone()
    found = networks.tap(model, [layer])(IMAGES).groups[0]
    torch.testing.assert_close(found, expected)
    if layer == "features.0":
        assert found.min() < 0


def test_a_residual_branch_is_seen_without_its_shortcut():
    network = networks.build("resnet18").eval()
    inner, block = networks.tap(network, ["layer1.0.bn2", "layer1.0"])(IMAGES).groups
    assert inner.min() < 0 and not torch.equal(inner, block)


def test_a_layer_is_named_once(model):
    with pytest.raises(ParameterError, match=r"^layers: .*every name once"):
        networks.tap(model, ["features.1", "features.1"])


def test_unknown_layers_are_refused_with_names_that_are_near(model):
    with pytest.raises(ParameterError, match=r"^layers: 'feature\.4' .*features\.4"):
        networks.tap(model, ["feature.4"])
    with pytest.raises(ParameterError, match=r"features, avgpool, classifier$"):
        networks.tap(model, ["?"])


@pytest.mark.parametrize("layers", [[], "features"])
def test_layers_must_be_a_list(model, layers):
    with pytest.raises(ParameterError, match=r"^layers: "):
        networks.tap(model, layers)


def test_a_layer_must_return_a_map(model):
    with pytest.raises(ParameterError, match=r"classifier\.0.*\(2, 1024\)"):
        networks.tap(model, ["classifier.0"])(IMAGES)


def test_a_call_without_a_tensor_says_so(model):
    """Not by StopIteration, which would end a reader's loop without a word."""
    with pytest.raises(ParameterError, match=r"^images: \['list'\] is not allowed"):
        networks.tap(model, ["features"])([IMAGES])


def test_a_layer_must_run_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.idle = nn.ReLU()

        def forward(self, images):
            return self.conv(self.conv(images)).mean((2, 3))

    for layer, times in ("conv", 2), ("idle", 0):
        with pytest.raises(ParameterError, match=f"{layer}.*ran {times} times"):
            networks.tap(Twice(), [layer])(IMAGES)


class Around(nn.Module):
    """A model that calls its layer in its own way."""

    def __init__(self, call, layer=None):
        super().__init__()
        self.call, self.layer = call, layer or nn.Conv2d(3, 4, 1)

    def forward(self, images):
        return self.call(self.layer, images).mean((2, 3))


def test_a_layer_that_loses_its_gradients_in_a_checkpoint_is_refused():
    """Else the loss on its maps would be a constant, and nothing would say so."""

    def checkpointed(reentrant):
        return networks.tap(Around(lambda layer, x: checkpoint(layer, x, use_reentrant=reentrant)), ["layer"])

    images = IMAGES.clone().requires_grad_()
    with pytest.raises(ParameterError, match=r"^layers: 'layer' .*use_reentrant=False"):
        checkpointed(True)(images)
    assert checkpointed(False)(images).groups[0].requires_grad
    assert not checkpointed(True).eval()(images).groups[0].requires_grad, "nothing is trained"
    with torch.no_grad():
        assert len(checkpointed(True)(images).groups) == 1, "a teacher"


def test_a_second_call_before_the_first_has_returned_is_refused():
    """As of threads, which would take each other's groups."""
    tapped = networks.tap(Around(lambda layer, x: tapped(x).groups[0]), ["layer"])
    with pytest.raises(
        ParameterError, match=r"^model: 'Around' is not allowed; allowed: a model in one call at a time"
    ):
        tapped(IMAGES)
    tapped.model.call = lambda layer, x: layer(x)
    assert len(tapped(IMAGES).groups) == 1, "the first one has returned"


def test_a_layer_may_return_a_tuple_that_begins_with_its_activations():
    class Pair(nn.Conv2d):
        def forward(self, images):
            return super().forward(images), None

    model = Around(lambda layer, x: layer(x)[0], Pair(3, 4, 1))
    logits, (group,) = networks.tap(model, ["layer"])(IMAGES)
    assert torch.equal(group, model.layer(IMAGES)[0]) and torch.equal(logits, pooled(group))
    assert torch.autograd.grad(logits.sum(), group)[0].shape == group.shape


def test_the_mean_over_the_batches_of_a_step_is_left_to_the_trainer_of_hugging_face(model):
    assert networks.tap(model, ["features.1"]).accepts_loss_kwargs is False


def pooled(groups):
    """A network whose logits are the means of a layer's channels, so that its group decides them."""
    return groups.flatten(2).mean(2)


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("resnet18", "layer4", (512, 2, 2)),
        ("mobilenet_v3_small", "features.12", (576, 2, 2)),
        ("convnext_tiny", "features.7", (768, 2, 2)),
        ("swin_t", "features.1", (96, 16, 16)),
    ],
)
def test_models_of_torchvision_go_on_from_their_groups(name, layer, shape):
    """Grad-CAM asks for the gradient of a logit by the group: there is none where the group is a copy."""
    model = getattr(torchvision.models, name)().eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits, (group,) = networks.tap(model, [layer])(images)
    assert group.shape == (1, *shape)
    torch.testing.assert_close(logits, model(images))
    assert attention.grad_cam(logits[:, 0], group).shape == (1, *shape[1:])


class Tokens(nn.Module):
    """Returns tokens that say where they come from, behind so many that stand for no part of the image."""

    def __init__(self, prefix: int):
        super().__init__()
        self.prefix, self.layer = prefix, nn.Identity()

    def forward(self, images):
        tokens = images.flatten(2).transpose(1, 2)
        extra = torch.full((len(images), self.prefix, tokens.shape[2]), 7.0)
        return self.layer(torch.cat([extra, tokens], 1)).mean(1)


@pytest.mark.parametrize("prefix", [0, 1, 2, 4, 5])
def test_tokens_are_put_where_they_come_from(prefix):
    images = IMAGES[..., :8, :8]
    assert torch.equal(networks.tap(Tokens(prefix), ["layer"])(images).groups[0], images)


def test_images_are_known_beside_labels():
    """Which come first where a collator puts them first: a map has the images' proportions, not those of one label."""

    class Labelled(Tokens):
        def forward(self, labels, images):
            return super().forward(images)

    tapped = networks.tap(Labelled(0), ["layer"])
    labels, images = torch.arange(len(IMAGES)), IMAGES[..., :2, :8]  # of 16 positions, as many as 4 x 4
    with pytest.raises(ParameterError, match=r"^grid: None .* layer returned 16 tokens"):
        tapped(labels=labels, images=images)
    square = IMAGES[..., :4, :4]
    assert torch.equal(tapped(labels=labels, images=square).groups[0], square)


def test_tokens_of_other_grids_are_named():
    images = IMAGES[..., :8, :4]
    assert torch.equal(networks.tap(Tokens(3), ["layer"], grid=(8, 4))(images).groups[0], images)
    with pytest.raises(ParameterError, match=r"^grid: None .* layer returned 33 tokens"):
        networks.tap(Tokens(1), ["layer"])(images)
    with pytest.raises(ParameterError, match=r"^grid: \(8, 5\) .* 33 tokens of layer"):
        networks.tap(Tokens(1), ["layer"], grid=(8, 5))(images)
    with pytest.raises(ParameterError, match=r"^grid: \(4, 4\) .* most of the 33 tokens of layer"):
        networks.tap(Tokens(1), ["layer"], grid=(4, 4))(images)  # of half of the image
    with pytest.raises(ParameterError, match=r"^grid: \(2, 2\) .* most of the 9 tokens"):
        networks.tap(Tokens(0), ["layer"], grid=(2, 2))(IMAGES[..., :3, :3])
    for grid in ((0, 4), (8,), (8, 4, 1), 8):
        with pytest.raises(ParameterError, match=r"^grid: .* two integers from 1$"):
            networks.tap(Tokens(1), ["layer"], grid=grid)


def test_one_position_has_more_tokens_before_it_than_of_its_own():
    """As of a transformer with patches of 32 pixels, which is looked at with an image of 32 when it is registered."""
    images = IMAGES[..., :1, :1]
    for prefix in (1, 5):
        assert torch.equal(networks.tap(Tokens(prefix), ["layer"], grid=(1, 1))(images).groups[0], images)


class ChannelsLast(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.layer = nn.LayerNorm(channels)

    def forward(self, images):
        return self.layer(images.repeat(1, 10, 1, 1)[:, : self.layer.normalized_shape[0]].permute(0, 2, 3, 1)).mean(
            (1, 2)
        )


def test_channels_that_come_last_are_never_taken_for_positions():
    images = IMAGES[..., :16, :8]
    output = networks.tap(ChannelsLast(30), ["layer"])(images)
    assert output.groups[0].shape == (2, 30, 16, 8)
    torch.testing.assert_close(output.logits, pooled(output.groups[0]))
    square = IMAGES[..., :8, :8]
    with pytest.raises(ParameterError, match=r"^layout: None .* \(2, 8, 8, 8\) of layer"):
        networks.tap(ChannelsLast(8), ["layer"])(square)
    output = networks.tap(ChannelsLast(8), ["layer"], layout="NHWC")(square)
    torch.testing.assert_close(output.logits, pooled(output.groups[0]))
    with pytest.raises(ParameterError, match=r"^layout: 'last'.*NCHW"):
        networks.tap(ChannelsLast(8), ["layer"], layout="last")


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.layer, self.wrap = nn.Conv2d(3, 4, 1), wrap

    def forward(self, images):
        group = self.layer(images)
        return self.wrap(pooled(group), group)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits, group: (logits, [group]),
        lambda logits, group: [logits],
        lambda logits, group: {"logits": logits, "loss": group},
        lambda logits, group: {"out": logits},
        lambda logits, group: types.SimpleNamespace(logits=logits),
    ],
)
def test_logits_are_found_in_the_usual_wrappings(wrap):
    output = networks.tap(Wrapped(wrap), ["layer"])(IMAGES)
    torch.testing.assert_close(output.logits, pooled(output.groups[0]))


@pytest.mark.parametrize(
    ("wrap", "what"),
    [(lambda logits, group: {"scores": logits}, "dict of scores"), (lambda logits, group: None, "None")],
)
def test_a_model_without_logits_says_what_came(wrap, what):
    with pytest.raises(ParameterError, match=f"^model: .*{what}"):
        networks.tap(Wrapped(wrap), ["layer"])(IMAGES)


def test_a_convolutional_student_learns_where_a_transformer_looks():
    """The distance of their maps falls by AT alone, at unequal resolutions."""
    torch.manual_seed(0)
    teacher = torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=4).eval()
    teacher = networks.tap(teacher, ["encoder.layers.encoder_layer_1"])
    student = networks.tap(torchvision.models.resnet18(num_classes=4), ["layer2"])
    with torch.no_grad():
        taught = teacher(IMAGES).groups
    optimizer = torch.optim.SGD(student.parameters(), lr=0.02)
    distances = []
    for _ in range(8):
        loss = losses.activation_transfer(student(IMAGES).groups, taught)
        optimizer.zero_grad()
        (1000 * loss).backward()
        optimizer.step()
        distances.append(loss.item())
    assert distances[-1] < distances[0] / 2
