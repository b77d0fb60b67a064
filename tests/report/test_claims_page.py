"""The page on the claims: the answer counts verdicts, the table folds out what they rest on."""

import math
import re

import pandas as pd
import pytest

from at_repro import claims, experiments
from at_repro.claims import CONTRADICTED, NOT_TESTED, SUPPORTED, UNDECIDED, paper_claims
from at_repro.claims.facts import Spread
from at_repro.claims.ledger import COMPARISON_COLUMNS
from at_repro.report import claims_page


@pytest.fixture
def compared():
    """Of the claim on AT: one comparison at 200 epochs and two at fewer."""
    rows = [
        ("the paper's", "AT below student (a)", -0.57, -1.17, 0.03, 0.03, 0.97, "one run", UNDECIDED),
        ("shortened", "AT below student (a)", -1.20, -1.83, -0.57, 0.001, 0.999, "3 seeds", SUPPORTED),
        ("shortened", "AT below student (b)", -0.79, -1.44, -0.14, 0.01, 0.99, "one run", SUPPORTED),
    ]
    names = ["setting", "comparison", "difference", "low", "high", "for", "against", "scope", "verdict"]
    told = {
        "claim": "at",
        "unit": " points",
        "on": "wrn-16-1 <from> wrn-16-2",
        "lacks": "",
        "stand_in": "",
        "new_seeds": "",
    }
    table = pd.DataFrame(rows, columns=names).assign(**told)
    return table.reindex(columns=COMPARISON_COLUMNS).assign(runs=[("run-1",), ("run-2",), ("run-3",)])


def test_the_answer_counts_verdicts_and_names_the_decided_claims(compared):
    ledger = claims.conclude(compared[:0])
    assert claims_page.answer(ledger, compared, Spread(1.2, 4)) == "**No claim is tested by these records.**"
    ledger.loc["at", ["claim", "verdict"]] = ["AT helps", SUPPORTED]
    ledger.loc["l1", ["claim", "verdict"]] = ["l1 does", CONTRADICTED]
    ledger.loc["cost", ["verdict", "scope", "runs"]] = [UNDECIDED, "3 seeds", "bench.json another.json"]
    ledger.loc["at", ["scope", "runs"]] = ["two runs", "a-run-after-the-rule"]
    ledger.loc["l1", "scope"] = "3 networks"
    ledger.loc["l1", "runs"] = "cifar10-wrn-16-1-plain-s0-1be81ce5e8"
    against = compared.iloc[[0]].assign(claim="l1", comparison="l1 within 0.3 of sum-2 (mapping-functions)")
    unfair = against.assign(comparison="of a teacher that is no better", against=0.0, verdict=NOT_TESTED)
    ledger.loc["l1", "setting"] = "the paper's"
    told = claims_page.answer(
        ledger, pd.concat([compared, unfair, against.assign(verdict=CONTRADICTED)]), Spread(1.2, 4)
    )
    assert told.startswith("**Of 29 claims: 1 supported, 1 contradicted, 1 undecided, 26 not tested.**")
    assert "*Supported*: “AT helps”." in told
    cause = "*l1 within 0.3 of sum-2 (WRN-16-1 from WRN-16-2)* fails, -0.57 points (-1.17 to +0.03)"
    assert f"*Contradicted*: “l1 does”: {cause}, one run in the paper's setting." in told
    assert (
        "seeds judge 2 of the tested claims, 1 of them with three or more in every comparison that was run. "
        "With one or two" in told
    )
    assert "McNemar's over test images, 1.70 times as wide" in told, "1.2, and Student's t of 2.776 instead of 1.960"
    alike = claims_page.answer(ledger.drop("l1"), compared, Spread(1.0, 6))
    assert "1.25 times as wide for the variation between seeds" in alike, "2.447 instead of 1.960"
    assert (
        "Of the 3 tested claims, the rule was stated before all of the claim's runs for 1, after some of them for 1, "
        "after all for 1." in told
    )


def test_what_new_seeds_say_is_counted_once_and_told(compared):
    alone = {
        "new_seeds": "seeds 1 to 3 alone, run after the rule was stated: -0.9 points",
        "new_verdict": UNDECIDED,
    }
    both = pd.concat([compared[1:2].assign(**alone), compared[2:].assign(**alone | {"new_verdict": SUPPORTED})])
    ledger = claims.conclude(both)
    told = "In 2 of the comparisons three or more seeds, but not all, were run after the rule: by these alone 1 would"
    twice = pd.concat([both, both.assign(claim="convergence", comparison="the same of another claim")])
    assert f"{told} have the same verdict" in claims_page.answer(ledger, twice, Spread(1.2, 4))
    assert "run after the rule" not in claims_page.answer(ledger, compared, Spread(1.2, 4))
    html = claims_page.table(ledger, both)._repr_html_()
    assert f'{alone["new_seeds"]}; <span class="verdict undecided">undecided</span>' in html
    (found,) = claims.elsewhere(both[:1].assign(setting="stand-in")).itertuples()
    assert found.effect.endswith(f"; {alone['new_seeds']}; undecided")


@pytest.mark.parametrize(("scope", "told"), [("5 seeds; one run", "none"), ("5 seeds; 3 seeds", "1")])
def test_a_claim_rests_on_seeds_where_all_its_comparisons_do(compared, scope, told):
    """Columns are trained one after another: some have five seeds while others have one."""
    ledger = claims.conclude(compared[:0])
    ledger.loc["convergence", ["verdict", "scope"]] = [UNDECIDED, scope]
    told = f"seeds judge 1 of the tested claims, {told} of them with three or more in every comparison that was run"
    assert told in claims_page.answer(ledger, compared, Spread(1.2, 4))


