"""What must not move: the identity of recorded runs, whatever is renamed or added around them."""

from pathlib import Path

from at_repro import experiments
from at_repro.records import open_store

IDS = (Path(__file__).parent / "run_ids.txt").read_text().split()


def test_committed_records_have_the_ids_that_they_were_committed_with():
    """The ids are listed by hand at the time of the commit: a changed default or field would give a run another one."""
    store = open_store("reduced")
    assert set(IDS) == {record.run.run_id for record in store.all()}, "a record that nothing protects yet"


def test_todays_experiments_name_the_recorded_runs():
    """Else hours of training would be called not run."""
    named = {
        run.run_id
        for experiment in experiments.EXPERIMENTS.values()
        for preset in ("reduced", "paper")
        for columns in experiment.runs(preset, open_store(preset).seeds())
        for run in columns.values()
    }
    assert [run_id for run_id in IDS if run_id not in named] == []
