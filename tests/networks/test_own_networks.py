"""Networks of one's own, by a name of one's own or as "module:function"."""

import inspect
import io
import shutil
import sys
from functools import partial

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from at_repro import networks
from at_repro.analysis.any_model import load_model
from at_repro.errors import ParameterError, UserError
from at_repro.experiments import cluster
from at_repro.networks import registry
from at_repro.records import Store
from at_repro.report.terminal_output import verify
from at_repro.runs import ActivationTransfer, Distillation, Run, checks
from at_repro.training import Progress, train

TINY = {"dataset": "shapes", "subset": 96, "batch_size": 64, "precision": "fp32"}


class Two(nn.Module):
    """Two convolutions, both of them groups."""

    def __init__(self, classes):
        super().__init__()
        self.low, self.top = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.fc = nn.Linear(8, classes)

    def forward(self, images):
        low = self.low(images)
        top = self.top(low.relu())
        return networks.Output(self.fc(top.mean((2, 3))), (low, top))


def tapped(classes):
    """A model of torchvision, of which two layers are groups."""
    return networks.tap(torchvision.models.squeezenet1_1(num_classes=classes), ["features.2", "features.7"])


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})
    networks.register("own-two", Two)
    networks.register("own-squeezenet", tapped)
    yield
    registry._outline.cache_clear()


def test_one_that_reads_numbers_while_it_is_made_can_be_registered(registered):
    """As for rates that grow with depth; on the device "meta" there are none."""

    def counted(classes):
        widths = [int(number) for number in torch.linspace(4, 8, 2)]
        return networks.tap(nn.Sequential(nn.Conv2d(3, widths[1], 1), Mean(), nn.Linear(8, classes)), ["0"])

    class Mean(nn.Module):
        def forward(self, images):
            return images.mean((2, 3))

    before = torch.get_rng_state()
    networks.register("own-counted", counted)
    assert networks.group_channels("own-counted") == (8,) and torch.equal(before, torch.get_rng_state())


def test_a_factory_with_its_arguments_bound_has_a_source(registered):
    def wide(classes, width=1):
        return Two(classes)

    for width in (2, 3):
        networks.register(f"own-bound-{width}", partial(wide, width=width))
    found = [registry.source(f"own-bound-{width}") for width in (2, 3)]
    assert all("return Two(classes)" in one["text"] and one["factory"].endswith("wide") for one in found)
    assert found[0] != found[1]


