"""A user's own images, in folders and in shards: read as they are, at the size that was asked for."""

import io
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shards import write_shard

from at_repro import data
from at_repro.data import folders, parquet
from at_repro.errors import DataError, ParameterError, UserError
from at_repro.experiments import cluster
from at_repro.runs import Run, checks
from at_repro.training import train


def picture(value: int, height: int = 40, width: int = 60, mode: str = "RGB") -> Image.Image:
    """Black, with a square of this value in the middle that covers half of the height."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 4 : -height // 4, (width - height) // 2 + height // 4 : (width + height) // 2 - height // 4] = (
        value
    )
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def photos(tmp_path):
    """Two classes with three pictures for training and one for the test, of different sizes and kinds."""
    values = {"train": {"cat": [250, 200, 150], "dog": [100, 60, 30]}, "test": {"cat": [240], "dog": [90]}}
    for split, classes in values.items():
        for name, of_class in classes.items():
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for index, value in enumerate(of_class):
                picture(value, 40 + 8 * index, 60 + 8 * index, "L" if index else "RGB").save(folder / f"{index}.png")
    return tmp_path


def centres(images: data.ImageSet) -> dict[int, set[int]]:
    middle = images.images.shape[-1] // 2
    found = {}
    for image, label in zip(images.images, images.labels.tolist(), strict=True):
        assert len(set(image[:, middle, middle].tolist())) == 1, "a grey image has three equal channels"
        found.setdefault(label, set()).add(int(image[0, middle, middle]))
    return found


@pytest.mark.parametrize("side", [16, 32])
def test_folders_of_classes(side, photos):
    images = data.load(f"photos@{side}", "train", photos)
    assert images.classes == ("cat", "dog") and images.name == f"photos@{side}"
    assert images.images.dtype == torch.uint8 and images.images.shape == (6, 3, side, side)
    assert centres(images) == {0: {250, 200, 150}, 1: {100, 60, 30}}
    # The square covers the middle half of each picture, whatever its size was: resized whole, cropped in the middle.
    half = images.images[:, 0, side // 2, side // 2] // 2
    inside = (images.images[:, 0] > half[:, None, None]).flatten(1).float().mean(1)
    assert torch.allclose(inside, torch.tensor(0.25), atol=0.07)
    assert centres(data.load(f"photos@{side}", "test", photos)) == {0: {240}, 1: {90}}


def test_each_photograph_of_shards_is_made_small_before_the_next_is_decoded(tmp_path, monkeypatch):
    """All at their full size would not fit: a set of 2 GB once small can be one of 100."""
    for split in ("train", "test"):
        encoded = []
        for value in (10, 20, 30):
            picture(value, 50, 44, "L").save(stream := io.BytesIO(), "PNG")
            encoded.append(stream.getvalue())
        write_shard(tmp_path / "mine" / f"{split}-00000-of-00001.parquet", encoded, [0, 1, 0], ["no", "yes"])
    calls = []
    decode, square = parquet._decode, folders.square
    monkeypatch.setattr(parquet, "_decode", lambda *given: calls.append("decode") or decode(*given))
    monkeypatch.setattr(folders, "square", lambda *given, **named: calls.append("square") or square(*given, **named))
    assert len(data.load("mine@32", "train", tmp_path)) == 3
    assert calls == ["decode", "square"] * 3


@pytest.mark.parametrize("place", ["mine", "mine/data"])
def test_shards_of_other_sizes_and_a_split_named_validation(place, tmp_path):
    """In the folder, or where a clone of a hub's repository has them."""
    for split, values in (("train", [200, 50]), ("validation", [30])):
        encoded = []
        for value in values:
            stream = io.BytesIO()
            picture(value, 50, 44, "L").save(stream, "PNG")
            encoded.append(stream.getvalue())
        write_shard(tmp_path / place / f"{split}-00000-of-00001.parquet", encoded, [1, 0][: len(values)], ["no", "yes"])
    images = data.load("mine@32", "train", tmp_path)
    assert images.classes == ("no", "yes") and centres(images) == {1: {200}, 0: {50}}
    assert centres(data.load("mine@32", "test", tmp_path)) == {1: {30}}


