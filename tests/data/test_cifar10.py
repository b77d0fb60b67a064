"""CIFAR-10 from each source: the same set whatever the source, and one line for every kind of damage."""

import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from shards import write_shard
from torchvision import datasets

from at_repro import data
from at_repro.data import cifar10 as module
from at_repro.data.cifar10 import CLASSES, cifar10
from at_repro.data.parquet import read_shards
from at_repro.errors import DataError

ROWS = {"train": 40, "test": 20}


@pytest.fixture(autouse=True)
def small(no_download, monkeypatch):
    """CIFAR-10 with 40 and 20 images, and no way to download it."""
    monkeypatch.setattr(module, "SIZES", ROWS)


def pixels(split: str) -> tuple[np.ndarray, list[int]]:
    """uint8 (N, 32, 32, 3) and labels, the same at every call."""
    generator = np.random.default_rng(len(split))
    return generator.integers(256, size=(ROWS[split], 32, 32, 3), dtype=np.uint8), [i % 10 for i in range(ROWS[split])]


def encoded(image: np.ndarray, mode: str = "RGB", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, kind, lossless=True)
    return buffer.getvalue()


def shard(root: Path, split: str, index: int = 0, folder: str = "cifar10/plain_text") -> Path:
    return root / folder / f"{split}-{index:05d}-of-00002.parquet"


def write_shards(root: Path, split: str, folder: str = "cifar10/plain_text", kind: str = "PNG") -> None:
    """Two shards whose rows are in another order than the batches'."""
    images, labels = pixels(split)
    order = np.random.default_rng(7).permutation(len(labels))
    for index, rows in enumerate(np.array_split(order, 2)):
        rows_encoded = [encoded(images[row], kind=kind) for row in rows]
        write_shard(shard(root, split, index, folder), rows_encoded, [labels[row] for row in rows])


