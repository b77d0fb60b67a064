"""What is published can be installed: the wheel holds the package, and works away from the checkout."""

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built() -> dict[str, Path]:
    """What `make dist` makes, by kind: the build backend is in the extra, so nothing is downloaded."""
    folder = str(Path(sys.executable).parent)
    subprocess.run(
        ["make", "-C", str(ROOT), "--assume-old=.venv/installed", f"BIN={folder}", "dist"],
        check=True,
        capture_output=True,
    )
    name = f"at_repro-{version('at-repro')}"
    return {"wheel": ROOT / "dist" / f"{name}-py3-none-any.whl", "source": ROOT / "dist" / f"{name}.tar.gz"}


def test_the_wheel_works_in_a_fresh_environment(built, tmp_path):
    """It brings what it needs: nothing of this environment is seen, no extra is installed, the folder is empty."""
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        if done.returncode and "NewConnectionError" in done.stdout + done.stderr:
            pytest.skip("no package index can be reached to install the dependencies from")
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(built["wheel"]))
    imported = call(python, "-c", "import at_repro; print(at_repro.__file__)")
    assert imported.startswith(str(tmp_path / "env")), "the checkout was tried, not the wheel"
    script = str(tmp_path / "env" / "bin" / "at-repro")
    assert "wrn-16-2-to-16-1" in call(script, "experiments")
    assert "10000 images of 32x32" in call(script, "data", "shapes")
    call(script, "run", "precisions", "--preset", "smoke", "--compile", "off", "--results", "records")
    assert "2 of 2 records verified" in call(script, "verify", "--results", "records")


def test_the_source_distribution_holds_the_book_and_no_records_of_others(built):
    import tarfile

    with tarfile.open(built["source"]) as archive:
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
