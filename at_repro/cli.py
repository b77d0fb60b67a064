"""The command line: `at-repro`, also `python -m at_repro`."""

import argparse
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from at_repro import files
from at_repro.errors import ParameterError, UserError, printable

EXAMPLES = (
    ("experiments", "what can be run, with its runs and cost"),
    ("run wrn-16-2-to-16-1", "train it in minutes, without any download"),
    (
        "run wrn-16-2-to-16-1 --preset reduced --data-root DIR",
        "train it on CIFAR-10; give the same command again to continue",
    ),
    ("run wrn-16-2-to-16-1 --preset paper --seeds 3 4 --results mine", "seeds 3 and 4 and the teacher, in 30 hours"),
    ("run wrn-16-2-to-16-1 one-or-three --cluster local:2", "the same in several processes, or on a cluster"),
    ("run one-or-three --preset reduced --columns student 'group 1'", "train two columns of a table and their teacher"),
    ("status --preset reduced", "what is recorded, in progress and missing"),
    ("verify", "compare the records with what their weights give"),
    ("claims", "what the records say about each claim of the paper"),
    ("notebook table_1 -p preset smoke -p beta 10", "Table 1 with another weight; networks, length, images too"),
    ("sweep table_1 -p preset smoke -p beta 10 100 1000", "execute a notebook for each value and compare the results"),
    ("maps photo.jpg", "what EfficientNet-Lite0 takes a photograph for, and where it looks"),
    ("maps resnet50 photos/ --grad-cam --csv maps.csv", "Grad-CAM of a model of torchvision, for all in a folder"),
    ("book", "build the report from the committed records; what has changed is executed"),
    ("book --preset smoke", "rehearse it: train every experiment on generated images"),
    ("book --pdf", "and print it as one PDF, by Chromium"),
    ("refresh", "after new records: renew notebooks and README"),
    ("bench --output bench.json", "measure what training costs here"),
    ("data --data-root DIR", "where each data set was found"),
    ("data photos@64 --data-root DIR", "what is in your own folder DIR/photos, as images of 64 x 64 pixels"),
)

# Standard output that nobody reads or that cannot be written.
_OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Exit codes: 0; 1, a record or a data set has a fault; 2, bad input; 130, interrupted; 141, as for every program
    whose output nobody reads any more.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever called: what is said is lost, what is done is not
            setattr(sys, name, io.StringIO())
    # The BLAS of NumPy and SciPy, which has little to do here, would start threads that spin for 0.2 seconds each.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    files.handle_signals(signal.default_int_handler)
    try:
        options = _parse(arguments)
        _check_folder()
        code = options.command(options) or 0
        sys.stdout.flush()  # here, where a closed pipe is caught, not at exit
        return code
    except UserError as error:
        _say(f"at-repro: {printable(str(error))}")
        return 2
    except KeyboardInterrupt:
        _say("\nat-repro: stopped; a training continues with the same command")
        return 130
    except OSError as error:  # of standard output: files have a line of their own, see `files.write_errors`
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python writes again at its end
        if isinstance(error, BrokenPipeError):  # its reader, such as head, has seen enough
            return 128 + signal.SIGPIPE
        _say(f"at-repro: the output cannot be written ({error.strerror})")
        return 2


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    top = parser()
    options, rest = top.parse_known_args(arguments)
    if any(word.startswith("-") for word in rest) or (rest and "pictures" not in options):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # pictures behind an option, of which argparse takes those before it alone
        options.pictures = [*options.pictures, *rest]
    for name, value in vars(options).items():
        if value == "" or (isinstance(value, list) and "" in value):  # it would mean a default, or the current folder
            raise ParameterError(name.replace("_", " "), "", "a value, not the empty one of a variable that is not set")
    return options


def _say(line: str) -> None:
    with suppress(OSError):  # standard error is full, or nobody reads it: the exit code still says what there was
        print(line, file=sys.stderr)