def write_batches(root: Path, monkeypatch) -> Path:
    """torchvision's layout with one training batch, its checksums registered with torchvision."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: dict) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(split: str) -> dict:
        images, labels = pixels(split)
        return {"data": images.transpose(0, 3, 1, 2).reshape(len(labels), -1), "labels": labels}

    kind = datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [["data_batch_1", write("data_batch_1", batch("train"))]])
    monkeypatch.setattr(kind, "test_list", [["test_batch", write("test_batch", batch("test"))]])
    meta = write("batches.meta", {"label_names": list(CLASSES)})
    monkeypatch.setattr(kind, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return folder


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_source_gives_the_same_set(split, tmp_path, monkeypatch):
    write_batches(tmp_path / "batches", monkeypatch)
    write_shards(tmp_path / "png", split)
    write_shards(tmp_path / "webp", split, folder="plain_text", kind="WEBP")
    sets = [cifar10(split, tmp_path / source) for source in ("batches", "png", "webp")]
    assert all(torch.equal(one.images, sets[0].images) for one in sets), "pixels or their order depend on the source"
    assert all(torch.equal(one.labels, sets[0].labels) for one in sets), "labels depend on the source"
    assert len({one.fingerprint for one in sets}) == 1, "the fingerprint depends on the source"
    assert all(one.classes == CLASSES for one in sets)
    assert [Path(one.source).relative_to(tmp_path).parts[0] for one in sets] == ["batches", "png", "webp"]


def test_labels_belong_to_their_images(tmp_path):
    write_shards(tmp_path, "train")
    images, labels = pixels("train")
    wanted = {image.transpose(2, 0, 1).tobytes(): label for image, label in zip(images, labels, strict=True)}
    read = cifar10("train", tmp_path)
    found = {image.numpy().tobytes(): int(label) for image, label in zip(read.images, read.labels, strict=True)}
    assert found == wanted, "channels, rows or labels were mixed up on the way"


def test_batches_come_before_shards(tmp_path, monkeypatch):
    folder = write_batches(tmp_path, monkeypatch)
    write_shards(tmp_path, "train")
    assert cifar10("train", tmp_path).source == str(folder)


def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path):
    with pytest.raises(DataError) as error:
        cifar10("train", tmp_path)
    message = str(error.value)
    for part in (
        str(tmp_path),
        "cifar-10-batches-py",
        "plain_text",
        "AT_REPRO_DATA",
        "or the data root",
        "smoke",
        "no internet",
    ):
        assert part in message, f"the message does not say {part}"
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == [], "a failed download left something behind"


def test_download_ends_in_the_data_root(tmp_path, monkeypatch):
    def download(self):
        write_batches(Path(self.root), monkeypatch)

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    read = cifar10("test", tmp_path / "new")
    assert read.source == str(tmp_path / "new" / "cifar-10-batches-py")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cifar-10-batches-py"], "nothing else may stay"


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_damaged_batch_is_named(name, tmp_path, monkeypatch):
    folder = write_batches(tmp_path, monkeypatch)
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{name} missing or damaged"):
        cifar10("train", tmp_path)


def test_missing_shard_is_named(tmp_path):
    write_shards(tmp_path, "train")
    shard(tmp_path, "train", 1).unlink()
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet of 2 shards missing"):
        cifar10("train", tmp_path)


def test_shards_of_two_versions_are_refused(tmp_path):
    write_shards(tmp_path, "train")
    write_shard(tmp_path / "cifar10/plain_text/train-00000-of-00001.parquet", [], [])
    with pytest.raises(DataError, match="more than one version"):
        cifar10("train", tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 0.5, -1])
def test_truncated_shard_is_named(keep, tmp_path):
    write_shards(tmp_path, "train")
    path = shard(tmp_path, "train", 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: cannot be read"):
        cifar10("train", tmp_path)


IMAGE = pixels("test")[0][0]
DAMAGE = {
    "cut image": (encoded(IMAGE)[:-400], 1, "row 2"),
    "no image at all": (b"not an image", 1, "row 2: the image is none of PNG, JPEG, WEBP, GIF"),
    "missing image": (None, 1, "row 2: the image is missing"),
    "wrong size": (encoded(IMAGE[:31]), 1, "row 2: the image has 31 x 32 pixels, not 32 x 32"),
    "grey image": (encoded(IMAGE, mode="L"), 1, "row 2: the image is of mode L, not RGB"),
    "label too large": (encoded(IMAGE), 10, "row 2: label 10 is not in 0 to 9"),
    "negative label": (encoded(IMAGE), -1, "row 2: label -1 is not in 0 to 9"),
    "missing label": (encoded(IMAGE), None, "row 2: label None is not in 0 to 9"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_row_is_named_with_its_shard(damage, tmp_path):
    image, label, message = DAMAGE[damage]
    write_shards(tmp_path, "train")
    write_shard(shard(tmp_path, "train", 1), [encoded(IMAGE)] * 2 + [image], [0, 1, label])
    with pytest.raises(DataError) as error:
        cifar10("train", tmp_path)
    assert f"train-00001-of-00002.parquet: {message}" in str(error.value), (
        "the shard, the row or the reason is not told"
    )


def test_other_classes_or_another_number_of_images_are_refused(tmp_path):
    write_shard(shard(tmp_path, "test", 0), [encoded(IMAGE)], [0])
    write_shard(shard(tmp_path, "test", 1), [encoded(IMAGE)], [0])
    with pytest.raises(DataError, match="2 images where the test split of CIFAR-10 has 20"):
        cifar10("test", tmp_path)
    for index in range(2):
        table = pq.read_table(shard(tmp_path, "test", index))
        pq.write_table(table.slice(0, 0), shard(tmp_path, "test", index))
    with pytest.raises(DataError, match="0 images where the test split of CIFAR-10 has 20"):
        cifar10("test", tmp_path)
    write_shard(shard(tmp_path, "test", 0), [encoded(IMAGE)], [0])
    write_shard(shard(tmp_path, "test", 1), [encoded(IMAGE)], [0], names=("x", "y"))
    with pytest.raises(DataError, match="class names are not those of"):
        cifar10("test", tmp_path)
    write_shard(shard(tmp_path, "test", 0), [encoded(IMAGE)], [0], names=("x", "y"))
    with pytest.raises(DataError, match="not CIFAR-10's: x, y"):
        cifar10("test", tmp_path)


def test_shard_without_what_is_needed_is_refused(tmp_path):
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"label": [1]}), path)
    with pytest.raises(DataError, match="0 columns of encoded images"):
        read_shards([path])
    pq.write_table(pa.table({"img": pa.array([{"bytes": "no bytes", "path": None}]), "label": [1]}), path)
    with pytest.raises(DataError, match="0 columns of encoded images"):
        read_shards([path])
    images = pa.array([{"bytes": encoded(IMAGE), "path": None}])
    pq.write_table(pa.table({"img": images}), path)
    with pytest.raises(DataError, match="has no column 'label'; it has img"):
        read_shards([path])


def test_images_of_any_size_and_mode_are_a_list(tmp_path):
    path = tmp_path / "faces.parquet"
    see_through = encoded(IMAGE, mode="RGBA")
    write_shard(path, [encoded(IMAGE[:20]), encoded(IMAGE, mode="L"), see_through], [0, 1, 2])
    images, labels, classes = read_shards([path])
    assert [tuple(image.shape) for image in images] == [(3, 20, 32), (3, 32, 32), (3, 32, 32)]
    assert np.array_equal(images[0].numpy(), IMAGE[:20].transpose(2, 0, 1)), "channels come first"
    assert np.array_equal(images[2].numpy(), IMAGE.transpose(2, 0, 1)), "what is opaque everywhere stays as it is"
    assert torch.equal(images[1][0], images[1][1]) and torch.equal(images[1][0], images[1][2]), "grey is three times it"
    assert labels.tolist() == [0, 1, 2] and classes == CLASSES


def _has_real_data() -> bool:
    root = Path(os.environ.get("AT_REPRO_DATA") or "/nonexistent")
    return any((root / place).is_dir() for place in ("cifar-10-batches-py", "cifar10/plain_text", "plain_text"))


@pytest.mark.skipif(not _has_real_data(), reason="AT_REPRO_DATA does not hold CIFAR-10")
@pytest.mark.parametrize(("split", "count"), [("train", 50_000), ("test", 10_000)])
@pytest.mark.slow
def test_the_real_set(split, count, monkeypatch):
    monkeypatch.setattr(module, "SIZES", {"train": 50_000, "test": 10_000})
    real = data.load("cifar10", split)
    assert real.images.shape == (count, 3, 32, 32) and real.images.dtype == torch.uint8
    assert real.labels.bincount().tolist() == [count // 10] * 10, "CIFAR-10 is balanced"
    if split == "train":
        values = np.arange(256)
        for channel, mean, deviation in zip(
            real.images.unbind(1), (125.3, 123.0, 113.9), (63.0, 62.1, 66.7), strict=True
        ):
            share = channel.flatten().bincount(minlength=256).numpy() / channel.numel()
            assert abs(share @ values - mean) < 0.1, "not the published mean of CIFAR-10"
            assert abs((share @ values**2 - (share @ values) ** 2) ** 0.5 - deviation) < 0.1, "nor its deviation"
