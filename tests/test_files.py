"""Files that a user names for results are tried before any work, and nothing else is left of the trial."""

import pytest

from at_repro import files
from at_repro.errors import ParameterError


def test_an_output_is_tried_and_not_begun(tmp_path):
    named = tmp_path / "new" / "result.csv"
    assert files.output(named) == named and named.parent.is_dir() and not named.exists()
    named.write_text("of an earlier run")
    files.output(named)
    assert named.read_text() == "of an earlier run"


def test_a_link_to_a_file_that_is_not_there_yet_stays(tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "target.csv")
    assert files.output(link) == tmp_path / "target.csv"
    assert link.is_symlink() and not link.exists()


@pytest.mark.parametrize("name", ["~nobody_of_this_name/x.csv", "a\0b", "/dev/null/x.csv", "."])
def test_what_cannot_be_written_is_one_line(name):
    with pytest.raises(ParameterError, match="allowed: a file that can be written"):
        files.output(name)