def _check_folder() -> None:
    try:
        os.getcwd()
    except OSError:
        raise UserError("the current folder is not there any more; change into one that is") from None


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any):
        super().__init__(**settings, allow_abbrev=False)  # --seed 1 would train with --seeds 1

    def print_help(self, file: Any = None) -> None:
        """Written at once, and not through argparse, which does not say when it cannot write."""
        print(self.format_help(), end="", file=file, flush=True)

    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage, so that the reason is not buried."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The command line's parser; its help teaches by examples."""
    top = _Parser(
        prog="at-repro",
        description="Reproduces 'Paying More Attention to Attention' (ICLR 2017): trains, verifies and publishes.",
        epilog=_examples(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, function: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, epilog=_examples(name), formatter_class=top.formatter_class
        )
        command.set_defaults(command=function)
        return command

    add("experiments", experiments, "list what can be run, its runs and what they cost")

    command = add("run", run, "train what has no record yet; give the same command again to continue after a stop")
    command.add_argument("experiments", nargs="+", metavar="EXPERIMENT", help="a name from `at-repro experiments`")
    _add_options(command, "preset", "seeds", "columns", "device", "compile")
    command.add_argument(
        "--cluster", metavar="ADDRESS", help="local:N (worker processes), or a Dask scheduler's address"
    )
    _add_options(command, "data-root", "results")

    command = add("status", status, "show records, runs in progress and missing runs")
    command.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="default: all")
    _add_options(command, "preset", "seeds", "columns", "results")

    command = add(
        "notebook",
        notebook,
        "execute one notebook through papermill; trains most of what has no record, unless AT_REPRO_TRAIN is never",
    )
    command.add_argument("name", metavar="NAME", help="of a page, such as table_1")
    command.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"),
                         help="a parameter, once for each: -p preset smoke -p seeds 0,1; each page explains its own at "
                         "its end, and a wrong name lists them (preset: reduced unless given, which trains most of "
                         "what the page shows and has no record, on CIFAR-10, for hours)")  # fmt: skip
    command.add_argument("-o", "--output", metavar="FILE", help="the executed notebook (default: ./NAME.ipynb)")

    command = add(
        "sweep",
        sweep,
        "execute one notebook for each value of a parameter and build a book that compares them; "
        "trains as notebook does",
    )
    command.add_argument("name", metavar="NAME", help="for example table_1")
    command.add_argument("-p", dest="parameters", nargs="+", action="append", default=[], metavar=("KEY", "VALUE"),
                         help="a parameter and its values; with one value it is the same for all (preset is reduced "
                         "unless given)")  # fmt: skip

    command = add("maps", maps, "draw what any model looks at in any picture: its attention maps, low to top")
    command.add_argument("model", nargs="?", default="efficientnet-lite0", metavar="MODEL", help="a network of this "
                         "package, torchvision or timm, or module:function, which sees 224 pixels in "
                         "ImageNet's normalisation (default: %(default)s)")  # fmt: skip
    command.add_argument(
        "pictures",
        nargs="*",
        metavar="PICTURE",
        help="files and folders, named before --layers; the first 8 are drawn (default: a sample image)",
    )
    command.add_argument("--layers", nargs="+", default=[], help="as named_modules() of the model calls them, low to "
                         "top (default: at most three, at the ends of stages)")  # fmt: skip
    command.add_argument(
        "--mapping", default="sum-2", help="of activations: sum-P or max-P, any power P (default: %(default)s)"
    )
    kinds = command.add_mutually_exclusive_group()
    for kind, text in (("gradient", "the loss's gradient by the image"), ("grad-cam", "Grad-CAM of the top layer")):
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, default="activation", help=text)
    command.add_argument("--weights", metavar="FILE", help="a file, or random (default: those published with the name)")
    command.add_argument(
        "--layout", help="of the axes: NCHW or NHWC (channels last), where a layer's shape does not tell"
    )
    command.add_argument(
        "--grid",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="rows and columns of a transformer's tokens, where they are no square",
    )
    command.add_argument("--size", type=int, metavar="PIXELS", help="the model's resolution (default: of its weights)")
    _add_options(command, "device")
    command.add_argument(
        "-o",
        "--output",
        default="maps.png",
        metavar="FILE",
        help="the figure, in the format of its suffix (default: %(default)s)",
    )
    command.add_argument("--csv", metavar="FILE", help="also look at all pictures, and write of every map its entropy "
                         "and the share of its strongest tenth of positions, in percent")  # fmt: skip

    add(
        "refresh",
        refresh,
        "renew the committed pages whose images are here; needs at_repro committed, and CIFAR-10 at hand",
    )

    command = add("book", book, "build the report from the committed records, or train and build it at a preset")
    command.add_argument("--preset", help="smoke, reduced or paper: train what has no record, execute every page")
    command.add_argument("--pdf", action="store_true", help="also print it as one PDF, by the system's Chromium")
    _add_options(command, "device", "data-root", "results")

    command = add(
        "verify",
        verify,
        "compare the records with what their weights give, or, where none are kept, with their predictions",
    )
    command.add_argument("runs", nargs="*", metavar="RUN", help="run ids (default: every record)")
    _add_options(command, "device", "data-root")
    command.add_argument("--results", **_COMMITTED_RECORDS)

    command = add("claims", claims, "show what the records say about each claim of the paper")
    command.add_argument("--results", **_COMMITTED_RECORDS)
    command.add_argument("-o", "--output", metavar="FILE", help="also write the whole ledger as CSV")

    command = add("bench", bench, "measure what training, verify and book cost here; on an idle machine, 20 minutes")
    _add_options(command, "device", "compile", "data-root")
    command.add_argument("-o", "--output", metavar="FILE", help="also write what was measured as JSON")

    command = add("data", show_data, "show where each data set was found, its fingerprint, size and class counts")
    command.add_argument("names", nargs="*", metavar="NAME", help="cifar10, shapes, or a folder of the data root and a "
                         "size, such as photos@64 or, left in its files, "
                         "imagenet@224-streamed (default: cifar10 and shapes)")  # fmt: skip
    _add_options(command, "data-root")
    return top


