"""The notebooks: where they are, what they say of themselves, and how papermill executes one.

papermill comes with the extra `book`.
"""

import difflib
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from at_repro import files
from at_repro.errors import ParameterError, UserError
from at_repro.report import page

if TYPE_CHECKING:  # it comes with the extra `book`
    from nbformat import NotebookNode

CHECKOUT = files.CHECKOUT


def own_kernel() -> dict[str, str]:
    """Variables that let `python3` mean this environment's kernel, also where another folder has one of that name."""
    others = os.environ.get("JUPYTER_PATH", "")
    return {"JUPYTER_PATH": os.pathsep.join([str(Path(sys.prefix) / "share" / "jupyter"), *filter(None, [others])])}


def part_of_checkout(name: str) -> Path:
    """A folder of the checkout. Raises UserError where the package was installed without one."""
    folder = CHECKOUT / name
    if not folder.is_dir():
        raise UserError(f"there is no folder {name} beside the package: clone the repository and use it from there")
    return folder


def names() -> list[str]:
    """Names of the notebooks, sorted; the order of the pages is that of the book's table of contents."""
    return sorted(path.stem for path in part_of_checkout("notebooks").glob("*.ipynb"))


def source(name: str) -> Path:
    """The file of a notebook, given its name or its path. Raises ParameterError, the nearest names first."""
    stem = Path(name).name.removesuffix(".ipynb")  # its path, as a shell completes it, is as clear
    if stem not in names():
        # The nearest first: a name may be misspelt.
        raise ParameterError("notebook", name, difflib.get_close_matches(stem, names(), n=len(names()), cutoff=0))
    return part_of_checkout("notebooks") / f"{stem}.ipynb"


def read(name: str) -> "NotebookNode":
    """A committed notebook. Raises ParameterError for an unknown one."""
    import nbformat

    return nbformat.read(source(name), as_version=4)


def execute(name: str, values: Mapping[str, object] | None = None, output: str | Path | None = None) -> Path:
    """Executes one notebook through papermill, with this interpreter, in the current folder.

    Args:
        name: a notebook, with or without its folder and `.ipynb`.
        values: for names in its parameters cell. A string is read as a value of the default's type.
        output: the executed notebook; None: NAME.ipynb in the current folder.

    Returns:
        The path of the executed notebook.

    Raises:
        ParameterError: for a notebook, a parameter or a value that is not allowed.
        UserError: with the message of a user error that was raised inside the notebook, or where its kernel dies.
        papermill.PapermillExecutionError: for any other error inside.
    """
    require_tools()
    import papermill
    from nbclient.exceptions import DeadKernelError

    path = source(name)
    output = Path(os.path.expanduser(output or path.name))  # of `Path` it raises for an unknown user's home
    if os.path.isdir(output):
        output = output / path.name
    values = parameters(name, values or {})
    if files.output(output) == path.resolve():
        raise ParameterError("output", str(output), "a file that is not the notebook itself")
    for logger in ("papermill", "asyncio"):  # who interrupts a kernel need not read that it died; errors are raised
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    try:
        with environment(**own_kernel()), tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            papermill.execute_notebook(
                str(path),
                str(copy),
                values,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stderr_file=sys.stderr,
                # Of the kernel: its warnings are not the notebook's; an interrupted one tells of its closed sockets.
                extra_arguments=["--log-level=CRITICAL"],
            )
            files.write(output, copy.read_bytes())
    except papermill.PapermillExecutionError as error:
        if error.ename not in _user_errors(UserError):
            raise
        raise UserError(error.evalue) from None
    except DeadKernelError:
        raise UserError(f"the kernel of notebook {path.stem} died, as where the system runs out of memory") from None
    return output


def stop_kernels() -> None:
    """Ends the kernels that this process has started: those of other threads are not interrupted with it."""
    import psutil

    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it ends by itself
            if "ipykernel_launcher" in child.cmdline():
                child.kill()


def _user_errors(kind: type[Exception]) -> set[str]:
    """Names of an error class and of all classes made from it: papermill passes on a name, not an exception."""
    return {kind.__name__}.union(*(_user_errors(child) for child in kind.__subclasses__()))


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Sets environment variables, which kernels inherit, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def parameters(name: str, values: Mapping[str, object]) -> dict[str, object]:
    """The given parameters of a notebook, read by the type of its defaults and checked. Raises ParameterError."""
    values = page.read(defaults(name), values)
    page.check(values)
    return values


def defaults(name: str) -> dict[str, object]:
    """The parameters of a notebook with their defaults, in its order. Raises ParameterError for an unknown notebook."""
    import papermill

    entries = papermill.inspect_notebook(str(source(name)))
    return {key: page.literal(parameter["default"]) for key, parameter in entries.items()}


def tidy(path: Path, fingerprint: dict[str, str] | None = None) -> None:
    """Takes what is this machine's out of an executed notebook, which the site offers as a download: paths, times,
    the version of Python. Writes its fingerprint into it, if it has one."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    own = notebook.metadata.setdefault("at_repro", {})
    own.pop("fingerprint", None)
    if fingerprint:
        own["fingerprint"] = fingerprint
    for cell in notebook.cells:
        if cell.cell_type == "code":  # progress of training
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = re.sub(rf"(?m)^({'|'.join(page.PATHS)}) = .*$", r'\1 = ""', cell.source)
    nbformat.write(notebook, path)


def experiments_of(notebook: "NotebookNode") -> list[str]:
    """The experiments that a notebook opens, as its metadata say (`at_repro`: {`experiments`: [NAME]})."""
    return notebook.metadata.get("at_repro", {}).get("experiments", [])


def shown_images(notebook: "NotebookNode") -> list[str]:
    """The data sets whose images a committed notebook shows; empty where it shows none.

    Those in its metadata (`at_repro`: {`dataset`: [NAME]}), else CIFAR-10, that of the preset.
    """
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    if "needs-images" not in tags:
        return []
    return notebook.metadata.get("at_repro", {}).get("dataset", ["cifar10"])


def figure(cell: "NotebookNode") -> dict:
    """Name and caption of a notebook cell's figure or table; empty where it has none."""
    return cell.metadata.get("mystnb", {}).get("figure", {})


def require_tools() -> None:
    """Raises UserError where the extra `book` is not installed."""
    for module in ("papermill", "ipykernel", "jupyter_book"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"{module} is not installed; run in the clone: pip install -e '.[book]'")
