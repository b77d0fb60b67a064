"""Data sets that somebody has made: pictures, links, boxes, shards and names that no set may hold."""

import io
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from disturbed import Row
from PIL import Image
from shards import write_shard

from at_repro import cli, data
from at_repro.data.parquet import read_shards
from at_repro.errors import DataError

SHAPE = (32, 32, 3)
SPLITS = ("train", "test")


def shards(count: int, folder: Path) -> list[Row]:
    """Images and labels that no set may hold, at a random row of the second of two shards."""
    generator = np.random.default_rng(0)
    good = _encoded(generator.integers(256, size=SHAPE, dtype=np.uint8))
    paths = [folder / f"train-0000{index}-of-00002.parquet" for index in (0, 1)]
    write_shard(paths[0], [good] * 4, [0, 1, 2, 3])
    kinds = {
        "of another size": lambda: (_encoded(np.zeros((random.randint(1, 31), 32, 3), np.uint8)), 1),
        "grey": lambda: (_encoded(np.zeros(SHAPE[:2], np.uint8)), 1),
        "corrupt": lambda: (_corrupt(good), 1),
        "missing": lambda: (None, 1),
        "with a label out of range": lambda: (good, random.choice([-1, 10, 999, None])),
    }
    rows = []
    for kind, make in kinds.items():
        unnamed = 0
        for _ in range(count):
            images, labels, row = [good] * 6, [0] * 6, random.randrange(6)
            images[row], labels[row] = make()
            write_shard(paths[1], images, labels)
            unnamed += not _names(paths, f"{paths[1]}: row {row}: ")
        rows.append((f"an image {kind}", count, "shard and row are not named", unnamed))
    return rows


def _names(paths: list[Path], place: str) -> bool:
    try:
        read_shards(paths, size=SHAPE[:2])
    except DataError as error:
        return place in str(error) and "\n" not in str(error)
    print(f"{place}was read", file=sys.stderr)
    return False