def test_it_is_built_by_its_name_from_the_given_generator(registered):
    first, again = (networks.build("own-two", 4, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.low.weight, again.low.weight) and first.fc.out_features == 4
    assert networks.group_layers("own-two") == ("low", "top") and networks.group_channels("own-two") == (8, 8)
    assert networks.group_layers("own-squeezenet") == ("model.features.2", "model.features.7")
    assert "own-two" in networks.available()


def test_it_trains_is_recorded_with_its_source_and_verifies(registered, store, quiet, few_test_images):
    """As student, taught by another network of one's own, whose layers are named."""
    teacher = Run("own-squeezenet", epochs=1, learning_rate=0.01, **TINY)
    pairs = (("low", "model.features.2"), ("top", "model.features.7"))
    run = Run("own-two", epochs=1, teacher=teacher, terms=(ActivationTransfer(layers=pairs),), **TINY)
    train([run], store, device="cpu", progress=quiet)
    assert run.run_id.startswith("shapes-own-two-at-s0-")
    network = store.load(run).values["environment"]["network"]
    assert network["factory"].endswith(":Two") and "self.low, self.top" in network["text"]
    assert verify(store, device="cpu") == 0


@pytest.mark.parametrize(
    ("name", "factory", "match"),
    [
        ("wrn-16-1", Two, "^name: 'wrn-16-1'"),
        ("own-two", Two, "^name: 'own-two'"),
        ("a/b", Two, "^name: 'a/b'"),
        ("own-linear", lambda classes: nn.Conv2d(3, classes, 1), r"^network: 'own-linear' .*returns an Output"),
        ("own-none", dict, "^network: 'own-none'"),
    ],
)
def test_what_cannot_be_registered(registered, name, factory, match):
    with pytest.raises(ParameterError, match=match):
        networks.register(name, factory)
    assert name in ("own-two", "wrn-16-1") or name not in networks.available()


def test_a_record_of_a_network_that_is_not_registered_is_one_clear_error(registered, store, quiet, few_test_images):
    run = Run("own-two", epochs=1, **TINY)
    train([run], store, device="cpu", progress=quiet)
    registry._REGISTERED.clear()
    with pytest.raises(ParameterError, match=r"^network: 'own-two' "):
        checks.validate(run)


ODD = """
linear = lambda classes: nn.Conv2d(3, classes, 1)
fixed = lambda classes: Two(7)
no_argument = lambda: Two(10)
failing = lambda classes: {}["a key"]
number = 3

class Odd(nn.Module):
    def __init__(self, logits, groups):
        super().__init__()
        self.output = networks.Output(logits, groups)

    def forward(self, images):
        return self.output

no_logits = lambda classes: Odd(None, ())
no_groups = lambda classes: Odd(torch.zeros(1, classes, device="meta"), None)

class Inner(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.two = Two(classes)

    def forward(self, images):
        return self.two(images)

class Ten(Two):
    def __init__(self, classes):
        super().__init__(10)

class Flat(Two):
    def __init__(self, classes):
        super().__init__(classes)
        self.fc = nn.Linear(8 * 8 * 8, classes)

    def forward(self, images):
        low = self.low(images)
        top = self.top(low.relu())
        return networks.Output(self.fc(top.flatten(1)), (low, top))

class Adaptive(Two):
    def forward(self, images):
        if images.shape[-1] != 32:
            images = images * float(images.abs().max()) + torch.linspace(0, 1, images.shape[-1])
        return super().forward(images)

def late(classes):
    import other
    return other.Two(classes)

class Tied(Two):
    def __init__(self, classes):
        super().__init__(classes)
        self.more = nn.Conv2d(8, 8, 3)
        self.more.weight = self.top.weight
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the working folder, which nothing has imported, with a network and what is none."""
    text = f"import torch\nfrom torch import nn\nfrom at_repro import networks\n\n{inspect.getsource(Two)}"
    (tmp_path / "mine.py").write_text(f"__version__ = '1.2'\n{text}\n{ODD}")
    (tmp_path / "broken.py").write_text("def (")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("mine", None)
    registry._outline.cache_clear()


def test_a_function_of_a_module_is_trained_recorded_verified_and_looked_at(module, store, quiet, few_test_images):
    run = checks.validate(Run("mine:Two", epochs=1, **TINY))
    assert "mine" not in sys.modules, "a spec is read without anybody's code"
    taught = Run("wrn-10-1", epochs=1, teacher=run, terms=(ActivationTransfer(groups=(0, 1)),), **TINY)
    train([taught], store, device="cpu", progress=quiet)
    assert run.run_id.startswith("shapes-mine.Two-plain-s0-")
    network = store.load(run).values["environment"]["network"]
    assert network == {"factory": "mine:Two", "text": inspect.getsource(Two), "version": "1.2"}
    assert verify(store, device="cpu") == 0
    weights = store.folder / run.run_id / "weights.safetensors"
    assert load_model("mine:Two", str(weights)).network.fc.out_features == 10


def test_a_record_of_other_code_is_told_and_not_trained_again(module, store, quiet, few_test_images, tmp_path):
    """Whoever changes a network and calls the same run would take the old number for the new one's."""
    run = Run("mine:Two", epochs=1, **TINY)
    train([run], store, device="cpu", progress=quiet)
    said = io.StringIO()
    train([run], store, device="cpu", progress=Progress(said))
    assert said.getvalue() == ""
    path = tmp_path / "mine.py"
    path.write_text(path.read_text().replace("class Two(nn.Module):", "class Two(nn.Module):  # changed", 1))
    del sys.modules["mine"]
    train([run], store, device="cpu", progress=Progress(said))
    cluster.train_on(None, [run], store, device="cpu", progress=Progress(said))
    told = f"record {run.run_id} is of other code of mine:Two: to train this, delete {store.record_path(run)}\n"
    assert said.getvalue() == 2 * told


class Stopped(Progress):
    def epoch(self, students, images):
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["mine:Two", "mine:Tied"])
def test_a_run_of_a_function_continues_where_it_was_stopped(name, module, store, quiet, few_test_images, tmp_path):
    """In another process, as it were: the module is imported anew. Weights that two layers share are written twice."""
    run = Run(name, epochs=2, **TINY)
    undisturbed = Store(tmp_path / "undisturbed", writable=True)
    train([run], undisturbed, device="cpu", progress=quiet)
    with pytest.raises(KeyboardInterrupt):
        train([run], store, device="cpu", progress=Stopped(io.StringIO()))
    assert store.checkpoint_path(run).exists()
    del sys.modules["mine"]
    train([run], store, device="cpu", progress=quiet)
    weights, expected = (each.load(run).weights() for each in (store, undisturbed))
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_records_are_read_without_the_code_of_their_networks(module, store, quiet, few_test_images, tmp_path, capsys):
    """Whoever is sent records gets no code to run with them; only what builds a network asks for it."""
    run = Run("mine:Two", epochs=1, **TINY)
    train([run], store, device="cpu", progress=quiet)
    del sys.modules["mine"]
    again = Store(store.folder)
    assert list(again.frame()["network"]) == ["mine:Two"] and again.load(run).run == run
    assert "mine" not in sys.modules
    (tmp_path / "mine.py").unlink()
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    assert verify(again, device="cpu") == 1
    assert "network: 'mine:Two' is not allowed; allowed: a function in a module that" in capsys.readouterr().out