def test_a_file_of_another_format_than_its_name_says(photos):
    """Archives that were gathered from the web have such files."""
    folder = photos / "photos" / "train" / "cat"
    picture(70, mode="L").save(folder / "a_gif.jpg", format="GIF")
    assert centres(data.load("photos@32", "train", photos))[0] == {250, 200, 150, 70}
    streamed = data.load("photos@32-streamed", "train", photos)
    (place,) = (place for place, path in enumerate(streamed.paths) if path.endswith("a_gif.jpg"))
    assert streamed.select(torch.tensor([place])).images[0, :, 16, 16].tolist() == [70, 70, 70]


def test_the_order_is_by_content_and_a_subset_is_a_prefix(photos):
    images = data.load("photos@32", "train", photos)
    for path in sorted((photos / "photos" / "train" / "cat").iterdir()):
        path.rename(path.with_name(f"renamed-{9 - int(path.stem)}.png"))
    again = data.load("photos@32", "train", photos)
    assert again.fingerprint == images.fingerprint, "names of files are not content"
    assert torch.equal(data.load("photos@32", "train", photos, subset=2).images, images.images[:2])


def test_a_network_is_trained_on_them(photos, store, quiet):
    run = checks.validate(Run("wrn-10-1", 1, dataset="photos@16", batch_size=4, precision="fp32"))
    train([run], store, data_root=str(photos), progress=quiet)
    record = store.load(run)
    assert len(record.predictions()) == 2 and run.run_id.startswith("photos@16-wrn-10-1-plain-s0-")
    assert record.weights()["fc.weight"].shape[0] == 2, "a logit for each class"


def test_a_record_stands_without_its_folder(photos, store, quiet):
    """Who has a clone has records of images that may not be passed on: asking for them is no error."""
    run = Run("wrn-10-1", 1, dataset="photos@16", batch_size=4, precision="fp32")
    train([run], store, data_root=str(photos), progress=quiet)
    (photos / "photos").rename(photos / "elsewhere")
    train([run], store, data_root=str(photos), progress=quiet)
    with pytest.raises(DataError, match="holds no train images"):
        train([replace(run, seed=1)], store, data_root=str(photos), progress=quiet)


def test_a_record_of_other_images_under_the_same_name_is_not_reused(photos, store, quiet):
    """A folder can change; a run's identity has its name only."""
    run = Run("wrn-10-1", 1, dataset="photos@16", batch_size=4, precision="fp32")
    train([run], store, data_root=str(photos), progress=quiet)
    train([run], store, data_root=str(photos), progress=quiet)
    for split in ("test", "train"):
        new = photos / "photos" / split / "dog" / "new.png"
        picture(77).save(new)
        with pytest.raises(UserError, match=rf"record {run.run_id} is of other images than those in .*photos"):
            train([run], store, data_root=str(photos), progress=quiet)
        with pytest.raises(UserError, match=rf"record {run.run_id} is of other images than those in .*photos"):
            cluster.train_on(None, [run], store, data_root=str(photos), progress=quiet)
        new.unlink()


NO_NAMES = ["photos", "photos@7", "photos@032", "photos@12", "photos@264", "../photos@32", "a/b@32", "@32", "a@32@32"]


@pytest.mark.parametrize("name", [*NO_NAMES, 3, None])
def test_names_that_are_no_folder_and_size_are_refused(name):
    with pytest.raises(ParameterError, match=r"^data set: .* is not allowed; allowed: shapes, cifar10, NAME@SIZE"):
        data.check_name(name)


def test_what_is_not_there_is_named(photos, tmp_path):
    with pytest.raises(DataError, match=r"gone holds no train images; looked for train/CLASS.*train-00000-of-0000N"):
        data.load("gone@32", "train", tmp_path)
    assert "holds no train images" in data.describe("gone@32", tmp_path).problem
    (photos / "photos" / "test" / "bird").mkdir()
    with pytest.raises(DataError, match="bird"):
        data.load("photos@32", "test", photos)