def _examples(command: str = "") -> str:
    """The examples of one command, or of all, each above what it does."""
    examples = [(line, text) for line, text in EXAMPLES if line.split()[0] == command or not command]
    return "\n".join(["examples:", *(f"  at-repro {line}\n      {text}" for line, text in examples)])


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; allowed: integers from 0 to 999999999, with spaces between them"
        )
    return int(text)


# What several commands take, by name.
_OPTIONS: dict[str, dict[str, Any]] = {
    "preset": {"default": "smoke", "help": "smoke, reduced or paper (default: %(default)s)"},
    "seeds": {"nargs": "+", "type": _seed, "metavar": "SEED", "help": "such as 0 1 (default: those of the preset)"},
    "columns": {"nargs": "+", "metavar": "COLUMN", "help": "of the table, 'group 1' in quotes (default: all)"},
    "device": {"default": "auto", "help": "auto, cpu or cuda (default: %(default)s)"},
    "compile": {"default": "auto", "help": "auto (where it pays), on or off (default: %(default)s)"},
    "data-root": {
        "metavar": "DIR",
        "help": "default: $AT_REPRO_DATA, else at_repro/data in $XDG_CACHE_HOME or ~/.cache",
    },
    "results": {"metavar": "DIR", "help": "the record store (default: book/results; of smoke build/smoke)"},
}
# Of commands that know no preset.
_COMMITTED_RECORDS: dict[str, Any] = {"metavar": "DIR", "help": "the record store (default: the committed records)"}


