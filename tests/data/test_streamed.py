"""Images that stay in their files: the same whoever decodes them, and as tests of ImageNet see them."""

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shards import write_shard

from at_repro import data, networks
from at_repro.analysis import network_maps
from at_repro.data import jpeg, streamed
from at_repro.errors import DataError, ParameterError
from at_repro.networks import Output
from at_repro.records import Store
from at_repro.runs import ActivationTransfer, Run, checks
from at_repro.training import engine, loop, train
from at_repro.training.checkpointer import Checkpointer
from at_repro.training.evaluation import evaluate
from at_repro.training.processes import ALONE, Ranks

NAME = "photos@32-streamed"
SPEC = {"dataset": NAME, "augmentation": "resized-crop-flip", "batch_size": 8, "precision": "fp32"}
TEACHER = Run("wrn-10-1", epochs=1, **SPEC)
STUDENT = Run("wrn-10-1", epochs=2, terms=(ActivationTransfer(),), teacher=TEACHER, **SPEC)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two classes with eleven and nine photographs to train on and six to test, of several sizes and formats."""
    random, root = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    for split, counts in {"train": (11, 9), "val": (4, 2)}.items():
        for name, count in zip(("bee", "ant"), counts, strict=True):
            folder = root / "photos" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = 40 + 3 * index, 70 - 4 * index
                grain = random.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
                picture = Image.fromarray(grain).resize((width, height))
                picture.save(folder / f"{index}.{'png' if index % 2 else 'JPEG'}")
    return root


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    """How many decode."""
    monkeypatch.setattr(streamed, "_threads", lambda processes: request.param)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system gives no process some cores alone")
def test_no_more_cores_are_counted_than_a_process_may_use():
    """A cluster's scheduler gives two of 64: as many threads as 64 would wait for each other."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(own)})
    try:
        assert streamed.cores() == 1
    finally:
        os.sched_setaffinity(0, own)
    assert streamed.cores() == len(own)


@pytest.fixture
def images(root):
    return data.load(NAME, "train", root)


def seen(images, run=TEACHER, ranks=ALONE, done=0):
    return list(loop.batches(images, run, 0, ranks, done))


def same(first, second):
    pairs = zip(first, second, strict=True)
    return all(torch.equal(own, other) for batches in pairs for own, other in zip(*batches, strict=True))


def test_nothing_is_read_but_the_names(images, root, tmp_path):
    """Reading the pictures of ImageNet takes hours."""
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.*"):
        path.write_bytes(b"no picture")
    assert data.load(NAME, "train", tmp_path / "copy").paths == images.paths
    assert len(images) == 20 and images.classes == ("ant", "bee") and images.resolution == 32
    assert images.labels.bincount().tolist() == [9, 11]
    assert [path.split("/")[0] for path in images.paths] == images.select(slice(None)).names, "labels are of the files"
    assert len(set(images.labels[:10].tolist())) == 2, "a subset is a random sample"
    part = images.subset(7)
    assert part.paths == images.paths[:7] and torch.equal(part.labels, images.labels[:7])
    with pytest.raises(ParameterError, match="subset"):
        images.subset(21)


def test_tests_see_the_middle_of_the_resized_image(images, threads):
    """The usual evaluation of ImageNet: 256 of which 224 remain, here 37 of which 32."""
    chunks = list(images.chunks(6))
    assert [len(chunk) for chunk in chunks] == [6, 6, 6, 2]
    whole = torch.cat([chunk.images for chunk in chunks])
    for path, image in zip(images.paths, whole, strict=True):
        with Image.open(f"{images.source}/{path}") as file:
            picture = file.convert("RGB")
            short = min(picture.size)
            width, height = (int(37 * length / short) for length in picture.size)
            left, top = round((width - 32) / 2), round((height - 32) / 2)
            box = (left, top, left + 32, top + 32)
            expected = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR).crop(box))
        assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected.astype(int)).max() <= 1, "rounding apart"
    chosen = torch.tensor([5, 3])
    assert torch.equal(images.select(chosen).images, whole[chosen]) and len(images.select(slice(0))) == 0
    assert torch.equal(images.labels, torch.cat([chunk.labels for chunk in chunks]))


