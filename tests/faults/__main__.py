"""`make faults`: everything that can happen to days of training happens here, on tiny runs; nothing may be lost.

python tests/faults                               # the quick form, half a minute
python tests/faults --full --output book/faults.json
"""

import argparse
import functools
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for what other tests use too

import damage
import disturbed
import misuse
import outputs
import pictures
import stops

from at_repro import files
from at_repro.data import shapes
from at_repro.errors import duration
from at_repro.report import trust
from at_repro.training import provenance

# How often each is tried: in the quick form, and in the full one. Processes come first: a fork needs a quiet parent.
PROOFS = {
    disturbed.kills: (2, 100),
    disturbed.together: (2, 8),
    disturbed.full_disk: (1, 20),
    disturbed.small_disk: (0, 10),
    disturbed.read_only: (1, 10),
    disturbed.clock: (1, 5),
    stops.trainings: (1, 12),
    stops.writings: (4, 40),
    outputs.trainings: (1, 12),
    outputs.commands: (15, 300),
    damage.records: (2, 100),
    damage.forgeries: (1, 1),
    damage.junk: (10, 500),
    damage.checkpoints: (6, 500),
    damage.attention: (5, 200),
    damage.pickles: (1, 1),
    stops.readings: (20, 400),
    pictures.shards: (1, 20),
    pictures.depths: (5, 200),
    pictures.links: (10, 300),
    pictures.sets: (2, 50),
    misuse.gone: (1, 1),
    misuse.specs_and_commands: (15, 500),
}


def main() -> int:
    """Runs every proof and prints the table. Exit code 1 where there is a fault."""
    parser = argparse.ArgumentParser(description="Tries what can go wrong, and counts what was lost.")
    parser.add_argument("--full", action="store_true", help="as often as for the book: minutes")
    parser.add_argument("--output", metavar="FILE", help="also write the table as JSON")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and places (default: 0)")
    options = parser.parse_args()
    for number in files.SIGNALS:  # a shell has Ctrl-C ignored in the background, and nohup SIGHUP
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if not options.full:
        os.fsync = lambda descriptor: None  # of a disk that forgets nothing while this runs
    torch.set_num_threads(1)
    shapes.SIZES["test"] = 20
    shapes._chunk = functools.cache(shapes._chunk)
    for split in shapes.SIZES:
        shapes.shapes(split, 1)  # here, and not in every child
    start, rows = time.perf_counter(), []
    for proof, counts in PROOFS.items():
        if counts[options.full]:
            # Each its own: how often one draws depends on its timing.
            random.seed(f"{options.seed}/{proof.__module__}.{proof.__name__}")
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                rows += proof(counts[options.full], Path(folder))
            print(
                f"{proof.__module__}.{proof.__name__}: {duration(time.perf_counter() - began)}",
                file=sys.stderr,
                flush=True,
            )
    found = {
        "environment": provenance.environment(torch.device("cpu")),
        "seconds": time.perf_counter() - start,
        "seed": options.seed,
        "rows": rows,
    }
    print(trust.proofs(found).to_string(index=False))
    if options.output:
        Path(options.output).write_text(json.dumps(found, indent=1) + "\n")
    return int(any(faults for *_, faults in rows))


if __name__ == "__main__":
    sys.exit(main())
