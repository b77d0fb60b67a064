"""`at-repro maps`: any model, any pictures."""

import gc
import math
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from at_repro import cli
from at_repro.data import augment, folders
from at_repro.errors import DataError, ParameterError
from at_repro.report import maps

MODEL = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.top = nn.Conv2d(3, 4, 7, 4, 3), nn.Conv2d(4, 6, 3, 8, 1)

    def forward(self, images):
        return self.top(self.low(images).relu()).mean((2, 3))

def tiny():
    torch.manual_seed(0)
    return Tiny()

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.block = nn.Conv2d(3, 4, (32, 56), (32, 56)), nn.Linear(4, 4)

    def forward(self, images):
        return self.block(self.embed(images).flatten(2).mT).mean(1)

def of_32_pixels():
    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(4 * 8 * 8, 2))

def one_score():
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a model and twenty pictures of several formats and shapes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_model.py").write_text(MODEL)
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        mode, suffix = [("RGB", "jpg"), ("RGBA", "png"), ("L", "webp")][number % 3]
        pixels = torch.randint(256, (40 + number, 30, 3), generator=torch.Generator().manual_seed(number))
        picture = Image.fromarray(pixels.byte().numpy()).convert(mode)
        picture.save(tmp_path / "pictures" / f"{number:02d}.{suffix}")
    return tmp_path


@pytest.fixture
def no_figure(monkeypatch):
    """For what is read from the table alone: of many pictures a figure is tall, and takes most of the time."""
    monkeypatch.setattr(maps, "_save", lambda *_: None)


def draw(folder="pictures", **options):
    return maps.draw("own_model:tiny", [folder], "maps.png", **options)


def test_a_folder_that_is_called_as_a_model_is_no_picture(folder, monkeypatch):
    drawn = []
    monkeypatch.setattr(maps, "draw", lambda model, pictures, *_, **__: drawn.append((model, pictures)) or 0)
    for name in ("resnet50", "own"):
        shutil.copytree("pictures", name)
    shutil.copy("pictures/00.jpg", "resnet50.jpg")
    for name in ("resnet50", "own", "resnet50.jpg"):
        assert cli.main(["maps", name, "pictures", "-o", "maps.png"]) == 0
    own, file = (("efficientnet-lite0", [name, "pictures"]) for name in ("own", "resnet50.jpg"))
    assert drawn == [("resnet50", ["pictures"]), own, file]


@pytest.mark.parametrize("kind", maps.KINDS)
def test_every_kind_of_map_is_drawn(folder, kind, monkeypatch):
    monkeypatch.setattr(maps, "DRAWN", 3)
    drawn, panel = {}, maps.figures.overlay_panel
    monkeypatch.setattr(
        maps.figures,
        "overlay_panel",
        lambda images, columns, *rest: drawn.update(columns) or panel(images, columns, *rest),
    )
    assert draw(kind=kind) == 3
    labels = {"activation": ["level 1: low", "level 2: top"], "gradient": ["gradient"], "grad-cam": ["Grad-CAM, top"]}
    assert list(drawn) == labels[kind] and all(of.flatten(1).std(1).min() > 0 for of in drawn.values()), "a blank map"
    with Image.open("maps.png") as figure:
        assert figure.height > figure.width / 2 and len(figure.getcolors(10**7)) > 1000


@pytest.mark.parametrize(("suffix", "start"), [("pdf", b"%PDF-"), ("svg", b"<?xml")])
def test_a_figure_has_the_format_that_its_name_says(folder, suffix, start):
    maps.draw("own_model:tiny", ["pictures/00.jpg"], f"maps.{suffix}")
    assert Path(f"maps.{suffix}").read_bytes().startswith(start)