def test_an_image_is_augmented_as_its_draws_say(images, threads):
    """Neither the number of threads nor what else is decoded may change what is trained on."""
    order = torch.randperm(20, generator=engine.generator(0, "order/0"))
    generator = engine.generator(0, "augmentation/0")
    draws = torch.cat([torch.rand(5, size, generator=generator) for size in (8, 8, 4)], 1)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in data.normalization(NAME))
    batches = seen(images)
    assert [len(labels) for _, labels in batches] == [8, 8, 4]
    assert torch.equal(torch.cat([labels for _, labels in batches]), images.labels[order])
    pixels = torch.cat([batch for batch, _ in batches]) * std + mean
    for place, drawn, image in zip(order.tolist(), draws.T.tolist(), pixels, strict=True):
        area, shape, down, right, flipped = drawn
        with Image.open(f"{images.source}/{images.paths[place]}") as file:
            picture = file.convert("RGB")
        # Of the pixels 8 to 100 %, and 3/4 to 4/3 as many columns as rows, as far as the picture reaches.
        wanted = (0.08 + 0.92 * area) * picture.width * picture.height
        columns_by_rows = (3 / 4) ** (1 - shape) * (4 / 3) ** shape
        width = min(picture.width, math.sqrt(wanted * columns_by_rows))
        height = min(picture.height, math.sqrt(wanted / columns_by_rows))
        left, top = right * (picture.width - width), down * (picture.height - height)
        left, top, width, height = round(left), round(top), round(width), round(height)
        crop = picture.crop((left, top, left + width, top + height)).resize((32, 32), Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.array(crop)).permute(2, 0, 1).float()
        expected = expected.flip(2) if flipped < 0.5 else expected
        assert torch.allclose(image, expected, atol=1e-3)
    assert not same(batches, list(loop.batches(images, TEACHER, 1))), "every epoch has its own"
    plain = torch.cat([batch for batch, _ in seen(images, replace(TEACHER, augmentation="none"))])
    assert torch.allclose(plain * std + mean, images.select(order).images.float(), atol=1e-3)


def test_the_parts_of_square_images_are_those_that_are_drawn_in_memory(tmp_path):
    """Another way to hold the same images is no other experiment: interpolation apart, batches are the same."""
    across = np.linspace(0, 255, 64)
    for split in ("train", "test"):
        for name, pixels in (("down", across[:, None, None]), ("right", across[None, :, None])):
            (tmp_path / "ramps" / split / name).mkdir(parents=True)
            picture = np.broadcast_to(pixels, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "ramps" / split / name / "0.png")
    held, files = (data.load(name, "train", tmp_path) for name in ("ramps@64", "ramps@64-streamed"))
    order = torch.tensor([0, 1] * 10)
    for images in (held, files):
        assert images.labels.tolist() in ([0, 1], [1, 0])
    if held.labels[0] != files.labels[0]:  # of two images, in an order of their own
        held = held.select(torch.tensor([1, 0]))
    drawn = [
        list(images.batches(order, 8, "resized-crop-flip", engine.generator(3, "test"), lambda whole: whole))
        for images in (held, files)
    ]
    for (own, labels), (other, others) in zip(*drawn, strict=True):
        assert torch.equal(labels, others)
        assert (own.float() - other.float()).abs().mean() < 3, "of 255"


@pytest.mark.parametrize("name", [NAME, "photos@32"])
def test_processes_and_continued_epochs_see_parts_of_the_same_batches(name, root):
    images = data.load(name, "train", root)
    whole = seen(images)
    parts = [seen(images, ranks=Ranks(rank, 3)) for rank in range(3)]
    assert same(
        whole, [[torch.cat(column) for column in zip(*of_step, strict=True)] for of_step in zip(*parts, strict=True)]
    )
    assert same(whole[2:], seen(images, done=2))


def test_a_file_that_is_no_image_is_named(root, tmp_path, threads):
    shutil.copytree(root / "photos", tmp_path / "photos")
    images = data.load(NAME, "train", tmp_path)
    broken = tmp_path / "photos" / "train" / images.paths[3]
    broken.write_bytes(b"no image")
    for use in (seen, lambda images: list(images.chunks(4)), lambda images: images.select(torch.tensor([3]))):
        with pytest.raises(DataError, match=f"^{broken}: the image is none of PNG"):
            use(images)