def _add_options(command: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        command.add_argument(f"--{name}", **_OPTIONS[name])


# Each command imports what it needs, so that --help and a wrong option answer at once.


def experiments(options: argparse.Namespace) -> None:
    from at_repro.report import terminal_output

    print(terminal_output.experiments())


def run(options: argparse.Namespace) -> None:
    from at_repro import data
    from at_repro.analysis import attention_measurement, attention_table
    from at_repro.experiments import cluster
    from at_repro.records import open_store
    from at_repro.training import engine, processes, train

    runs = _runs(options)
    data.data_root(options.data_root)
    if options.cluster is None:  # before a folder is made; workers may have a compiler that this machine lacks
        engine.compiles(options.compile, 0, engine.device(options.device))
    store = open_store(options.preset, options.results, writable=True)
    how = {"device": options.device, "data_root": options.data_root, "compile": options.compile}
    if options.cluster is None:
        train(runs, store, **how)
    else:
        with cluster.connect(options.cluster) as client:
            cluster.train_on(client, runs, store, **how)
    if not processes.is_first():
        return
    device = "auto" if options.cluster and options.device == "cuda" else options.device  # workers' GPUs are not ours
    count = sum(
        attention_measurement.update_experiment(name, options.preset, store, options.seeds, device, options.data_root)
        for name in options.experiments
    )
    if count:
        print(f"the attention of {count} run(s) was measured: {store.folder / attention_table.FILE}")
    scope = f"{'these' if options.columns or options.seeds else 'all'} runs of {', '.join(options.experiments)}"
    print(f"{scope} at preset {options.preset} have a record in {store.folder}")


def status(options: argparse.Namespace) -> int:
    from at_repro.records import Store, default_folder
    from at_repro.report import terminal_output

    # A folder that is not there yet has nothing recorded, which is what somebody asks who is about to train.
    text, damages = terminal_output.status(_runs(options), Store(options.results or default_folder(options.preset)))
    print(text)
    return _print_damages(damages)


def _print_damages(damages: Sequence[UserError]) -> int:
    """A line for each damaged record, of which a command did without, and the exit code that says so."""
    for damage in damages:
        _say(f"at-repro: {printable(str(damage))}")
    return 1 if damages else 0


def notebook(options: argparse.Namespace) -> None:
    from at_repro.report import notebooks

    values = {name: value for name, (value,) in _by_name(options.parameters, "its value").items()}
    output = notebooks.execute(options.name, values, options.output)
    print(f"executed {options.name}: {output}")


def sweep(options: argparse.Namespace) -> None:
    from at_repro.report import sweep

    parameters = _by_name(options.parameters, "all its values")
    for name, values in parameters.items():
        if not values:
            raise ParameterError("-p", name, "a parameter and one or more values, such as: -p beta 10 100 1000")
    print(f"the comparison is here: {sweep.sweep(options.name, parameters)}")


def _by_name(parameters: Sequence[Sequence[str]], what: str) -> dict[str, list[str]]:
    by_name = {name: values for name, *values in parameters}
    if len(by_name) < len(parameters):
        raise ParameterError("-p", [name for name, *_ in parameters], f"each parameter once, with {what}")
    return by_name


def maps(options: argparse.Namespace) -> None:
    from at_repro.analysis import any_model
    from at_repro.data import folders
    from at_repro.report import maps

    model, pictures = options.model, options.pictures
    path = os.path.expanduser(model)
    # `at-repro maps photo.jpg`, also misspelt; a folder may be called as the model of which it holds the maps.
    is_picture = os.path.isfile(path) or path.lower().endswith(folders.PICTURES)
    if is_picture or (os.path.exists(path) and not any_model.is_name(model)):
        model, pictures = "efficientnet-lite0", [model, *pictures]
    names = ("layers", "mapping", "kind", "weights", "layout", "grid", "size", "device", "csv")
    count = maps.draw(model, pictures, options.output, **{name: getattr(options, name) for name in names})
    print(f"drawn: {options.output}" + (f"; {count} picture(s) measured: {options.csv}" if options.csv else ""))


def refresh(options: argparse.Namespace) -> None:
    from at_repro import data
    from at_repro.report import book, front_page
    from at_repro.training import provenance

    if provenance.commit().endswith("+changes"):
        raise UserError("a page names the commit that executed it, and none holds at_repro as it is: commit it first")
    data.load("cifar10", "test", download=False)  # without it, figures of images would be overwritten by empty ones
    for path in [*book.refresh(), *front_page.update()]:
        print(f"refreshed {path}")


def book(options: argparse.Namespace) -> None:
    from at_repro.records import open_store
    from at_repro.report import book, pdf

    if options.pdf:
        pdf.chromium()  # before a book is built that cannot be printed
    page = book.build(options.preset, options.device, options.data_root, options.results)
    print(f"the book is built; open {page}")
    if options.pdf:
        store = open_store(options.preset or book.PRESET, options.results)
        print(f"the report is printed: {pdf.write(page.parents[2], store)}")


def verify(options: argparse.Namespace) -> int:
    from at_repro.records import Store, default_folder
    from at_repro.report import terminal_output

    store = Store(options.results or default_folder("reduced"))  # a wrong device or data root is told first
    return terminal_output.verify(store, options.runs, options.device, options.data_root)


def claims(options: argparse.Namespace) -> int:
    from at_repro import claims
    from at_repro.records import open_store
    from at_repro.report import terminal_output

    output = files.output(options.output) if options.output else None
    store = open_store("reduced", options.results)
    if not store.folders():
        raise ParameterError("results", str(store.folder), "a folder that holds records")
    damages = store.set_aside()
    ledger = claims.conclude(claims.compare(store))
    if output:
        files.write(output, ledger.to_csv())
    print(terminal_output.claims(ledger))
    return _print_damages(damages)


def bench(options: argparse.Namespace) -> None:
    from at_repro import bench, data
    from at_repro.bench import benchmark

    data.data_root(options.data_root)
    output = files.output(options.output) if options.output else None
    result = benchmark.measure(options.device, options.data_root, options.compile)
    print(bench.readable(result).to_string(index=False))
    if output:
        files.write(output, json.dumps(result, indent=1) + "\n")
        print(f"written: {output}")


def show_data(options: argparse.Namespace) -> int:
    from at_repro import data
    from at_repro.report import terminal_output

    data.data_root(options.data_root)
    text, whole = terminal_output.data_sets(options.data_root, options.names)
    print(text)
    return 0 if whole or not options.names else 1


def _runs(options: argparse.Namespace) -> list:
    from at_repro import experiments

    names = options.experiments or list(experiments.EXPERIMENTS)
    tables = [table for name in names for table in experiments.get(name).runs(options.preset, options.seeds)]
    columns = dict.fromkeys(name for table in tables for name in table)
    for name in options.columns or ():
        if name not in columns:  # names hold commas and spaces
            raise ParameterError("columns", name, map(repr, columns))
    selection = options.columns or columns
    return list(dict.fromkeys(run for table in tables for name, run in table.items() if name in selection))