def _encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _corrupt(good: bytes) -> bytes:
    """Half an image, or bytes that are none."""
    return random.choice([good[: len(good) // 2], random.randbytes(100)])


def _folders(folder: Path) -> None:
    """Two classes with a picture each, of both splits."""
    for split in SPLITS:
        for shade, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            picture = _encoded(np.full((8, 8), 50 + shade, np.uint8))
            (folder / split / name / "picture.png").write_bytes(picture)


def depths(count: int, folder: Path) -> list[Row]:
    """Grey PNGs of 16 bits, dark and bright ones, whose shades in 8 bits are those divided by 257."""
    _folders(folder / "scans")
    false = 0
    for _ in range(count):
        darkest, brightest = sorted(random.sample(range(65536), 2))
        shades = np.random.default_rng(random.getrandbits(32)).integers(darkest, brightest + 1, (8, 8), np.uint16)
        (folder / "scans" / "train" / "cat" / "picture.png").write_bytes(_encoded(shades))
        images = data.load("scans@8", "train", folder)
        (pixels,) = images.images[images.labels == 0].numpy()
        false += bool(np.abs(pixels - shades / 257).max() > 0.51)
    return [("a grey picture of 16 bits", count, "shades that are not its own", false)]


def links(count: int, folder: Path) -> list[Row]:
    """A link that leads to itself, to a folder above it or to a picture, at a random place of both splits."""
    _folders(folder / "photos")
    names, again = ("photos@8", "photos@8-streamed"), 0
    before = {name: _fingerprints(data.describe(name, folder)) for name in names}
    for _ in range(count):
        link = random.choice(("again", "again.png"))
        place = Path(random.choice(("", "cat", "dog")), link)
        picture = folder / "photos" / random.choice(SPLITS) / random.choice(("cat", "dog")) / "picture.png"
        target = random.choice((link, ".", "..", "../..", str(folder), str(folder / "photos"), str(picture)))
        name = random.choice(names)
        for split in SPLITS:
            (folder / "photos" / split / place).symlink_to(target)
        seen = data.describe(name, folder)
        told = link in seen.problem and "\n" not in seen.problem
        again += not (told or _fingerprints(seen) == before[name])
        for split in SPLITS:
            (folder / "photos" / split / place).unlink()
    return [("a link that leads back, among pictures", count, "an image counted twice, or no line", again)]


def _fingerprints(description: data.Description) -> list[str]:
    return [images.fingerprint for images in description.splits.values()]


def _in_a_box(folder: Path) -> None:
    """The birds as their authors publish them, one of them in a box that is none or lies elsewhere."""
    boxes = ["0 0 8 8"] * 4
    sides = [*random.choices(("nan", "inf", "-9", "1e400", "1e9", "x", ""), k=2), "8", "8"]
    boxes[random.randrange(4)] = " ".join(random.sample(sides, 4))
    lists = {
        "images": [f"00{1 + number % 2}.Bird/{number}.png" for number in range(4)],
        "classes": ["001.Bird", "002.Other"],
        "image_class_labels": ["1", "2"] * 2,
        "train_test_split": ["0", "0", "1", "1"],
        "bounding_boxes": boxes,
    }
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{number} {line}\n" for number, line in enumerate(lines, 1)))
    for name in lists["images"]:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(_encoded(np.zeros(SHAPE, np.uint8)))


def _without_rows(folder: Path) -> None:
    for split in SPLITS:
        write_shard(folder / f"{split}-00000-of-00001.parquet", [], [])


def _with_names(folder: Path) -> None:
    """Shards whose classes have no names, or one of them twice."""
    names = random.choice(([["cat"], ["dog"]], [1, 2], ["cat", "cat"], ["cat", None], {"cat": 0}, "[" * 50_000))
    content = json.dumps({"info": {"features": {"label": {"names": names}}}}).encode()
    if isinstance(names, str):
        content = random.choice((names.encode(), content.replace(b"[", b"\xff"), b""))
    for split in SPLITS:
        path = folder / f"{split}-00000-of-00001.parquet"
        write_shard(path, [_encoded(np.zeros(SHAPE, np.uint8))], [0])
        pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": content}), path)


def _with_a_pipe(folder: Path) -> None:
    """In place of a picture or of a shard, or where an archive has a list."""
    if random.random() < 0.5:
        _folders(folder)
        place = random.choice(sorted(folder.rglob("*.png")))
        place.unlink()
    else:
        _in_a_box(folder)
        place = folder / random.choice(("train-00000-of-00001.parquet", "images.txt", "bounding_boxes.txt"))
        (folder / "train_test_split.txt").unlink() if place.suffix == ".parquet" else place.unlink()
    os.mkfifo(place)


def _promising(folder: Path) -> None:
    """A name that promises more shards than there is memory for their names."""
    (folder / f"train-1-of-{'9' * random.randint(8, 200)}.parquet").touch()


def _unprintable(folder: Path) -> None:
    """A class whose name would say something to the terminal, or is no text; the other split has not got it."""
    _folders(folder)
    letter = random.choice([b"\x1b[2J", b"\n", b"\r", b"\x07", b"\x7f", "\x9b".encode(), b"\xff"])
    name = os.fsdecode(b"cat" + letter)
    for split in SPLITS if random.random() < 0.5 else SPLITS[:1]:
        (folder / split / "cat").rename(folder / split / name)


KINDS = (_in_a_box, _without_rows, _with_names, _with_a_pipe, _promising, _unprintable)


class Waited(BaseException):
    """A command that waits for what never comes; no error that somebody may turn into another."""


def sets(count: int, folder: Path) -> list[Row]:
    """`count` data sets of each kind, each with a fault that `at-repro data` has to name in lines for a terminal."""
    wrong, before = 0, signal.signal(signal.SIGALRM, _wait_no_more)
    for make in KINDS * count:
        with tempfile.TemporaryDirectory(dir=folder) as root:
            (Path(root) / "own").mkdir()
            make(Path(root) / "own")
            wrong += not _is_told(root, make)
    signal.signal(signal.SIGALRM, before)
    what = "a data set with bad boxes, class names or shards, or a pipe in it"
    return [(what, count * len(KINDS), "no line, more than that, exit code 0, or endless waiting", wrong)]


def _wait_no_more(*_: object) -> None:
    raise Waited


def _is_told(root: str, make: Callable[[Path], None]) -> bool:
    name = random.choice(("own@8", "own@8-streamed"))
    if make in (_without_rows, _with_names, _promising):
        name = "own@8"  # shards are never streamed
    printed = io.StringIO()
    signal.alarm(60)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            code = cli.main(["data", name, "--data-root", root])
    except (Exception, Waited) as error:
        print(f"{make.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    finally:
        signal.alarm(0)
    lines = printed.getvalue().split("\n")
    faultless = make is _unprintable and code == 0  # then all of it is listed
    fine = (code == 1 or faultless) and len(lines) == (6 if faultless else 2) and all(map(str.isprintable, lines))
    if not fine:
        print(f"{make.__name__}: ended with {code}: {lines!r}", file=sys.stderr)
    return fine