def test_classes_that_differ_between_splits_are_named(photos):
    """Else label 1 would mean one class in training and another in the test."""
    (photos / "photos" / "test" / "dog").rename(photos / "photos" / "test" / "wolf")
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"the classes of its splits differ: (dog, wolf|wolf, dog)$"):
            data.load("photos@32", split, photos)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n cut off"])
def test_a_damaged_picture_is_named(content, photos):
    (photos / "photos" / "train" / "dog" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"dog/1\.png: "):
        data.load("photos@32", "train", photos)


def test_pictures_of_other_formats_are_read_or_named_and_never_left_out(photos):
    """A data set that is smaller than its folder is one that nobody notices to be another."""
    folder = photos / "photos" / "train" / "cat"
    picture(180).save(folder / "4.gif")
    (folder / "notes.txt").write_text("no picture")
    assert len(data.load("photos@32", "train", photos)) == 7
    with pytest.raises(DataError, match=r"cat/4\.gif is none of "):
        data.load("photos@32-streamed", "train", photos)
    picture(180).save(folder / "5.bmp", "JPEG")
    assert len(data.load("photos@32", "train", photos)) == 8, "whatever it is called"
    picture(180).save(folder / "5.bmp")
    with pytest.raises(DataError, match=r"cat/5\.bmp: the image is none of "):
        data.load("photos@32", "train", photos)


def test_16_bits_of_grey_keep_their_shades(tmp_path):
    """Pillow cuts them off at 255: all but the darkest pixels would be white."""
    for split in ("train", "test"):
        folder = tmp_path / "scans" / split / "ramp"
        folder.mkdir(parents=True)
        Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)).save(folder / "ramp.png")
    pixels = data.load("scans@8", "train", tmp_path).images[0]
    expected = torch.linspace(0, 255, 64).reshape(8, 8)
    assert (pixels - expected).abs().max() <= 1, "as far as 8 bits go"


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_links_that_lead_back_count_no_image_again(photos, target):
    """A folder that holds itself would be entered until the system refuses; its neighbours are other classes."""
    before = data.load("photos@16", "train", photos).fingerprint
    (photos / "photos" / "train" / "cat" / "again").symlink_to(target)
    assert data.load("photos@16", "train", photos).fingerprint == before


@pytest.mark.parametrize("name", ["photos@16", "photos@16-streamed"])
@pytest.mark.parametrize("target", ["again", ".", "..", "../../photos", "nowhere"])
def test_a_class_that_leads_back_or_nowhere_is_named(name, target, photos):
    """All images would be a class of their own once more, or a class would be missing in silence."""
    for split in ("train", "test"):
        (photos / "photos" / split / "again").symlink_to(target)
    problem = data.describe(name, photos).problem
    assert re.search(r"photos/(train|test)/again", problem) and "\n" not in problem


@pytest.mark.parametrize("name", ["photos@16", "photos@16-streamed"])
@pytest.mark.parametrize("target", ["../cat/0.png", "0.png", "../../test/cat/0.png"])
def test_an_image_that_a_link_makes_count_twice_is_refused(name, target, photos):
    """It would have two labels, weigh more than others, or be in both splits."""
    (photos / "photos" / "train" / "dog" / "linked.png").symlink_to(target)
    with pytest.raises(DataError, match=r"train/dog/linked.png is .*0.png by a link: it would count twice"):
        data.load(name, "train", photos)


@pytest.mark.parametrize("name", ["photos@16", "photos@16-streamed"])
def test_links_to_images_elsewhere_are_images(name, photos, tmp_path):
    """So hubs keep what they have downloaded: blobs, and links with the names of the images."""
    before = data.load(name, "train", photos).fingerprint
    image = photos / "photos" / "train" / "dog" / "0.png"
    image.rename(tmp_path / "blob")
    image.symlink_to(tmp_path / "blob")
    assert data.load(name, "train", photos).fingerprint == before


