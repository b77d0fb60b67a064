"""What is published can be installed: the wheel holds the package, and works away from the checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from prose import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """What `make dist` makes, by kind: the build backend is in the extra, so nothing is downloaded.

    Of a copy without weights, which take long to pack, and with what commands leave behind.
    """
    clone = tmp_path_factory.mktemp("dist") / "clone"
    left_out = [".git", ".venv*", "build", "dist", "in-progress", "*.safetensors", "__pycache__", ".*_cache"]
    left_out += [".hypothesis", "results"]  # the one is written to meanwhile by other tests, the other is large
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*left_out))
    for leftover in ("build/page.html", ".venv/installed", "book/results/in-progress/a.lock"):
        (clone / leftover).parent.mkdir(parents=True)
        (clone / leftover).touch()
    folder = str(Path(sys.executable).parent)
    subprocess.run(
        ["make", "-C", str(clone), "--assume-old=.venv/installed", "LATEST=", f"BIN={folder}", "dist"],
        check=True,
        capture_output=True,
    )
    name = f"at_repro-{version('at-repro')}"
    return {"wheel": clone / "dist" / f"{name}-py3-none-any.whl", "source": clone / "dist" / f"{name}.tar.gz"}


def needed(project: str) -> set[str]:
    """The project's distribution and all that it needs here without its extras, by name."""
    found, wanted = set(), [project]
    while wanted:
        if (name := wanted.pop()) not in found:
            found.add(name)
            needs = [Requirement(line) for line in distribution(name).requires or []]
            wanted += [each.name for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def test_the_wheel_works_in_a_fresh_environment(built, tmp_path):
    """It brings what it needs: of this environment only what it names is seen, and no extra; the folder is empty."""
    venv.create(tmp_path / "env")
    python = str(tmp_path / "env" / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    for name in needed("at-repro") - {"at-repro"}:
        for top in {file.parts[0] for file in distribution(name).files if file.parts[0] not in ("..", "__pycache__")}:
            if not (packages / top).exists():  # folders that two share
                (packages / top).symlink_to(distribution(name).locate_file(top))
    # The index is not asked: what is not here by now, the wheel does not name.
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    call(*pip, "install", "--quiet", "--no-index", str(built["wheel"]))
    imported = call(python, "-c", "import at_repro; print(at_repro.__file__)")
    assert imported.startswith(str(tmp_path / "env")), "the checkout was tried, not the wheel"
    script = str(tmp_path / "env" / "bin" / "at-repro")
    assert "wrn-16-2-to-16-1" in call(script, "experiments")
    shutil.copy(ROOT / "tests" / "short.py", packages)
    (packages / "sitecustomize.py").write_text("import short\nshort.shorten()")
    run = ["run", "precisions", "--preset", "smoke", "--compile", "off", "--results", "records"]
    both = f"from at_repro import cli; cli.main({run}); cli.main(['verify', '--results', 'records'])"
    assert "2 of 2 records verified" in call(python, "-c", both)  # in one process: each imports torch for seconds


def test_the_source_distribution_holds_the_book_and_no_records_of_others(built):
    import tarfile

    with tarfile.open(built["source"]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for wanted in (
        "pyproject.toml",
        "README.md",
        "at_repro/losses.py",
        "notebooks/attention_maps.ipynb",
        "book/_toc.yml",
    ):
        assert wanted in names, wanted
    assert not any(name.startswith(("build/", ".venv", "book/results/in-progress")) for name in names)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone")
def test_the_source_distribution_takes_all_that_is_tracked_and_nothing_else():
    """Examples of the documentation leave pictures and records in the clone."""
    taken = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name.split("/")[0] for name in listed.splitlines()}
    assert {*taken["only-include"]} == tracked - {".gitignore"}, "hatchling adds that one itself"
