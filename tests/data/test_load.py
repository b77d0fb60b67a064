"""Loading by name, the data root, and descriptions."""

from pathlib import Path

import pytest
import torch

from at_repro import data
from at_repro.errors import ParameterError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("AT_REPRO_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_load_takes_a_prefix():
    part = data.load("shapes", "test", subset=30)
    assert len(part) == 30
    assert torch.equal(part.images, data.load("shapes", "test").images[:30]), "a subset has to be a prefix"


@pytest.mark.parametrize(
    "call", [data.check_name, data.normalization, data.describe, lambda name: data.load(name, "train")]
)
def test_unknown_name_is_refused(call):
    with pytest.raises(ParameterError, match="data set: 'cifar' is not allowed; allowed: shapes, cifar10"):
        call("cifar")


def test_unknown_split_and_subset_are_refused():
    for name in ("shapes", "cifar10", "photos@32", "photos@32-streamed"):
        with pytest.raises(ParameterError, match="split: 'val'"):
            data.load(name, "val")
    with pytest.raises(ParameterError, match=r"subset: 2001 .* 1 to 2000"):
        data.load("shapes", "test", subset=2001)


def test_data_root_prefers_the_argument_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    assert data.data_root() == tmp_path / "cache" / "at_repro" / "data"
    monkeypatch.setenv("AT_REPRO_DATA", str(two))
    assert data.data_root() == two
    assert data.data_root(one) == one
    monkeypatch.setenv("AT_REPRO_DATA", "")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(one))
    assert data.data_root() == one / ".cache" / "at_repro" / "data", "an empty variable counts as not set"


def test_data_root_that_does_not_exist_is_refused_with_its_source(tmp_path, monkeypatch):
    gone = str(tmp_path / "gone")
    with pytest.raises(ParameterError, match=r"data root: .*gone.* a folder that exists"):
        data.data_root(gone)
    monkeypatch.setenv("AT_REPRO_DATA", gone)
    with pytest.raises(ParameterError, match=r"AT_REPRO_DATA: .*gone.* a folder that exists"):
        data.data_root()
    assert len(data.load("shapes", "test", subset=1)) == 1, "a generated set needs no data root"


def test_describe_tells_what_is_missing_and_neither_raises_nor_downloads(tmp_path):
    description = data.describe("cifar10")
    assert description.splits == {}
    assert "CIFAR-10 is not in" in description.problem and "not downloaded" in description.problem
    assert not Path(tmp_path / "cache").exists(), "describing must not begin a download"
    assert "a folder that exists" in data.describe("cifar10", tmp_path / "gone").problem
