"""README and landing page show what the records say, and nothing that somebody typed."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from prose import ROOT, prose

from at_repro import claims
from at_repro.analysis import across_studies, attention_table, error_tables, significance, training_lengths
from at_repro.analysis.study import open_study
from at_repro.claims import CONTRADICTED, SUPPORTED, UNDECIDED, paper_claims
from at_repro.claims.facts import Facts
from at_repro.errors import DataError, UserError
from at_repro.experiments import paper_numbers
from at_repro.networks import imagenet
from at_repro.report import front_page, notebooks, phrases, tables


def test_the_committed_pages_are_up_to_date(compared):
    ledger = claims.conclude(compared)
    results = f"<!-- results -->\n{front_page.results(ledger, compared)}<!-- end -->"
    assert results in (ROOT / "README.md").read_text(), "run: at-repro refresh"
    intro = (ROOT / "book" / "intro.md").read_text()
    assert f"<!-- counts -->\n{front_page.counts(ledger)}<!-- end -->" in intro
    assert f"<!-- gallery -->\n{front_page.gallery()}<!-- end -->" in intro
    for picture, name in front_page.FIGURES.items():
        notebook = notebooks.read(name)
        assert (ROOT / front_page.ASSETS / picture).read_bytes() == front_page._picture(notebook)
        cell = next(cell for cell in notebook.cells if "image/png" in json.dumps(cell.get("outputs", [])))
        alt = cell.metadata["mystnb"]["image"]["alt"]
        assert re.search(rf"_assets/{picture}\n:name: .*\n:alt: {re.escape(alt)}\n", intro), "as on its own page"


def test_what_the_landing_page_says_follows_from_the_records(compared, no_images):
    intro = (ROOT / "book" / "intro.md").read_text()
    study = open_study("wrn-16-2-to-16-1", "paper", train_missing=False)
    table = error_tables.by_method(study)
    ours, seeds = table["ours"], table["seeds"].drop("teacher")
    pages = [intro, (ROOT / "README.md").read_text(), prose("notebooks/table_1.ipynb")]
    assert seeds.to_dict() == {"student": 5, "AT": 5, "F-ActT": 5, "KD": 5, "AT+KD": 1}
    told = "he teacher, and AT+KD, have one seed, the others five."
    assert table["seeds"]["teacher"] == 1 and all(told in page for page in (pages[0], pages[2]))
    published = {
        column: paper_numbers.number("Table 1", "wrn-16-1 from wrn-16-2", column).value for column in ours.index
    }
    assert max(abs(ours[column] - published[column]) for column in ours.index) < 0.5
    assert "# At full length all errors of one row of Table 1 lie within half a point of the paper's\n" in pages[2]
    singles = ["KD", "AT", "F-ActT", "student"]
    assert min(singles, key=ours.get) == min(singles, key=published.get) == "KD"
    apart = published["F-ActT"] - published["AT"]
    assert (ours["AT+KD"] < ours["KD"]) != (published["AT+KD"] < published["KD"]), (
        "else the order of all is the paper's"
    )
    whole_order = "errs most, then AT and F-ActT, nearly alike, then KD and AT+KD, and the teacher least."
    order = ours.sort_values(ascending=False).index.tolist()
    assert {*order[1:3]} == {"AT", "F-ActT"} and order[:1] + order[3:] == ["student", "KD", "AT+KD", "teacher"]
    assert whole_order in intro and whole_order in (ROOT / "notebooks" / "table_1.ipynb").read_text()
    of = {column: f"{ours[column]:.2f} %" for column in singles}
    papers = {column: f"{error:.2f}" for column, error in published.items()}
    at = study.columns["AT"].terms[0]
    assert (at.beta, at.form) == (1000, "code")
    told = (
        f"With AT the student has a test error of {of['AT']} on CIFAR-10 instead of the {of['student']} of the *plain"
    )
    told += " student*, which learns from labels alone (medians of five seeds;"
    assert f"{told} paper: {papers['AT']} and {papers['student']}); with KD it is {of['KD']}." in intro
    told = f"has a test error of {of['student']} on CIFAR-10 (median over seeds; paper {published['student']:.2f})"
    assert f"{told} if it learns from labels alone." in pages[2]
    told = f"it has {of['AT']} with attention transfer (AT; paper {published['AT']:.2f}), {of['F-ActT']} with"
    told += (
        f" full-activation transfer (F-ActT; {published['F-ActT']:.2f}), {of['KD']} with knowledge distillation (KD;"
    )
    told += f" {published['KD']:.2f}) and {ours['AT+KD']:.2f} % with AT and KD at once (AT+KD;"
    assert f"{told} {published['AT+KD']:.2f})." in pages[2]
    over_seeds = error_tables.readable(table)["95 % interval"].str.contains("seeds")
    table_1 = (ROOT / "notebooks" / "table_1.ipynb").read_text()
    errors = study.test_errors().query("column == 'AT'")["test_error"]
    apart_by = f"{errors.max() - sorted(errors)[-2]:.2f} points"
    widths = table["high"] - table["low"]
    assert round(widths["AT"] / widths["student"]) == 2 and seeds["AT"] == seeds["student"] == 5
    width = f"twice as wide as the plain student's, also of five seeds, since one seed makes {apart_by} more errors"
    told = "The intervals of the teacher and of AT+KD, one seed each, are over test images alone"
    assert set(over_seeds.index[~over_seeds]) == {"teacher", "AT+KD"}
    assert f"AT's is {width} than the next." in table_1 and all(told in text for text in (intro, table_1))
    assert "all six errors of one row of its Table 1 lie within half a point of the paper's.**" in intro
    hours = sum({study.first(column).values["seconds"] for column in study.records}) / 3600
    assert f"{hours:.0f} hours on two CPU cores" in intro and f"{hours:.0f} hours" in (ROOT / "README.md").read_text()

    shorter = open_study("training-length", "reduced", train_missing=False)
    gains = -training_lengths.last_errors(shorter, study).pivot(index="method", columns="epochs", values="difference")
    methods = gains.drop(index=["student", "AT, decaying"])
    assert methods[10].idxmax() == "F-ActT" and methods[10].idxmin() == "KD"
    lead = gains.loc["F-ActT"] - gains.loc["AT"]
    told = f"F-ActT makes {lead[10]:.2f} points fewer errors than AT at 10 epochs and {-lead[80]:.2f} more at 80"
    of_each = [f"{gains.loc[name, 200]:.2f}" for name in ("KD", "F-ActT", "AT")]
    at_200 = "KD gains {}, F-ActT {} and AT {} on average over five seeds:".format(*of_each)
    told += ", one seed each, both significantly. At 200 KD gains most of the single methods,"
    assert f"{told} significantly more than AT and than F-ActT, which do not differ significantly." in intro
    assert gains.drop(index=["AT, decaying", "AT+KD"])[200].idxmax() == "KD"
    assert at_200 in prose("notebooks/training_length.ipynb")
    beside = tables.by_length(shorter, study).drop(index="student").stack()
    assert all(text.startswith("-") or text == "no result" for text in beside), "fewer errors at every length"
    assert beside.index[beside.str.contains("to.[+]")].tolist() == [("F-ActT", 80)]
    told = "Every method makes fewer errors than the plain student at every length, F-ActT at 80 epochs not"
    assert f"{told} significantly." in prose("notebooks/training_length.ipynb")
    of_length = Facts(shorter.store)

    def interval(first, second, length):
        runs = [shorter.first(f"{name}, {length} epochs").run for name in (first, second)]
        return of_length.estimate([((runs[0],), (runs[1],))]).interval

    assert {len(shorter.records[f"{name}, {epochs} epochs"]) for name in ("AT", "F-ActT") for epochs in (10, 80)} == {1}
    assert interval("F-ActT", "AT", 10)[1] < 0 < interval("F-ActT", "AT", 80)[0]
    assert interval("KD", "AT", 10)[0] < 0 < interval("KD", "AT", 10)[1]
    told = "F-ActT's lead over AT at 10 epochs and AT's over F-ActT at 80 are significant, KD's last place at 10 is not"
    assert told in prose("notebooks/training_length.ipynb")

    table = attention_table.load(study.store)
    top = table[(table["statistic"] == "distance") & (table["level"] == "top")].set_index(["run_id", "teacher"])[
        "value"
    ]
    pairs = [(shorter, f", {length} epochs") for length in (10, 20, 40, 80)] + [(study, "")]
    for of_length, ending in pairs:
        kd, plain = (
            top[of_length.first(name + ending).run.run_id, of_length.columns["teacher"].run_id]
            for name in ("KD", "student")
        )
        assert kd > plain, "KD's map is the farther one"
    at_40 = open_study("wrn-16-2-to-16-1", "reduced", train_missing=False)
    of_both = [error_tables.paired_map_distances(of, "KD").loc["top"] for of in (at_40, study)]
    assert [top["seeds"] for top in of_both] == [top["farther"] for top in of_both] == [5, 5], "with every seed"
    told = "its top map is farther from the teacher's, at 40 and at 200 epochs significantly."
    assert told in intro and min(top["low"] for top in of_both) > 0
    lower = [error_tables.paired_map_distances(of, "KD").iloc[:-1] for of in (at_40, study)]
    beyond = [levels.index[(levels["low"] > 0) | (levels["high"] < 0)].tolist() for levels in lower]
    assert beyond == [["middle"], []]
    for of in (at_40, study):
        errors = of.test_errors().pivot(index="seed", columns="column", values="test_error")
        assert ((errors["KD"] - errors["student"]).dropna() < 0).all(), "fewer errors, every seed"

    students = across_studies.distance_and_error(open_study("wrn-16-2-to-16-1", "reduced", [0], train_missing=False))
    relation = across_studies.rank_correlations(students).iloc[-1]
    assert relation["p"] > 0.05, "or it is not open"
    told = f"Over {relation['count']:.0f} methods (this pair, seed 0, 40 epochs) it is open whether"
    assert f"{told} those with a nearer top map have lower errors (p = {relation['p']:.2f})." in intro

    at_full_length = compared[compared["setting"] == "the paper's"].drop_duplicates(["claim"]).set_index("claim")
    at = at_full_length.loc["at"]
    gain = f"{-at['difference']:.2f}"
    least, most = (f"{-value:.2f}" for value in (at["high"], at["low"]))
    assert at["verdict"] == SUPPORTED and at["scope"] == "5 seeds"
    title = "# On CIFAR-10 attention transfer helps, in short trainings and at full length, and so does distillation\n"
    assert title in intro
    abstract = (ROOT / "book" / "metadata.yaml").read_text()
    assert "help significantly on CIFAR-10, over five seeds, as they do in shorter trainings;" in abstract
    by_seed = study.test_errors().pivot(index="seed", columns="column", values="test_error").eval("AT - student")
    highs = [significance.interval([*by_seed.loc[:last]])[1] for last in (2, 3, 4)]
    assert highs[0] < 0 < highs[1] < 0.01 and highs[2] < 0
    told = "was significant with three seeds, narrowly missed significance with four, and is significant with five"
    assert f"AT's gain there {told}, of which the last compares two precisions of arithmetic." in intro
    assert f"AT's gain {told}." in pages[2]
    told = "the gains of that seed compare two precisions, and without it AT's gain is not significant;"
    assert told in pages[2]
    own = f"seed by seed {gain} points on average (95 % interval {least} to {most})"
    assert f"AT's gain, {own}, is significant." in intro
    told = f"Over the plain student of the same seeds AT gains {gain} points on average (95 % interval {least} to"
    assert f"{told} {most}), which is significant; with four seeds it narrowly was not." in pages[1]
    facts = Facts(study.store)
    for name in ("KD", "AT+KD", "F-ActT"):
        assert phrases.judge(facts, study, name) == SUPPORTED, name
    assert at_full_length.loc[["at-over-f-actt", "kd-width"], "verdict"].tolist() == [UNDECIDED, SUPPORTED]
    lead = at_full_length.loc["at-over-f-actt"]
    assert -lead["low"] < apart, "or the paper's lead is found"
    own = f"(95 % interval: from {lead['high']:.2f} behind to {-lead['low']:.2f} ahead)"
    told = f"Seed by seed AT ends {lead['difference']:.2f} points behind F-ActT on average {own}"
    assert min(lead["high"], lead["difference"], -lead["low"]) > 0 and ours["AT"] < ours["F-ActT"]
    assert f"{told}; in the paper it ends {apart:.2f} ahead." in intro
    assert f"{told}, though its median is lower; in the paper it ends {apart:.2f} ahead." in pages[2]
    away = {name: abs(ours[name] - published[name]) for name in ours.index}
    told = f"All six errors lie within {max(away.values()):.2f} points of the paper's; that of F-ActT, whose weight the"
    assert f"{told} paper does not give, is the farthest." in pages[2] and max(away, key=away.get) == "F-ActT"
    told = "each judged by itself, are significantly better than no transfer"
    assert f"AT, KD, F-ActT, and AT and KD together (AT+KD), {told}." in intro
    told += f": seed by seed AT gains {gain} points (95 % interval {least} to {most})."
    assert f"AT, KD, F-ActT and AT+KD, {told}" in pages[2]
    told = "KD's leads over AT and F-ActT are significant in the last epoch, by which we judge. Averaged over the last"
    late = f"{-at['late']:.2f} points ({-at['late_high']:.2f} to {-at['late_low']:.2f})"
    assert f"{told} 40 epochs that over AT is not, and AT's gain is: {late}." in pages[2] and at["late_high"] < 0
    assert at_full_length.loc["kd-width", "late_low"] < 0 < at_full_length.loc["kd-width", "late_high"]
    assert phrases.judge(facts, study, "KD", "F-ActT") == SUPPORTED
    phases = [
        [facts.phase_error(replace(study.columns[name], seed=seed)) for seed in range(5)] for name in ("KD", "F-ActT")
    ]
    assert significance.interval([*np.subtract(*phases)])[1] < 0, "that over F-ActT is"

    ledger = claims.conclude(compared)
    (rule,) = paper_claims.BY_NAME["at-in-general"].comparisons
    assert len([one for preset, one in rule.settings if preset == "paper" and one.evidence(preset, facts)]) == 1
    in_general = ledger.loc["at-in-general"]
    told = f"in general* rests on {in_general['scope'].split(' of ')[1]}, five of which are lengths of one pair."
    assert in_general["verdict"] == SUPPORTED and told in prose("notebooks/claims.ipynb")
    told = "At 20 or 40 epochs AT helps on each of Table 1's four pairs, significantly on each;"
    assert f"{told} at 200 one pair is trained." in intro
    of_pairs = compared[(compared["claim"] == "at") & (compared["setting"] == "shortened")]
    assert of_pairs["verdict"].tolist() == [SUPPORTED] * 4
    outside = {"fine-tuning-birds": UNDECIDED, "fine-tuning-scenes": UNDECIDED, "imagenet-resnet18": CONTRADICTED}
    for name, verdict in outside.items():
        study = open_study(name, "reduced", train_missing=False)
        medians = study.test_errors().groupby("column")["test_error"].median()
        assert phrases.judge(facts, study, "AT") == verdict
        better = [
            facts.has_better_teacher(replace(study.columns["AT"], seed=seed)) for seed in study.records["student"]
        ]
        assert not any(better)
    told = "On birds and scenes errors with and without it do not differ significantly; on Imagenette, ten classes of"
    told += (
        f" ImageNet, even the better of two weights makes significantly more, {medians['AT, beta 82']:.2f} % instead of"
    )
    assert f"{told} {medians['student']:.2f}." in intro and medians["AT, beta 82"] < medians["AT"]
    assert phrases.judge(facts, study, "AT, beta 82") == CONTRADICTED
    assert "No teacher there is significantly better than its plain student." in intro
    sums = compared.set_index("comparison").loc["sum-4 within 0.3 of sum-2 (mapping-functions)"]
    told = f"instead of squares the error is {sums['difference']:.2f} points higher (95 % interval {sums['low']:.2f} to"
    assert f"{told} {sums['high']:.2f}; one seed, 40 epochs, the same weight)" in intro and sums["scope"] == "one run"
    assert sums["verdict"] == CONTRADICTED and ledger["verdict"].value_counts()[CONTRADICTED] == 1


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    stream = io.BytesIO()
    Image.new("RGB", (900, 300), "red").save(stream, "PNG")
    picture = {"image/png": base64.b64encode(stream.getvalue()).decode(), "text/plain": "figure"}
    (tmp_path / "notebooks").mkdir()
    for name in ("table_1", "attention_maps"):
        cell = new_code_cell("figure", outputs=[new_output("display_data", picture)])
        cells = [new_markdown_cell(f"# What {name} found\n\nIn words."), cell]
        write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    write(new_notebook(cells=[new_markdown_cell("# Words")]), tmp_path / "notebooks" / "words.ipynb")
    (tmp_path / front_page.ASSETS / front_page.THUMBNAILS).mkdir(parents=True)
    (tmp_path / "README.md").write_text("before\n<!-- results -->\nof yesterday\n<!-- end -->\nafter\n")
    part = "<!-- {} -->\nof yesterday\n<!-- end -->\n"
    (tmp_path / "book" / "intro.md").write_text(part.format("counts") + "between\n" + part.format("gallery"))
    chapters = "".join(f"  - file: notebooks/{name}\n" for name in ("words", "table_1", "attention_maps"))
    (tmp_path / "book" / "_toc.yml").write_text(f"root: intro\nchapters:\n{chapters}")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(notebooks, "CHECKOUT", tmp_path)
    monkeypatch.setattr("at_repro.records.store.default_folder", lambda preset: tmp_path / "results")
    stream = io.BytesIO()
    Image.new("RGB", (400, 100), "blue").save(stream, "JPEG")
    monkeypatch.setattr(front_page, "banner", stream.getvalue)
    monkeypatch.setattr(front_page, "strip", lambda: b"a strip")
    return tmp_path


def test_update_changes_what_was_found_and_the_pictures_alone(checkout, no_benchmark):
    written = front_page.update()
    before, found, after = re.split(r"<!-- .* -->\n", (checkout / "README.md").read_text())
    assert (before, after) == ("before\n", "after\n") and "of yesterday" not in found
    assert "| student | not run |" in found
    count = len(paper_claims.CLAIMS) - 1
    assert f"Of {count} claims: 0 supported, 0 contradicted, 0 undecided, {count} not tested.\n" in found
    intro = (checkout / "book" / "intro.md").read_text()
    assert "of yesterday" not in intro and "between\n" in intro and f"item-card}} {count} not tested" in intro
    assert re.findall(r"item-card} (\D.*)", intro) == ["Words", "What table_1 found", "What attention_maps found"]
    assert intro.count(":img-top:") == 2, "a page without a figure has a card without one"
    assert {path.relative_to(checkout / front_page.ASSETS).as_posix() for path in written[2:]} == {
        "flagship.png", "banner.jpg", "strip.jpg", "thumbnails/table_1.png", "thumbnails/attention_maps.png",
    }  # fmt: skip
    thumbnails = {name: Image.open(checkout / front_page.ASSETS / "thumbnails" / f"{name}.png").convert("RGB")
                  for name in ("table_1", "attention_maps")}  # fmt: skip
    assert thumbnails["table_1"].size == front_page._THUMBNAIL and thumbnails["table_1"].getpixel((99, 50))[0] > 200
    assert thumbnails["attention_maps"].getpixel((99, 50))[2] > 200, (
        "of the cat, not of birds that may not be passed on"
    )
    (checkout / front_page.ASSETS / "thumbnails" / "words.png").write_bytes(b"of a tool")
    assert "thumbnails/words.png" in front_page.gallery(), "who draws in the browser has a thumbnail of its own"
    (checkout / front_page.ASSETS / "thumbnails" / "words.png").unlink()
    texts = {path: path.read_bytes() for path in written}
    assert front_page.update() == written and {path: path.read_bytes() for path in written} == texts


@pytest.mark.parametrize(("page", "mark"), [("README.md", "results"), ("book/intro.md", "gallery")])
def test_a_page_without_a_place_is_left_alone(page, mark, checkout, no_benchmark):
    path = checkout / page
    path.write_text(text := path.read_text().replace(f"<!-- {mark} -->", "<!-- fund -->"))
    before = (checkout / "README.md").read_text()
    with pytest.raises(UserError, match=f"no place for what was found: <!-- {mark} --> and <!-- end -->"):
        front_page.update()
    assert path.read_text() == text and (checkout / "README.md").read_text() == before


def test_the_banner_is_what_the_network_gives():
    """A photograph, and three maps: as wide as four of it."""
    try:
        imagenet.pretrained(front_page._NETWORK)
    except DataError as error:
        pytest.skip(str(error))
    compare(front_page.banner(), front_page.BANNER)


def test_the_strip_is_what_the_records_give():
    """An image of CIFAR-10 and the top maps of three recorded networks."""
    try:
        drawn = front_page.strip()
    except DataError as error:
        pytest.skip(str(error))
    compare(drawn, front_page.STRIP)


def compare(drawn: bytes, name: str) -> None:
    drawn, committed = (
        np.asarray(Image.open(io.BytesIO(content)), dtype=float)
        for content in (drawn, (ROOT / front_page.ASSETS / name).read_bytes())
    )
    assert drawn.shape == committed.shape == (256, 1024, 3) and np.abs(drawn - committed).mean() < 2
