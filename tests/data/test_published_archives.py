"""The archives of birds and of scenes as their authors publish them."""

import os

import numpy as np
import pytest
from PIL import Image

from at_repro import data, experiments
from at_repro.data import published_archives
from at_repro.errors import DataError


def picture(path, red: int, height: int = 40, width: int = 60) -> None:
    """Grey 9 outside of columns 20 to 39 and rows 10 to 29, which are of this red."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), 9, np.uint8)
    pixels[10:30, 20:40] = (red, 0, 0)
    Image.fromarray(pixels).save(path, format="PNG")


@pytest.fixture
def birds(request, tmp_path):
    folder = tmp_path / getattr(request, "param", "birds")
    folder.mkdir(parents=True)
    names = ["002.Laysan_Albatross/b.png", "001.Ani/a.png", "001.Ani/c d.png", "002.Laysan_Albatross/e.png"]
    for red, name in zip((100, 110, 120, 130), names, strict=True):
        picture(folder / "images" / name, red)
    lists = {
        "images": names, "classes": ["001.Ani", "002.Laysan_Albatross"], "image_class_labels": ["2", "1", "1", "2"],
        "train_test_split": ["1", "0", "1", "0"], "bounding_boxes": ["20.0 10.0 20.0 20.0"] * 4,
    }  # fmt: skip
    for name, lines in lists.items():
        text = "".join(f"{number} {line}\n" for number, line in enumerate(lines, 1))
        (folder / f"{name}.txt").write_text(text)
    return tmp_path, folder


def reds(images: data.ImageSet) -> dict[int, list[int]]:
    """The red of each image by class, which is that of every pixel."""
    assert (images.images.amax((2, 3)) == images.images.amin((2, 3))).all(), "not only the bird is left"
    found: dict[int, list[int]] = {}
    for image, label in zip(images.images, images.labels.tolist(), strict=True):
        found.setdefault(label, []).append(image[0, 0, 0].item())
    return found


@pytest.mark.parametrize("birds", ["birds", "birds/CUB_200_2011"], indirect=True)
def test_birds_are_cropped_to_their_boxes_and_split_as_published(birds):
    root, _ = birds
    train, test = (data.load("birds@16", split, root) for split in ("train", "test"))
    assert train.classes == test.classes == ("Ani", "Laysan Albatross")
    assert reds(train) == {1: [100], 0: [120]} and reds(test) == {0: [110], 1: [130]}
    assert train.images.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("images.txt", "1 a.png\n", "do not name the same photographs"),
        *(
            ("bounding_boxes.txt", "".join(f"{n} {box}\n" for n in range(1, 5)), "is no box")
            for box in ("2 3", "nan 1 2 4", "1 1 inf 4", "1 1 0 4", "1 1 2 -4")
        ),
        ("bounding_boxes.txt", "".join(f"{n} 1 2 x 4\n" for n in range(1, 5)), "is no box"),
        ("bounding_boxes.txt", "1\n2\n", "nothing stands behind '1'"),
        ("image_class_labels.txt", "1 1\n2 9\n3 1\n4 1\n", "do not name the same photographs"),
    ],
)
def test_a_damaged_list_is_named(name, text, message, birds):
    root, folder = birds
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        data.load("birds@16", "train", root)


@pytest.mark.parametrize("box", ["0 0 62 40", "500 500 10 10", "60 0 1 40", "-2 0 9 9", "0 0 1e6 1e6", "0 0 1e300 9"])
def test_a_box_outside_of_its_picture_is_named(box, birds):
    """Black would be trained on as a bird; a large one would not fit into memory."""
    root, folder = birds
    (folder / "bounding_boxes.txt").write_text("".join(f"{number} {box}\n" for number in range(1, 5)))
    with pytest.raises(DataError, match=r"\.png: its box in bounding_boxes\.txt, .* is not within its 60 x 40 pixels"):
        data.load("birds@16", "train", root)


def test_a_box_may_be_a_pixel_too_large(birds):
    """The pixel is left out: black, it would be seen at the edge."""
    root, folder = birds
    for path in (folder / "images").rglob("*.png"):
        Image.new("RGB", (60, 40), (50, 50, 50)).save(path)
    (folder / "bounding_boxes.txt").write_text("".join(f"{number} -1 -1 62 42\n" for number in range(1, 5)))
    assert data.load("birds@16", "train", root).images.eq(50).all()


def test_two_species_of_one_name_are_refused(birds):
    """Their images would be counted, and shown, as those of one class."""
    root, folder = birds
    (folder / "classes.txt").write_text("1 001.Ani\n2 002.Ani\n")
    with pytest.raises(DataError, match=r"more than one of its classes is named 'Ani'$"):
        data.load("birds@16", "train", root)


def test_a_pipe_instead_of_a_list_is_not_waited_for(birds):
    root, folder = birds
    (folder / "images.txt").unlink()
    os.mkfifo(folder / "images.txt")
    with pytest.raises(DataError, match=r"images\.txt: is missing, or no file"):
        data.load("birds@16", "train", root)


def test_a_photograph_that_is_missing_is_named(birds):
    root, folder = birds
    (folder / "images" / "001.Ani" / "c d.png").unlink()
    with pytest.raises(DataError, match=r"c d\.png"):
        data.load("birds@16", "train", root)


def test_scenes_are_split_by_their_lists(tmp_path):
    folder = tmp_path / "scenes"
    lists = {"Train": ["kitchen/k 1.jpg", "bar/b1.jpg"], "Test": ["bar/b2.jpg"]}
    for names in lists.values():
        for red, name in zip((200, 150), names, strict=False):
            picture(folder / "Images" / name, red)
    for split, names in lists.items():
        (folder / f"{split}Images.txt").write_text("\r\n".join(names) + "\r\n")
    train, test = (data.load("scenes@16", split, tmp_path) for split in ("train", "test"))
    assert train.classes == test.classes == ("bar", "kitchen")
    middles = {label: image[0, 8, 8].item() for image, label in zip(train.images, train.labels.tolist(), strict=True)}
    assert middles == {1: 200, 0: 150} and test.labels.tolist() == [0]
    assert train.images[:, :, 0, 0].eq(9).all(), "scenes are not cropped"


@pytest.mark.parametrize(("name", "title"), [("cub200", "CUB-200-2011"), ("indoor67", "MIT Indoor Scenes")])
def test_what_stands_beside_the_papers_numbers_is_the_papers_archive(name, title, tmp_path):
    """Photographs in folders of classes have no boxes: their errors would be shown as those of cropped birds."""
    for split in ("train", "test"):
        picture(tmp_path / name / split / "one" / "a.png", 100)
    with pytest.raises(DataError, match=rf"{name} holds no unpacked archive of {title}; other copies"):
        data.load(f"{name}@256", "train", tmp_path)
    assert title in data.describe(f"{name}@256", tmp_path).problem
    (tmp_path / name).rename(tmp_path / "copies")
    assert len(data.load("copies@16", "train", tmp_path)) == 1


def test_names_of_archives_are_those_that_experiments_compare_with_the_paper():
    of_table_4 = [experiments.get(f"fine-tuning-{name}").runs("paper")[0]["AT"] for name in ("birds", "scenes")]
    assert set(published_archives.NAMES) == {run.dataset.split("@")[0] for run in of_table_4}
