"""Notebooks are executed with parameters that are checked; faults end in one line."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import papermill
import pytest
from nbformat.v4 import new_code_cell
from tiny_book import printed, write_notebook

from at_repro.errors import ParameterError, UserError
from at_repro.report import book, notebooks


def test_a_notebook_is_known_by_its_path_as_well():
    assert notebooks.defaults("notebooks/table_1.ipynb") == notebooks.defaults("table_1")


def test_unknown_names_are_refused(checkout):
    write_notebook(checkout / "notebooks" / "00_other.ipynb", new_code_cell("1"))
    with pytest.raises(ParameterError, match=r"notebook: 'tinny' is not allowed; allowed: 01_tiny, 00_other"):
        notebooks.execute("tinny")
    with pytest.raises(ParameterError, match=r"notebook parameter: 'presett' is not allowed; allowed: preset, seeds"):
        notebooks.execute("01_tiny", {"presett": "smoke"})
    with pytest.raises(ParameterError, match="preset"):
        book.build("huge")
    assert not Path("01_tiny.ipynb").exists() and not (checkout / "build").exists()


@pytest.mark.parametrize(("name", "value"), [("seeds", "-1"), ("student", "wrn-3-1"), ("dataset", "photos@7")])
def test_a_wrong_value_of_a_shared_parameter_is_refused_before_a_kernel_starts(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(papermill, "execute_notebook", None)
    with pytest.raises(ParameterError, match="is not allowed; allowed: "):
        notebooks.execute("table_1", {name: value})


@pytest.mark.parametrize("name", ["01_tiny", "01_tiny.ipynb"])
def test_the_source_is_never_overwritten(checkout, name):
    source = checkout / "notebooks" / "01_tiny.ipynb"
    before = source.read_bytes()
    for output in (source, source.parent):
        with pytest.raises(ParameterError, match="output"):
            notebooks.execute(name, output=output)
    assert source.read_bytes() == before


def test_execute_writes_into_the_current_folder(checkout):
    output = notebooks.execute("01_tiny", {"preset": "smoke", "seeds": "0,1", "rate": "1"})
    assert output == Path("01_tiny.ipynb")
    assert printed(output) == "('smoke', [0, 1], 4, 1.0, False, None)\n"


def test_a_user_error_in_a_notebook_becomes_its_message(checkout):
    with pytest.raises(UserError) as caught:
        notebooks.execute("01_tiny", {"fail": "user"})
    assert str(caught.value) == "fail: 'user' is not allowed; allowed: nothing"
    assert not Path("01_tiny.ipynb").exists()


def test_a_bug_in_a_notebook_stays_visible(checkout):
    with pytest.raises(papermill.PapermillExecutionError, match="a bug"):
        notebooks.execute("01_tiny", {"fail": "bug"}, "out.ipynb")


@pytest.mark.slow
def test_a_kernel_that_is_killed_is_one_line(checkout, in_kernels):
    """As the system does with what takes all memory: nothing is wrong with the code."""
    kill = new_code_cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    write_notebook(checkout / "notebooks" / "02_large.ipynb", kill)
    with pytest.raises(UserError, match=r"^the kernel of notebook 02_large died, .* memory$"):
        notebooks.execute("02_large")
    assert not Path("02_large.ipynb").exists()


INTERRUPTED = """
import signal, sys
from pathlib import Path
from at_repro import cli
from at_repro.report import notebooks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
notebooks.CHECKOUT = Path(sys.argv[1])
sys.exit(cli.main(["notebook", "02_long"]))
"""


@pytest.mark.slow
def test_an_interrupted_notebook_is_interrupted_inside_and_ends_in_one_line(checkout):
    """Its kernel gets the signal too, so that training inside saves; nobody has to read of sockets."""
    wait = "from pathlib import Path\nimport time\nPath('begun').touch()\ntry:\n    time.sleep(600)\n"
    wait += "except KeyboardInterrupt:\n    Path('interrupted').touch()\n    raise"
    write_notebook(checkout / "notebooks" / "02_long.ipynb", new_code_cell(wait))
    command = [sys.executable, "-c", INTERRUPTED, str(checkout)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not Path("begun").exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)  # as Ctrl-C, which test_cli sends
        said = process.stderr.read()
        assert process.wait() == 130, said
    assert said.strip() == "at-repro: stopped; a training continues with the same command"
    assert Path("interrupted").exists()


def test_a_foreign_kernel_of_the_same_name_is_not_taken(tmp_path, monkeypatch):
    """Pages would be executed by another Python, with other packages."""
    from jupyter_client.kernelspec import get_kernel_spec

    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "foreign", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert get_kernel_spec("python3").argv[0] == "/bin/false", "or this shows nothing"
    with notebooks.environment(**notebooks.own_kernel()):
        assert get_kernel_spec("python3").argv[0] != "/bin/false"


def test_without_a_checkout_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "CHECKOUT", tmp_path)
    with pytest.raises(UserError, match="there is no folder notebooks beside the package"):
        notebooks.names()