LAYERS = "self.low, self.top = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)"


@pytest.mark.parametrize(
    "change",
    [
        LAYERS.replace("8, 8, 3, 2, 1", "8, 8, 5, 2, 2"),
        LAYERS.replace("nn.Conv2d(8, 8, 3, 2, 1)", "nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1))"),
        "self.top, self.low = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(3, 8, 3, 2, 1)",  # whose momentum is in another order
    ],
)
def test_a_checkpoint_of_other_code_is_one_clear_error(change, module, store, quiet, few_test_images, tmp_path):
    """The name of a run says nothing of the code behind "module:function"."""
    run = Run("mine:Two", epochs=2, **TINY)
    with pytest.raises(KeyboardInterrupt):
        train([run], store, device="cpu", progress=Stopped(io.StringIO()))
    text = (tmp_path / "mine.py").read_text()
    assert LAYERS in text
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    (tmp_path / "mine.py").write_text(text.replace(LAYERS, change))
    del sys.modules["mine"]
    registry._outline.cache_clear()
    with pytest.raises(UserError, match=rf"^run {run.run_id} was begun with other code of mine:Two; restore it, or"):
        train([run], store, device="cpu", progress=quiet)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("mine:Ten", r"3 logits of an image of 32 x 32 pixels, not \(1, 10\)"),
        ("mine:Flat", r"3 logits of an image of 64 x 64 pixels \(RuntimeError"),
    ],
)
@pytest.mark.parametrize("way", [train, partial(cluster.train_on, None)])
def test_one_that_takes_ten_classes_or_32_pixels_alone_is_refused_before_its_teacher_trains(
    way, name, match, module, store, quiet, tmp_path
):
    for split in ("train", "test"):
        for kind in ("ant", "bee", "cat"):
            (tmp_path / "own" / split / kind).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "own" / split / kind / "1.png")
    spec = {"dataset": "own@32" if name == "mine:Ten" else "own@64", "epochs": 1, "precision": "fp32", "batch_size": 3}
    run = Run(name, teacher=Run("wrn-10-1", **spec), terms=(Distillation(),), **spec)
    with pytest.raises(ParameterError, match=f"^network: '{name}' .*{match}"):
        way([run], store, device="cpu", data_root=str(tmp_path), progress=quiet)
    assert not list(store.folder.glob("**/*.safetensors"))


def test_one_that_reads_numbers_of_larger_images_is_tried_with_numbers(module):
    networks.check_shapes("mine:Adaptive", 3, 64)


def test_the_working_folder_comes_first_wherever_it_was_on_the_path(module, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("def Two(): return None")
    monkeypatch.setattr(sys, "path", [str(other), *sys.path, str(tmp_path)])
    assert networks.group_layers("mine:Two") == ("low", "top")


def test_what_a_function_imports_when_it_is_called_is_found(module, tmp_path, monkeypatch):
    """Under the command `at-repro`, whose folder is not on Python's path."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    shutil.copy(tmp_path / "mine.py", tmp_path / "other.py")
    try:
        assert networks.build("mine:late", 4).fc.out_features == 4
    finally:
        sys.modules.pop("other", None)


def test_groups_of_inner_layers_cannot_be_frozen(registered):
    """Which layers come before them, the order of modules does not say."""
    run = Run("own-squeezenet", epochs=1, frozen_groups=1, **TINY)
    with pytest.raises(ParameterError, match=r"^frozen_groups: 1 .* model\.features\.2 is an inner layer"):
        checks.validate(run)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("mine:None_", r"a function in a module that can be imported, as my_models:net \(AttributeError.*'None_'"),
        ("nobodys:net", r"ModuleNotFoundError.*'nobodys'"),
        ("broken:net", "SyntaxError"),
        ("mine:number", "3 is not a callable object"),
        ("mine:linear", "returns an Output with as many logits"),
        ("mine:fixed", "returns an Output with as many logits"),
        ("mine:no_argument", r"returns an Output .*TypeError"),
        ("mine:failing", r"returns an Output .*KeyError\('a key'\)"),
        ("mine:no_logits", r"returns an Output .*AttributeError"),
        ("mine:no_groups", r"returns an Output .*TypeError"),
        ("mine:Inner", "groups are outputs of its children"),
        ("mine:", "wrn-{depth}.*module:function"),
    ],
)
def test_a_function_that_makes_no_network_is_one_clear_error_before_training(module, store, quiet, name, match):
    with pytest.raises(ParameterError, match=f"^network: '{name}' is not allowed; allowed: .*{match}"):
        train([Run(name, epochs=1, **TINY)], store, device="cpu", progress=quiet)
    assert not list(store.folder.glob("**/*.safetensors"))