@pytest.fixture
def mixed(tmp_path):
    """JPEG files, some of which a decoder on the device must not get: turned, of four colours, of another format."""
    across, down = np.meshgrid(np.linspace(0, 255, 90), np.linspace(0, 255, 60))
    picture = Image.fromarray(np.stack([across, down, 255 - across], -1).astype(np.uint8))
    for split in ("train", "test"):
        folder = tmp_path / "mixed" / split / "one"
        folder.mkdir(parents=True)
        picture.save(folder / "usual.jpg", quality=95)
        picture.save(folder / "progressive.jpg", quality=95, progressive=True)
        picture.convert("L").save(folder / "grey.jpg", quality=95)
        picture.convert("CMYK").save(folder / "four colours.jpg", quality=95)
        picture.save(folder / "a PNG.jpg", format="PNG")
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(folder / "turned.jpg", quality=95, exif=exif)
    return data.load("mixed@48-streamed", "train", tmp_path)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_that_decodes_gives_the_same_images(mixed, device, monkeypatch):
    """Decoders of JPEG may differ in rounding, and antialiasing on a tensor from Pillow's: by some of 255."""
    run = replace(TEACHER, dataset=mixed.name)
    of_tests, trained_on = mixed.select(slice(None)).images, seen(mixed, run)
    if device == "cpu":
        monkeypatch.setattr(jpeg, "decodes", lambda device: True)
    handed_over, decode = [], jpeg.decode

    def counted(contents, place):
        handed_over.append(len(contents))
        return decode(contents, place)

    monkeypatch.setattr(jpeg, "decode", counted)
    there = mixed.to(device)
    found = there.select(slice(None)).images
    assert found.device.type == device and found.shape == of_tests.shape and found.dtype == torch.uint8
    assert handed_over == [3], "usual, progressive and grey; the others are Pillow's work"
    difference = (found.cpu().float() - of_tests.float()).abs()
    assert difference.amax() <= 8 and difference.mean() < 1
    deviations = torch.tensor(data.normalization(mixed.name)[1]).view(3, 1, 1)
    for (own, labels), (other, others) in zip(seen(there, run), trained_on, strict=True):
        assert torch.equal(labels.cpu(), others)
        assert ((own.cpu() - other) * deviations).abs().mean() < 1, "the same parts, flipped alike"


@pytest.mark.parametrize("device", DEVICES)
def test_a_file_that_a_device_cannot_decode_is_named_or_decoded_by_pillow(mixed, device, monkeypatch):
    whole = mixed.select(slice(None)).images
    there = mixed.to(device)
    monkeypatch.setattr(jpeg, "decodes", lambda device: True)

    def refuse(contents, device):
        raise RuntimeError("unknown to the decoder")

    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "decode", refuse)
        assert torch.equal(there.select(slice(None)).images.cpu(), whole)
    damaged = Path(mixed.source) / "one" / "usual.jpg"
    content = damaged.read_bytes()
    for length in (content.index(b"\xff\xda"), len(content) // 2):  # nothing, or half of it, after its header
        damaged.write_bytes(content[:length])
        with pytest.raises(DataError, match=f"^{damaged}: "):
            there.select(slice(None))


def test_a_gpu_that_cannot_decode_is_said_once(monkeypatch):
    def refuse(contents, device):
        raise RuntimeError("compiled without nvJPEG\nand more")

    monkeypatch.setattr(jpeg, "decode", refuse)
    jpeg.decodes.cache_clear()
    with pytest.warns(UserWarning, match="^JPEG files are decoded on the CPU: compiled without nvJPEG$") as warned:
        assert [jpeg.decodes(torch.device("cuda", 7)) for _ in range(3)] == [False] * 3
    assert len(warned) == 1 and not jpeg.decodes(torch.device("cpu"))


def test_the_fingerprint_follows_names_sizes_and_labels(images, root):
    again = data.load(NAME, "train", root)
    assert again.fingerprint == images.fingerprint and len(images.fingerprint) == 64
    assert data.load("photos@40-streamed", "train", root).fingerprint != images.fingerprint
    assert replace(images, labels=1 - images.labels).fingerprint != images.fingerprint
    assert replace(images, paths=images.paths[::-1]).fingerprint != images.fingerprint
    assert data.load(NAME, "test", root).fingerprint != images.fingerprint


def test_a_folder_that_is_not_there_and_classes_that_differ(root, tmp_path):
    with pytest.raises(DataError, match="holds no train images"):
        data.load("nothing@32-streamed", "train", tmp_path)
    for split in ("train/ant", "train/bee", "val/ant"):
        (tmp_path / "few" / split).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "few" / split / "0.png")
    with pytest.raises(DataError, match="classes of its splits differ: bee"):
        data.load("few@32-streamed", "test", tmp_path)
    found = data.describe(NAME, root)
    assert not found.problem and {name: len(split) for name, split in found.splits.items()} == {"train": 20, "test": 6}
    assert data.resolution(NAME) == 32 and not data.is_streamed("photos@32")


def test_what_cannot_be_decoded_is_found_before_training(root, tmp_path):
    """Hours of ImageNet would pass until its turn comes."""
    shutil.copytree(root / "photos", tmp_path / "photos")
    added = tmp_path / "photos" / "train" / "ant"
    (added / "11.png").touch()
    with pytest.raises(DataError, match=r"11\.png is empty$"):
        _ = data.load(NAME, "train", tmp_path).fingerprint
    (added / "11.png").unlink()
    (added / "12.png").symlink_to(tmp_path / "nowhere.png")
    assert data.describe(NAME, tmp_path).problem == f"{added / '12.png'}: No such file or directory"
    (added / "12.png").unlink()
    Image.new("RGB", (40, 40)).save(added / "13.bmp")
    with pytest.raises(DataError, match=r"13\.bmp is none of \.jpg, \.jpeg, \.png, \.webp$"):
        data.load(NAME, "train", tmp_path)


