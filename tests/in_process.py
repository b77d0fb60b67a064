"""Notebooks in the tests' own process: torch is imported once for all of them, and not by a kernel for each."""

import atexit
import contextlib
import io
import sys
from collections.abc import Iterator
from itertools import chain

import matplotlib.pyplot as plt
import pandas as pd
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_output
from papermill.engines import Engine
from traitlets import Type
from traitlets.config import Config

_WHOLE_TABLES = ("display.max_rows", "display.max_colwidth")  # see `notebook_output.use_in_notebook`


class _Displayed(DisplayPublisher):
    def publish(self, data, metadata=None, **_):
        self.shell.outputs.append(new_output("display_data", data, metadata=metadata or {}))


class _Result(DisplayHook):
    def write_output_prompt(self):
        pass

    def write_format_data(self, format_dict, md_dict=None):
        self.shell.outputs.append(new_output("execute_result", format_dict, metadata=md_dict or {}))


class Shell(InteractiveShell):
    """What a kernel does with a cell, but for the messages: it shows values, draws figures and tells of an error."""

    displayhook_class = Type(_Result)
    display_pub_class = Type(_Displayed)

    def outputs_of(self, source: str) -> list:
        """Runs the source of a cell. Returns its outputs, the last of which is its error where it ends in one."""
        self.outputs: list = []
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            result = self.run_cell(source)
            for number in plt.get_fignums():
                plt.figure(number).canvas.draw()
        plt.close("all")
        if printed.getvalue():
            self.outputs.insert(0, new_output("stream", name="stdout", text=printed.getvalue()))
        if error := result.error_before_exec or result.error_in_exec:
            name = type(error).__name__
            self.outputs.append(new_output("error", ename=name, evalue=str(error), traceback=[f"{name}: {error}"]))
        return self.outputs


@contextlib.contextmanager
def shell() -> Iterator[Shell]:
    """A fresh shell. What notebooks set for their whole process is given back."""
    main = sys.modules["__main__"]  # which a shell puts itself in place of
    running = Shell.instance(config=Config(HistoryManager={"enabled": False}))
    running.display_formatter.active_types = running.display_formatter.format_types  # as a notebook's kernel has it
    try:
        with plt.rc_context(), pd.option_context(*chain(*((name, pd.get_option(name)) for name in _WHOLE_TABLES))):
            yield running
    finally:
        atexit.unregister(running.atexit_operations)  # which would keep all that notebooks hold until then
        Shell.clear_instance()
        sys.modules["__main__"] = main


class InProcess(Engine):
    """An engine for papermill: in place of its own, `papermill.execute_notebook` starts no kernel."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **_):
        with shell() as running:
            for index, cell in enumerate(nb_man.nb.cells):
                if cell.cell_type == "code":
                    nb_man.cell_start(cell, index)
                    cell.outputs = running.outputs_of(cell.source)
                    cell.execution_count = running.execution_count - 1
                    if cell.outputs and cell.outputs[-1].output_type == "error":
                        return
                    nb_man.cell_complete(cell, index)
