"""What is published can be installed: the wheel holds the package, and works away from the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
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
    """A virtual environment that holds the wheel and sees the dependencies of this one, used in an empty folder."""
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(list(map(str, install)), check=True)
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # Only the folder: what an editable installation there says of the checkout is not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    imported = call(str(python), "-c", "import at_repro; print(at_repro.__file__)")
    assert imported.startswith(str(packages)), "the checkout was tried, not the wheel"
    script = str(python.parent / "at-repro")
    assert "wrn-16-2-to-16-1" in call(script, "experiments") and "10000 images of 32x32" in call(
        script, "data", "shapes"
    )
    installed = {path.name for path in packages.iterdir() if not path.name.endswith(".dist-info")}
    assert installed == {"at_repro", "dependencies.pth"}, "something is installed beside the package"


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