def test_settings_are_said_to_be_lengths_of_few_pairs(compared):
    pairs = "wrn-16-1 from wrn-16-2, wrn-16-1 from wrn-40-1 on cifar10, 10, 20, 40 epochs"
    row = compared.iloc[1:2].assign(claim="at-in-general", scope="5 of 5 settings", on=pairs, low=math.nan)
    ledger = claims.conclude(row)
    ledger.loc["at-in-general", "verdict"] = SUPPORTED
    assert "over pairs and training lengths” (5 of 5 settings of 2 pairs)" in claims_page.answer(
        ledger, row, Spread(1.2, 4)
    )
    table = claims_page.table(ledger, row)
    assert "-1.20 points, 5 of 5 settings of 2 pairs; supported" in repr(table)


def test_names_are_whole_and_those_of_the_other_pages(compared):
    long = "the mean of sum-1, sum-2, sum-4, max-1 and of others within 0.3 of student (wrn-16-2-to-16-1)"
    average = "on average, AT below KD (wrn-16-2-to-16-1), AT below KD (nin-wide-to-nin-thin)"
    rows = pd.concat([compared.iloc[:1].assign(comparison=name) for name in (long, average)]).assign(
        within=[0.3, math.nan]
    )
    axis = claims_page.forest(rows, "").axes[0]
    bars = [bar.get_segments() for bar in axis.collections if bar.get_linewidth()[0] == 6]
    assert [segment[:, 0].tolist() for of_row in bars for segment in of_row if segment.size] == [[-0.3, 0.3]], "margins"
    names = [label.get_text().replace("\n", " ") for label in axis.get_yticklabels()]
    assert names == [long.replace("wrn-16-2-to-16-1", "WRN-16-1 from WRN-16-2"), "on average over pairs, AT below KD"]


def test_no_experiment_is_called_by_its_file(compared):
    """Its id says nothing to a reader: every rule and every comparison names networks or images."""
    ids = [f"({name})" for name in experiments.EXPERIMENTS]
    html = claims_page.table(claims.conclude(compared), compared)._repr_html_()
    assert not [name for name in ids if name in html]
    name = "AT below student (fine-tuning-birds)"
    rows = claims_page.elsewhere(compared.iloc[:1].assign(setting="stand-in", comparison=name, stand_in="wrn-16-2"))
    assert rows.index.get_level_values("comparison").tolist() == ["AT below student (birds)"]
    assert rows["here"].tolist() == ["WRN-16-2"]


def test_a_row_shows_the_effect_that_supports_its_claim_least(compared):
    table = claims_page.table(claims.conclude(compared), compared)
    row = table.table.loc[[claim.name for claim in paper_claims.CLAIMS].index("at")]
    assert row["200 epochs"] == "-0.57 points (-1.17 to +0.03), one run; 1 of 4 comparisons run; undecided"
    assert (
        row["fewer epochs"]
        == "-0.79 points (-1.44 to -0.14), one run, the weakest of 2; 2 of 4 comparisons run; undecided"
    )
    html = table._repr_html_()
    body = next(body for body in html.split("<tbody>") if "run-1" in body)
    assert body.count("AT below student") >= 3, "all of it folds out"
    on = "WRN-16-1 &lt;from&gt; WRN-16-2"
    note = f"labels alone<small>the paper&#x27;s setting; one run; {on}</small></td>"
    assert note in body, "what the verdict rests on stands in the cell of the claim"
    assert '<a href="table_1.html">table 1</a>' in body


def test_where_nothing_was_compared_no_verdict_is_shown(compared):
    """At preset smoke *not tested* would be one as well."""
    assert NOT_TESTED not in claims_page.table(claims.conclude(compared[:0]), compared[:0])._repr_html_()


def test_every_claim_has_its_page():
    assert set(claims_page.PAGES) == {claim.name for claim in paper_claims.CLAIMS}


def test_a_plot_shows_each_difference_once_and_none_that_hides_the_others(compared):
    again = compared.assign(claim="convergence")
    large = compared.iloc[:1].assign(difference=-80.0)
    assert len(claims_page.effects(pd.concat([compared, again, large]))) == 3
    margin = compared.iloc[:1].assign(comparison="AT at least 0.25 below student (a)", verdict=CONTRADICTED)
    assert len(claims_page.effects(pd.concat([compared, margin]))) == 4, "the same difference, judged otherwise"
    unfair = compared.iloc[:1].assign(difference=-2.0, verdict=NOT_TESTED)
    assert len(claims_page.effects(pd.concat([compared, unfair]))) == 3, "a teacher with nothing to hand on"


def test_a_table_can_be_read_without_scripts():
    table = claims_page.SortableTable(
        pd.DataFrame({"what": ["a & b"], "page": ["here"]}),
        ["of > 1"],
        [{"Why": ["so", ""], "Empty": [""]}],
        ["x.html"],
    )
    html = table._repr_html_()
    assert re.search(r"<details><summary>why</summary><p>Why</p><ul><li>so</li></ul></details>", html)
    assert "a &amp; b" in html and "of &gt; 1" in html and "a & b" in repr(table)