def test_shards_cannot_be_streamed(tmp_path):
    for split in ("train", "test"):
        write_shard(tmp_path / "hub" / f"{split}-00000-of-00001.parquet", [b"not read"] * 2, [0, 1])
    with pytest.raises(DataError, match="only files can be streamed, no shards"):
        data.load("hub@32-streamed", "train", tmp_path)


def test_threads_are_told_the_number_of_a_device(images):
    """Each thread has a GPU of its own that "cuda" stands for, the first one, whatever its caller has set."""
    assert images.to("cpu:0").device == images.labels.to("cpu:0").device
    meta = images.to("meta")
    assert meta.device == meta.labels.device


def test_of_many_classes_the_five_likeliest_count(root):
    """Top-5 error: the share of images whose class is not among the five largest logits."""
    images = replace(data.load(NAME, "test", root), classes=tuple(map(str, range(101))))
    images.labels[0] = 100  # by the largest label of the test images, as a record is read
    logits = torch.zeros(6, 101)
    for row, label in enumerate(images.labels.tolist()):
        logits[row, 90:95] = torch.arange(5.0, 0, -1)  # five others, the last of which may give way to the class
        logits[row, label] = 1.5 if row < 4 else 0.5

    def forward(network, batch):
        return Output(logits=logits, groups=[])

    assert evaluate(forward, [torch.nn.Identity()], images)[0].top5_error == pytest.approx(100 * 2 / 6)
    images.labels[0] = 99
    assert evaluate(forward, [torch.nn.Identity()], images)[0].top5_error is None


def test_large_images_are_evaluated_few_at_a_time(tmp_path):
    """Activations of 250 images of 256 x 256 pixels are tens of gigabytes."""
    for split, count in (("train", 1), ("test", 20)):
        for name in ("ant", "bee"):
            (tmp_path / "large" / split / name).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "large" / split / name / f"{index}.png")
    pixels = []

    def forward(network, batch):
        pixels.append(batch[:, 0].numel())
        return Output(logits=batch.mean((2, 3)), groups=[])

    for name in ("large@256", "large@256-streamed", "large@16"):
        images = data.load(name, "test", tmp_path)
        assert len(evaluate(forward, [torch.nn.Identity()], images)[0].predictions) == 40
        assert max(pixels) <= 250 * 64**2
    assert pixels[-1] == 40 * 16**2, "small ones are seen at once"


@pytest.mark.parametrize("name", ["photos-streamed", "photos@12-streamed", "shapes-streamed", "-streamed"])
def test_a_name_needs_a_size(name):
    with pytest.raises(ParameterError, match=r"^data set: .* NAME@SIZE-streamed"):
        data.load(name, "train")


@pytest.mark.parametrize("augmentation", ["crop-flip", "flip", "window-flip"])
def test_what_workers_do_not_do_is_refused_before_anything_is_read(augmentation):
    with pytest.raises(ParameterError, match=r"^augmentation: .*; allowed: resized-crop-flip, none$"):
        checks.validate(replace(TEACHER, augmentation=augmentation))


def test_students_are_trained_on_them_and_go_on_where_they_stopped(root, tmp_path, monkeypatch):
    """A run that was stopped within an epoch has the weights of one that was not; its record can be verified."""
    whole = Store(tmp_path / "whole", writable=True)
    train([STUDENT], whole, device="cpu", data_root=str(root))
    stopped, steps = Store(tmp_path / "stopped", writable=True), []
    after_step = Checkpointer.after_step

    def stop(self, students):
        steps.append(students)
        if len(steps) == 5:  # the teacher has three, its student's second is done
            self.save(students)
            raise KeyboardInterrupt
        after_step(self, students)

    monkeypatch.setattr(Checkpointer, "after_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train([STUDENT], stopped, device="cpu", data_root=str(root))
    train([STUDENT], stopped, device="cpu", data_root=str(root))
    first, second = whole.load(STUDENT), stopped.load(STUDENT)
    assert all(torch.equal(value, second.weights()[name]) for name, value in first.weights().items())
    test_images = data.load(NAME, "test", root)
    assert first.measured_on(test_images) and first.values["data"]["test"] == test_images.fingerprint
    network = networks.build(STUDENT.network, 2)
    network.load_state_dict(first.weights())
    result = evaluate(engine.forward("fp32", False), [network], test_images)[0]
    assert result.predictions.tolist() == first.predictions()["prediction"].tolist()
    assert math.isclose(result.error, first.final["test_error"]) and "top5_error" not in first.final
    assert [len(level) for level in network_maps.maps(network, test_images)] == [6, 6, 6]