def test_tokens_that_are_no_square_lie_on_the_grid_that_is_named(folder, monkeypatch):
    drawn = {}
    monkeypatch.setattr(maps, "_save", lambda images, columns, *_: drawn.update(columns))
    tokens = ("own_model:Tokens", ["pictures/00.jpg"], "maps.png")
    with pytest.raises(ParameterError, match="grid"):
        maps.draw(*tokens, layers=["block"])
    maps.draw(*tokens, layers=["block"], grid=(7, 4))
    assert [of.shape for of in drawn.values()] == [(1, 7, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet18", "vit_b_16"])
def test_models_of_torchvision_from_one_command(model, folder, own_signals, capsys):
    """Three levels each, without naming a layer."""
    assert cli.main(["maps", model, "pictures/00.jpg", "--weights", "random", "--csv", "maps.csv"]) == 0
    table = pd.read_csv("maps.csv")
    assert table["level"].nunique() == 3 and table["value"].between(0, 100).all()
    assert Image.open("maps.png").width > 500 and "1 picture(s) measured" in capsys.readouterr().out


def test_statistics_are_those_of_each_picture(folder, no_figure):
    assert draw(csv="maps.csv", layers=["low"], mapping="sum-4") == 20
    table = pd.read_csv("maps.csv")
    assert list(table["image"].unique()) == sorted(f"pictures/{name}" for name in os.listdir("pictures"))
    assert set(table["level"]) == {"level 1: low"} and set(table["statistic"]) == {"entropy", "top share"}
    assert set(table["mapping"]) == {"sum-4"} and len(table) == 40
    import own_model  # of the working folder

    entropies = table[table["statistic"] == "entropy"].set_index("image")["value"]
    for path in ("pictures/03.jpg", "pictures/06.jpg"):
        picture = folders.load_square(path, 224)[None]
        activation = own_model.tiny().low(augment.normalize(picture, folders.MEAN, folders.STD))
        mass = activation.double().abs().pow(4).sum(1).flatten()
        mass /= mass.sum()
        entropy = -(mass * mass.log()).sum() / math.log(len(mass))
        assert entropies[path] == pytest.approx(100 * entropy.item(), rel=1e-4)


def test_no_picture_of_a_folder_is_left_out(folder, no_figure):
    """The one that cannot be read is named, as in a data set."""
    Image.open("pictures/00.jpg").save("pictures/moving.GIF")
    assert draw(csv="maps.csv", layers=["low"]) == 21
    (folder / "pictures" / "phone.HEIC").write_bytes(b"of a phone")
    with pytest.raises(DataError, match=r"phone\.HEIC: the image is none of"):
        draw(csv="maps.csv", layers=["low"])


def test_rows_that_a_killed_process_left_are_not_taken_along(folder, no_figure):
    (folder / ".maps.csv.tmp").write_text("of yesterday\n")
    draw(csv="maps.csv", layers=["low"])
    assert len(pd.read_csv("maps.csv")) == 40


def test_a_table_names_what_was_measured(folder, monkeypatch):
    """Beside a figure of the first pictures."""
    monkeypatch.setattr(maps, "DRAWN", 1)
    draw(csv="maps.csv", kind="gradient")
    with Image.open("maps.png") as figure:
        assert figure.height < figure.width
    assert set(pd.read_csv("maps.csv")["mapping"]) == {"gradient"}


def test_a_model_of_another_size_says_so_before_anything_else_and_takes_it(folder, capsys, own_signals):
    for layers in ([], ["--layers", "0"]):
        command = ["maps", "own_model:of_32_pixels", "pictures/00.jpg", *layers]
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert re.search("^at-repro: model: .*own_model:of_32_pixels.*224, 224\\); --size gives another", line)
        assert cli.main([*command, "--size", "32"]) == 0


def test_a_bad_file_is_named_before_anything_is_computed(folder, monkeypatch):
    (folder / "pictures" / "zz.jpg").write_text("no picture")
    monkeypatch.setattr(maps, "load_model", lambda *_: pytest.fail("the model was built first"))
    with pytest.raises(DataError, match=r"zz\.jpg: the image is none of"):
        draw(csv="maps.csv")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pictures(folder, no_figure, monkeypatch):
    """At each batch as many objects are alive, and tensors of as many bytes, as at the third one."""
    (folder / "many").mkdir()
    for number in range(128):
        shutil.copy("pictures/00.jpg", folder / "many" / f"{number:03d}.jpg")
    alive, measure, picture = [], maps.map_statistics.tabulate, maps.folders.load_square

    def count(networks, images, statistics):
        gc.collect()
        objects = gc.get_objects()
        # Not of packed weights, which a compiled teacher of another test may have: they do not tell their size.
        tensors = [it for it in objects if type(it) is torch.Tensor and it.layout is torch.strided]
        alive.append((len(objects), sum(tensor.untyped_storage().nbytes() for tensor in tensors)))
        return measure(networks, images, statistics)

    monkeypatch.setattr(maps.map_statistics, "tabulate", count)
    monkeypatch.setattr(maps.folders, "load_square", lambda path, _: picture(path, 32))  # in a fiftieth of the time
    assert draw("many", csv="maps.csv", layers=["low"]) == 128
    objects, tensors = zip(*alive[2:], strict=True)
    assert len(alive) == 128 / maps._BATCH and len(set(tensors)) == 1
    assert max(objects) < objects[0] + 128, "fewer than one more per picture"


def test_the_command_takes_a_picture_alone_for_a_picture(folder, capsys, own_signals, monkeypatch):
    chosen = []
    record = lambda model, pictures, *_, **named: chosen.append((model, pictures, named)) or 1  # noqa: E731
    monkeypatch.setattr(maps, "draw", record)
    assert cli.main(["maps", "pictures/00.jpg"]) == 0
    assert cli.main(["maps", "swin_t", "pictures", "--grad-cam"]) == 0
    assert cli.main(["maps", "swin_t", "--weights", "random", "pictures", "pictures/00.jpg"]) == 0
    more = ["--gradient", "--layout", "NHWC", "--grid", "7", "5", "--device", "cpu"]
    assert cli.main(["maps", "swin_t", "pictures", *more]) == 0
    alone, option_last, option_first, others = chosen
    assert alone[:2] == ("efficientnet-lite0", ["pictures/00.jpg"]) and option_last[:2] == ("swin_t", ["pictures"])
    assert option_first[:2] == ("swin_t", ["pictures", "pictures/00.jpg"])
    assert [named["kind"] for *_, named in chosen] == ["activation", "grad-cam", "activation", "gradient"]
    assert [others[2][name] for name in ("layout", "grid", "device")] == ["NHWC", [7, 5], "cpu"]
    with pytest.raises(SystemExit):
        cli.main(["maps", "swin_t", "pictures", "--wieghts", "random"])
    assert "unrecognized arguments: --wieghts random" in capsys.readouterr().err


def test_grad_cam_is_of_the_highest_layer_whose_positions_reach_the_scores():
    """Behind a transformer's last block the class token alone is read: its map would be empty."""
    low = torch.rand(2, 3, 4, 4, requires_grad=True)
    unread = low * 1.0
    output = maps.networks.Output(low.mean((2, 3)) + 0 * unread.sum(), (low, unread))
    assert list(maps._grad_cam(output, ["blocks.7", "blocks.11"])) == ["Grad-CAM, blocks.7"]
    with pytest.raises(ParameterError, match="every gradient is 0"):
        maps._grad_cam(maps.networks.Output(output.logits, (unread,)), ["blocks.11"])


@pytest.mark.parametrize("kind", ["gradient", "grad-cam"])
def test_a_model_that_judges_pixels_has_no_gradient_of_one_loss(kind):
    output = maps.networks.Output(torch.rand(1, 3, 4, 4), ())
    with pytest.raises(ParameterError, match=rf"^kind: '{kind}' .* logits are not \(N, K\)"):
        maps._maps(output, torch.rand(1, 3, 4, 4), torch.tensor([0]), ["low"], kind, "sum-2")


def test_a_model_with_one_score_per_picture(folder):
    """Some models of two classes give logits (N,)."""
    assert maps.draw("own_model:one_score", ["pictures"], "maps.png", layers=["1"]) == maps.DRAWN


def test_the_name_of_a_picture_may_be_no_text(folder):
    shutil.copy("pictures/00.jpg", b"pictures/\xff.jpg")
    assert maps.draw("own_model:tiny", ["pictures"], "maps.png", layers=["low"], csv="maps.csv") == 21
    assert pd.read_csv("maps.csv")["image"].iloc[-1] == r"pictures/\udcff.jpg"
    maps.draw("own_model:tiny", [os.fsdecode(b"pictures/\xff.jpg")], "maps.png", layers=["low"])


def test_the_name_of_a_picture_may_end_in_capitals(folder):
    maps.draw("own_model:tiny", ["pictures/00.jpg"], "MAPS.PNG", layers=["low"])
    assert Image.open("MAPS.PNG").format == "PNG"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["pictures/none.jpg"], "pictures: 'pictures/none.jpg'"),
        (["empty"], "pictures: 'empty'"),
        (["~no-such-user/a.jpg"], "pictures: '~no-such-user/a.jpg'"),
        ([f"{'a' * 300}.jpg"], "pictures: 'aaa"),
        (["own_model.py"], "own_model.py: the image is none of"),
        (["pictures", "--layers", "lov"], "layers: 'lov' .*low"),
        (["pictures", "--mapping", "mean-2"], "mapping: 'mean-2'"),
        (["pictures", "--size", "0"], "size: 0"),
        (["pictures", "-o", "pictures"], "output: "),
        (["pictures", "-o", "maps.DOC"], "output: '.*maps.DOC' .*png"),
        (["pictures", "-o", "maps.pgf"], "output: .*maps.pgf"),  # it needs LaTeX
        (["pictures", "-o", "pictures/00.jpg"], "output: .*00.jpg' is not allowed; allowed: a file that is not looked"),
        (["pictures", "--csv", "pictures"], "csv: .*pictures' is not allowed; allowed: a file that can be written"),
        (["pictures", "--csv", "pictures/00.jpg"], "csv: .*00.jpg' is not allowed"),
        (["pictures", "-o", "same.svg", "--csv", "same.svg"], "csv: .*same.svg' is not allowed"),
        (["pictures", "--weights", "pipe"], "pipe is no file"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, own_signals, options, error):
    (folder / "empty").mkdir()
    os.mkfifo("pipe")
    before = Path("pictures/00.jpg").read_bytes()
    assert cli.main(["maps", "own_model:tiny", *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(f"^at-repro: {error}", line)
    assert not (folder / "maps.png").exists() and Path("pictures/00.jpg").read_bytes() == before


def test_a_gradient_map_is_that_of_the_predicted_class():
    """By hand: of a linear model the gradient of the loss is known."""
    pixels = torch.rand(1, 3, 2, 2, requires_grad=True)
    weights = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, 1.0]])
    logits = torch.einsum("kc,nchw->nk", weights, pixels)
    shares = logits.softmax(1)
    expected = ((shares[0, 0] - 1) * weights[0] + shares[0, 1] * weights[1]).abs().sum()
    found = maps._maps(maps.networks.Output(logits, ()), pixels, torch.tensor([0]), [], "gradient", "sum-2")
    torch.testing.assert_close(found["gradient"], expected.detach().expand(1, 2, 2))
