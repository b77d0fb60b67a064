"""What processes do that are to measure together; they start in a moment, as none of it needs torch."""

import os


def meeting(ready) -> float:
    return ready()  # which of all it was: it waits for as many


def fault_of_one(ready, first) -> float:
    with open(first, "x"):  # which only one of them can make
        return ready()


def death(_) -> float:
    os._exit(1)
