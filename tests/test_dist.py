"""What is published can be installed: the wheel holds the package, and works away from the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with wheel and source distribution, built without a download: the build backend is in the extra."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_the_wheel_works_in_a_fresh_environment(built, tmp_path):
    """Installed beside nothing but the dependencies, and called in an empty folder."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", place, wheel]
    subprocess.run(list(map(str, install)), check=True)
    code = (
        "import at_repro, sys; from at_repro.cli import main; print(at_repro.__file__);"
        "sys.exit(main(['experiments']) or main(['data', 'shapes']))"
    )
    environment = os.environ | {"PYTHONPATH": str(place)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(place)), "the checkout was tried, not the wheel"
    assert "wrn-16-2-to-16-1" in done.stdout and "10000 images of 32x32" in done.stdout
    folders = {path.name for path in place.iterdir() if not path.name.endswith(".dist-info")}
    assert folders == {"at_repro", "bin"}, "something is installed beside the package"
    assert {path.name for path in (place / "bin").iterdir()} == {"at-repro"}


def test_the_source_distribution_holds_the_book_and_no_records_of_others(built):
    import tarfile

    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for wanted in (
        "pyproject.toml",
        "README.md",
        "at_repro/losses.py",
        "notebooks/01_attention_maps.ipynb",
        "book/_toc.yml",
    ):
        assert wanted in names, wanted
    assert not any(name.startswith(("build/", ".venv/", "book/results/in-progress")) for name in names)