@pytest.mark.parametrize("name", ["photos@16", "photos@16-streamed"])
@pytest.mark.parametrize(
    ("link", "target"), [("test", "train"), ("train/dog", "cat"), ("test/cat", "../train/cat"), ("train/dog", "cat/in")]
)
def test_images_that_a_link_lets_two_classes_have_are_refused(name, link, target, photos):
    """Test errors would be training errors, or an image would have two labels."""
    root = photos / "photos"
    (root / "train" / "cat" / "in").mkdir()
    shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / "in")
    shutil.rmtree(root / link)
    (root / link).symlink_to(target)
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"by a link: images would count twice"):
            data.load(name, split, photos)


@pytest.mark.parametrize("name", ["photos@16", "photos@16-streamed"])
@pytest.mark.parametrize("closed", ["", "train", "train/dog", "train/dog/more"])
def test_a_folder_that_may_not_be_read_is_named(name, closed, photos, monkeypatch):
    """Its images would be missing in silence, or seem not to be there."""
    (photos / "photos" / "train" / "dog" / "more").mkdir()
    folder, scandir = photos / "photos" / closed, os.scandir

    def refuse(path):  # as the system does, but for root, whom it refuses nothing
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert data.describe(name, photos).problem == f"{folder}: cannot be read (Permission denied)"


def test_a_class_may_be_a_link_to_elsewhere(photos):
    before = data.load("photos@16", "train", photos).fingerprint
    (photos / "photos" / "train" / "dog").rename(photos / "dogs")
    (photos / "photos" / "train" / "dog").symlink_to(photos / "dogs")
    assert data.load("photos@16", "train", photos).fingerprint == before


@pytest.mark.parametrize("name", ["photos@16", "photos@16-streamed"])
def test_a_pipe_is_not_waited_for(name, photos):
    os.mkfifo(photos / "photos" / "train" / "cat" / "pipe.png")
    assert "pipe.png is " in data.describe(name, photos).problem


def test_a_class_without_images_is_named(photos):
    for split in ("train", "test"):
        (photos / "photos" / split / "empty").mkdir()
    with pytest.raises(DataError, match="class empty holds no images"):
        data.load("photos@16", "train", photos)


@pytest.mark.parametrize(("names", "images", "words"), [
    (("cat", "dog"), 0, "holds no train images"),
    (("cat", "cat"), 1, "more than one of its classes is named 'cat'"),
    ((["cat"], ["dog"]), 1, "no class names"),
    ((1, 2), 1, "no class names"),
])  # fmt: skip
def test_shards_of_nothing_and_classes_without_names_of_their_own(names, images, words, tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    for split in ("train", "test"):
        path = tmp_path / "own" / f"{split}-00000-of-00001.parquet"
        write_shard(path, [picture.getvalue()] * images, [0] * images, names)
    with pytest.raises(DataError, match=words):
        data.load("own@8", "train", tmp_path)


def test_shards_are_looked_for_before_all_their_names_are_made(tmp_path):
    """A hundred million names would not fit into memory; that one of them is missing is known from the first."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / f"train-1-of-{9 * '9'}.parquet").touch()
    with pytest.raises(DataError, match=r"train-000000000-of-999999999\.parquet, .*, … of 999999999 shards missing"):
        data.load("own@8", "train", tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path, mode):
    """Icons and silhouettes are often black on nothing, which is stored as black as well."""
    silhouette = Image.fromarray(np.zeros((8, 8, 4), np.uint8))
    silhouette.putpixel((0, 0), (0, 0, 0, 255))
    for split in ("train", "test"):
        (tmp_path / "icons" / split / "one").mkdir(parents=True)
        silhouette.convert(mode).save(tmp_path / "icons" / split / "one" / "1.png")
    image = data.load("icons@8", "train", tmp_path).images[0]
    assert not image[:, 0, 0].any() and image.sum() == 255 * 3 * 63


def test_a_photograph_is_seen_upright(tmp_path):
    """As phones store them: orientation 6 says that the first row of the file is the right side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.array([[255], [0]], np.uint8).repeat(8, 1).repeat(4, 0))
    for split in ("train", "test"):
        (tmp_path / "phone" / split / "one").mkdir(parents=True)
        stored.save(tmp_path / "phone" / split / "one" / "1.png", exif=exif)
    image = data.load("phone@8", "train", tmp_path).images[0, 0]
    assert image[:, 4:].eq(255).all() and not image[:, :4].any()
