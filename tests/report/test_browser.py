"""The book in a browser: every page is whole, on a screen and on a phone, and the explorer does what it says."""

import html
import itertools
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import pytest

from at_repro.analysis import error_tables
from at_repro.analysis.study import open_study

pytestmark = pytest.mark.slow

BROKEN = "() => [...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src)"
UNSET = "() => [...document.querySelectorAll('.math')].filter(math => !math.querySelector('mjx-container')).length"
DRAWN = """() => {
  const drawn = new URLSearchParams(document.querySelector('.explorer')?.dataset.drawn ?? '');
  const chosen = [...document.querySelectorAll('.explorer-choices select')].map(it => it.value);
  const image = document.querySelector('.explorer-images input:checked')?.value;
  const parts = ['network', 'level', 'mapping'];
  const named = ['left', 'right'].flatMap(side => parts.map(part => drawn.get(side + '-' + part)));
  return drawn.get('image') === image && String(named) === String(chosen)
    && drawn.get('opacity') === document.querySelector('.explorer-common input[type=range]').value
    && drawn.get('smooth') === String(document.querySelector('.explorer-common input[type=checkbox]').checked);
}"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def opened(browser):
    """Opens pages of one width, and gathers what goes wrong on them."""
    contexts = []

    def open_page(width: int, faults: list[str], colours: str = "light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colours))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)  # half a minute, where others test beside it, is not enough for certain
        page.on("request", lambda it: it.url.startswith(("file:", "data:", "blob:")) or faults.append(f"asks {it.url}"))
        page.on("requestfailed", lambda it: faults.append(f"does not find {it.url}"))
        page.on("console", lambda it: it.type == "error" and faults.append(f"says {it.text}"))
        page.on("pageerror", lambda it: faults.append(f"breaks: {it}"))
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_every_page_is_whole(site, opened):
    """No request to another host, no error, every image there, every formula set, nothing wider than the window, no
    link that leads to nothing."""
    faults = []
    page = opened(390, faults)
    front = site / "index.html"  # leads on to the landing page
    paths = [path for path in sorted(site.rglob("*.html")) if path != front and "_static" not in path.parts]
    for path in paths:
        before = len(faults)
        page.goto(path.as_uri())
        page.evaluate("() => document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.wait_for_function(f"() => ({UNSET})() === 0")
        page.wait_for_function(f"() => ({BROKEN})().length === 0")
        for address in page.evaluate("() => [...document.querySelectorAll('a[href]')].map(link => link.href)"):
            if address.startswith("file:") and not Path(unquote(urlparse(address).path)).exists():
                faults.append(f"leads to {address}")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            if (excess := page.evaluate(TOO_WIDE)) > 0:
                faults.append(f"is {excess} pixels wider than a window of {width}")
        faults[before:] = [f"{path.name} {fault}" for fault in faults[before:]]
    assert len(paths) > 15 and faults == []


def shown(page) -> list[str]:
    """The pixels of both panels: image, map and overlay of the left one, then of the right one."""
    # Drawing is asynchronous: the page says which view is drawn, and every control says what it stands for.
    page.wait_for_function(DRAWN)
    return page.evaluate("() => [...document.querySelectorAll('.explorer-pictures canvas')].map(it => it.toDataURL())")


def choose(page, panel: int, what: str, choice: str) -> None:
    label = page.get_by_role("group", name=("left", "right")[panel]).locator("label", has_text=what)
    label.locator("select").select_option(choice)


@pytest.fixture
def explorer(site, opened):
    faults = []
    page = opened(1280, faults)
    page.goto((site / "notebooks" / "look_for_yourself.html").as_uri())
    yield page
    assert faults == []


def test_a_choice_changes_its_panel_alone(explorer):
    choices = [("network", "WRN-16-1 from WRN-16-2, KD"), ("level", "low"), ("mapping", "max-1")]
    after = shown(explorer)
    for panel, (what, choice) in itertools.product((0, 1), choices):
        before = after
        choose(explorer, panel, what, choice)
        after = shown(explorer)
        changed = [place for place in range(6) if before[place] != after[place]]
        assert changed == [3 * panel + 1, 3 * panel + 2], choice
        assert parse_qs(urlparse(explorer.url).fragment)[f"{('left', 'right')[panel]}-{what}"] == [choice]


def test_everything_is_chosen_with_the_keyboard(explorer):
    before = shown(explorer)
    explorer.locator(".explorer-images input").first.focus()
    explorer.keyboard.press("ArrowRight")
    after = shown(explorer)
    assert all(one != other for one, other in zip(before, after, strict=True)) and "image=1" in explorer.url
    explorer.keyboard.press("Tab")
    explorer.keyboard.press("ArrowRight")  # the slider
    explorer.keyboard.press("Tab")
    explorer.keyboard.press("Space")  # the check box
    explorer.keyboard.press("Tab")
    explorer.keyboard.press("ArrowDown")  # the network of the left panel
    shown(explorer)
    second = explorer.locator(".explorer-panel").first.locator("option").nth(1).get_attribute("value")
    address = parse_qs(urlparse(explorer.url).fragment)
    assert [address[name] for name in ("opacity", "smooth", "left-network")] == [["65"], ["true"], [second]]


def test_a_network_that_is_not_there_is_said_to_be_missing(explorer, site):
    """Names change as networks are trained: whoever follows an old link shall not take one network for another."""
    said = explorer.locator(".explorer-said").first
    explorer.goto((site / "notebooks" / "look_for_yourself.html").as_uri() + "#left-network=WRN-1-1&opacity=40")
    shown(explorer)
    assert said.inner_text().startswith('There is no network "WRN-1-1" here. ')
    assert explorer.locator(".explorer-common output").inner_text() == "40 %"
    choose(explorer, 0, "level", "low")
    shown(explorer)
    assert said.inner_text().startswith("32x32 positions. ")
    explorer.goto((site / "notebooks" / "look_for_yourself.html").as_uri() + "#left-level=highest&opacity=")
    shown(explorer)
    assert said.inner_text().startswith('There is no level "highest" here. ')
    assert explorer.locator(".explorer-common output").inner_text() == "60 %"
    explorer.locator(".explorer-common input[type=range]").press("ArrowRight")
    shown(explorer)
    assert said.inner_text().startswith("8x8 positions. "), "the address names what is shown from then on"


def test_what_has_the_focus_is_seen_at_twice_the_size(site, opened):
    """A strip of images stays below the theme's bar: going back with the keyboard, one came to controls under it."""
    faults = []
    page = opened(640, faults)
    page.set_viewport_size({"width": 640, "height": 360})
    page.goto((site / "notebooks" / "look_for_yourself.html").as_uri())
    shown(page)
    page.locator(".explorer-panel select").last.focus()
    seen = """() => {
      const {left, right, top, bottom} = document.activeElement.getBoundingClientRect();
      return document.activeElement === document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    }"""
    for _ in range(8):
        assert page.evaluate(seen), page.evaluate("() => document.activeElement.outerHTML.slice(0, 99)")
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("() => document.activeElement.name") == "explorer-image" and faults == []
    scrolled = page.evaluate("() => scrollY")
    page.keyboard.press("ArrowRight")
    shown(page)
    assert page.evaluate("() => scrollY") == scrolled


def test_the_chosen_image_is_seen_among_forced_colours(explorer):
    explorer.emulate_media(forced_colors="active")
    shown(explorer)
    edge = "it => getComputedStyle(it).borderTopColor"
    thumbnails = explorer.locator(".explorer-images canvas")
    assert thumbnails.nth(0).evaluate(edge) != thumbnails.nth(1).evaluate(edge)
    assert "gradient" in explorer.locator(".explorer-bar").evaluate("it => getComputedStyle(it).backgroundImage")


def test_smoothing_interpolates_the_map_and_opacity_changes_the_overlay_alone(explorer):
    before = shown(explorer)
    explorer.locator(".explorer-common input[type=checkbox]").check()
    smooth = shown(explorer)
    assert [place for place in range(6) if before[place] != smooth[place]] == [1, 2, 4, 5]
    assert "interpolated bicubically" in explorer.locator(".explorer-said").first.inner_text()
    widths = explorer.evaluate("() => [...document.querySelectorAll('.explorer-pictures canvas')].map(it => it.width)")
    assert widths == [32, 256, 256] * 2
    explorer.locator(".explorer-common input[type=range]").fill("0")
    clear = shown(explorer)
    assert clear[2] == clear[5] != smooth[2], "without the map both overlays are the image"


def test_the_address_restores_the_view(explorer, opened):
    choices = [("network", "WRN-16-1"), ("level", "middle"), ("mapping", "sum-4")]
    for panel in (0, 1):
        for label, choice in choices[panel:]:
            choose(explorer, panel, label, choice)
    explorer.locator(".explorer-common input[type=checkbox]").check()
    explorer.locator(".explorer-common input[type=range]").fill("35")
    explorer.locator(".explorer-common input[type=range]").dispatch_event("change")
    explorer.locator(".explorer-images input").first.focus()
    explorer.keyboard.press("ArrowRight")
    view = shown(explorer)
    faults = []
    again = opened(390, faults)
    again.goto(explorer.url)
    assert shown(again) == view and faults == []
    assert again.evaluate("() => scrollY") > 0, "the view is below a phone's first screen"


def test_the_distance_of_the_first_view_is_the_one_that_the_page_prints(explorer):
    """Of maps in 8 bits here, of PyTorch's there."""
    shown(explorer)
    printed = explorer.locator("table:has-text('top share') td").last.text_content()  # it folds out
    assert f"l2 distance of the maps {printed}, " in difference(explorer)
    choose(explorer, 1, "network", explorer.locator(".explorer-panel option").first.get_attribute("value"))
    shown(explorer)
    assert "l2 distance of the maps 0.00, " in difference(explorer), "of a network from itself"
    choose(explorer, 1, "level", "low")
    shown(explorer)
    assert difference(explorer) == "These maps have no difference: they are not of the same size."
    assert explorer.locator(".explorer-difference canvas").is_hidden()


def difference(page) -> str:
    return page.locator(".explorer-difference figcaption").inner_text()


def test_on_a_phone_both_overlays_are_seen_at_once_and_the_images_stay(site, opened):
    faults = []
    page = opened(390, faults)
    page.goto((site / "notebooks" / "look_for_yourself.html").as_uri())
    shown(page)
    strip, overlays = page.locator(".explorer-images"), page.locator(".explorer-pictures figure:last-child canvas")
    overlays.first.evaluate("it => it.scrollIntoView({block: 'end'})")
    left, right, images = (each.bounding_box() for each in (overlays.first, overlays.last, strip))
    assert left["y"] == right["y"] and 0 <= left["x"] < left["x"] + left["width"] <= right["x"]
    assert right["x"] + right["width"] <= 390 and min(left["width"], right["width"]) > 130
    assert images["y"] > 0 and images["y"] + images["height"] <= left["y"] and images["width"] <= 390
    strip.locator("label").nth(1).click()
    shown(page)
    assert "image=1" in page.url and strip.locator("label").last.bounding_box()["x"] > 390 and faults == []


def test_on_a_phone_a_claim_is_read_without_scrolling(site, opened):
    """Its columns would lie beyond the edge, and its verdict would be without the effect that it rests on."""
    faults = []
    page = opened(390, faults)
    page.goto((site / "notebooks" / "claims.html").as_uri())
    right = page.eval_on_selector_all("table.sortable td", "all => all.map(it => it.getBoundingClientRect().right)")
    assert len(right) > 100 and max(right) <= 390 and faults == []


def test_claims_are_sorted_with_what_has_no_number_last_and_fold_out_on_paper(site, opened):
    """In either direction: a screen of blanks stood where one looks for what speaks most against a claim."""
    faults = []
    page = opened(1280, faults)
    page.goto((site / "notebooks" / "claims.html").as_uri())
    heading = page.locator("table.sortable thead th", has_text="200 epochs")
    column = heading.evaluate("it => it.cellIndex")
    for sign in (1, -1):
        heading.click()
        texts = page.locator("table.sortable tbody tr:first-child").evaluate_all(
            "(rows, column) => rows.map(it => it.cells[column].textContent)", column
        )
        numbers = [sign * float(number[0]) for text in texts if (number := re.match(r"[-+]?\d+\.\d+", text))]
        assert numbers == sorted(numbers) and len(numbers) > 5
        assert all(re.match(r"[-+]?\d", text) for text in texts[: len(numbers)]), "a number after a blank"
    fold = page.locator("table.sortable details").first
    assert fold.locator("li").first.is_hidden()
    page.emulate_media(media="print")
    assert fold.locator("li").first.is_visible() and faults == []


def test_the_dark_theme_is_not_printed(site, opened):
    """Letters were pale grey on paper."""
    faults = []
    page = opened(1280, faults, "dark")
    page.goto((site / "notebooks" / "claims.html").as_uri())
    colour = "() => getComputedStyle(document.querySelector('.bd-article p')).color"
    on_screen = page.evaluate(colour)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert sum(map(int, re.findall(r"\d+", page.evaluate(colour)))) < 200
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="dark")
    assert page.evaluate(colour) == on_screen and faults == []


def test_one_page_is_printed_without_a_title_page(site, opened):
    """A sheet held its title and a list of its headings, and nothing else."""
    faults = []
    page = opened(1280, faults)
    page.goto((site / "notebooks" / "table_1.html").as_uri())
    page.emulate_media(media="print")
    title = page.locator("#jb-print-docs-body")
    assert title.evaluate("it => getComputedStyle(it).breakAfter") == "auto"
    title, first = title.bounding_box(), page.locator(".bd-article p").first.bounding_box()
    assert 0 < first["y"] - title["y"] - title["height"] < 50 and title["height"] < 250 and faults == []


@pytest.mark.parametrize(
    ("width", "verdicts"), [(1280, ("supported", "contradicted", "undecided", "not tested")), (390, ("supported",))]
)
def test_a_card_that_counts_claims_leads_to_those(width, verdicts, site, opened):
    faults = []
    page = opened(width, faults)
    rows = page.locator("table.sortable tbody:visible")
    for verdict in verdicts:
        page.goto((site / "intro.html").as_uri())
        card = page.locator(".cards .sd-card").filter(has_text=re.compile(rf"^\s*\d+ {verdict}"))
        count = int(card.locator(".sd-card-title").inner_text().split()[0])
        card.click()
        page.wait_for_selector("table.sortable")
        assert rows.count() == count > 0 and rows.locator("td:nth-child(2)").all_inner_texts() == [verdict] * count
        page.get_by_role("button", name=f"Only what is {verdict}: show the whole table").click()
        assert rows.count() > 25 and page.get_by_role("button", name="Only what is").count() == 0
    assert faults == []


def test_claims_are_those_that_the_address_names(site, opened):
    """Also when it is changed by hand, and not after the whole table was asked for."""
    faults = []
    page = opened(1280, faults)
    rows = page.locator("table.sortable tbody:visible td:nth-child(2)")
    page.goto((site / "notebooks" / "claims.html").as_uri() + "#verdict=supported")
    for verdict in ("undecided", "contradicted"):
        page.evaluate("it => { location.hash = `verdict=${it}`; }", verdict)
        page.get_by_role("button", name=f"Only what is {verdict}").wait_for()
        assert set(rows.all_inner_texts()) == {verdict}
    page.get_by_role("button", name="Only what is").click()
    page.reload()
    assert len(set(rows.all_inner_texts())) > 3 and faults == []


def test_pages_lead_to_views_that_are_there(site, opened):
    """A network that is renamed, or a level, would leave a link to something else."""
    faults, addresses = [], set()
    page = opened(1280, faults)
    for path in (site / "notebooks").glob("*.html"):
        addresses |= set(re.findall(r'href="(look_for_yourself\.html#[^"]*=[^"]*)"', path.read_text()))
    for address in map(html.unescape, addresses):
        page.goto("about:blank")
        page.goto((site / "notebooks").as_uri() + "/" + address)
        shown(page)
        drawn = parse_qs(page.locator(".explorer").get_attribute("data-drawn"))
        assert parse_qs(urlparse(address).fragment).items() <= drawn.items(), address
    assert addresses and faults == []


def test_the_explorer_can_be_read_in_the_dark(site, opened):
    """The theme once laid a light box under it, and light letters on that."""
    faults = []
    page = opened(390, faults, "dark")
    page.goto((site / "notebooks" / "look_for_yourself.html").as_uri())
    shown(page)
    letters, ground = page.evaluate(
        """() => {
          const caption = document.querySelector('.explorer figcaption');
          const clear = (it) => ['rgba(0, 0, 0, 0)', 'transparent'].includes(getComputedStyle(it).backgroundColor);
          let box = caption;
          while (box.parentElement && clear(box)) box = box.parentElement;
          return [getComputedStyle(caption).color, getComputedStyle(box).backgroundColor];
        }"""
    )
    bright, dark = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (letters, ground))
    assert bright - dark > 300 and faults == [], (letters, ground)


def test_the_explorer_is_small(site):
    """It is loaded as a whole, on a phone as well."""
    assert (site / "notebooks" / "look_for_yourself.html").stat().st_size < 10e6


def test_every_figure_is_described_to_who_cannot_see_it(site):
    """Without words of its own a figure's description is the path of its file."""
    pages = [*(site / "notebooks").glob("*.html"), site / "intro.html"]
    images = [(path.name, tag) for path in pages for tag in re.findall(r"<img [^>]*_images/[^>]*>", path.read_text())]
    assert {name for name, _ in images} >= {"intro.html", "attention_maps.html"}
    assert [image for image in images if not re.search(r'alt="[^" ]+ [^"]+"', image[1])] == []


def test_curves_tell_their_values_and_are_switched_by_their_label(site, opened):
    """The values are those of the records, whatever else is switched off; the picture is not shown twice."""
    faults = []
    page = opened(1280, faults)
    page.goto((site / "notebooks" / "training_length.html").as_uri())
    panel = page.locator(".curves svg").first
    box = panel.bounding_box()
    panel.hover(position={"x": box["width"] - 12, "y": box["height"] / 2})
    values = page.locator(".curves-values")
    errors = error_tables.by_method(open_study("wrn-16-2-to-16-1", "paper", train_missing=False))["ours"]
    told = ", ".join(f"{name} {errors[name]:.2f}" for name in ("student", "AT", "F-ActT", "KD"))
    assert values.inner_text().startswith(f"epochs of training 200: {told}")
    lines = page.locator(".curves svg polyline:visible")
    before = lines.count()
    page.locator(".curves label", has_text="F-ActT").locator("input").uncheck()
    assert lines.count() == before - 2, "one line in each panel"
    assert "F-ActT" not in values.inner_text()
    names = page.locator(".curves-names").first.locator("text").all_text_contents()
    assert names == ["student", "AT, decaying", "AT", "KD", "AT+KD"], "at the ends of the lines that are on, from above"
    panel.hover(position={"x": 60, "y": box["height"] / 2})
    assert values.inner_text().startswith("epochs of training 10: student 19.20, AT 14.40, KD")
    hidden = page.locator("figure.touchable img")
    assert hidden.is_hidden() and panel.get_attribute("aria-label").endswith(f". {hidden.get_attribute('alt')}")
    assert len({each.get_attribute("aria-label") for each in page.locator(".curves svg").all()}) == 2
    pointers = page.locator(".curves-pointer[visibility=visible]")
    page.locator(".curves svg").last.hover(position={"x": 60, "y": box["height"] / 2})
    assert pointers.count() == 1, "of the panel whose values are told"
    panel.press("End")
    assert values.inner_text().startswith("epochs of training 200: ") and panel.get_attribute("aria-valuenow") == "200"
    panel.press("Home")
    panel.press("ArrowRight")
    assert values.inner_text().startswith("epochs of training 20: ")
    panel.press("ArrowLeft")
    panel.press("ArrowLeft")
    assert values.inner_text().startswith("epochs of training 10: ") and faults == [], "there is none before it"


def test_on_a_phone_the_values_of_each_panel_are_seen_beside_it(site, opened):
    """They stood below the last panel, a screen further down."""
    faults = []
    page = opened(390, faults)
    page.set_viewport_size({"width": 390, "height": 500})
    page.goto((site / "notebooks" / "training_length.html").as_uri())
    values = page.locator(".curves-values")
    for panel in page.locator(".curves svg").all():
        panel.evaluate("it => it.scrollIntoView({ block: 'center' })")
        before = panel.bounding_box()
        page.mouse.move(before["x"] + 60, before["y"] + 60)
        box = values.bounding_box()
        assert values.inner_text().startswith("epochs of training 10: ") and panel.bounding_box() == before
        assert before["y"] + 60 < box["y"] <= 500 - box["height"]
    assert faults == []


def test_without_scripts_curves_are_a_picture(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "notebooks" / "training_length.html").as_uri())
    assert page.locator("#fig-training-length img").is_visible() and page.locator(".curves svg").count() == 0
    ground = "(header) => getComputedStyle(header).backgroundColor"
    assert page.locator(".bd-header-article").evaluate(ground) == "rgb(255, 255, 255)", "text scrolls below it"
    context.close()


def test_an_address_that_names_nothing_is_the_first_view(explorer):
    first, address = shown(explorer), explorer.url
    for nothing in ("image=999&left-level=highest&opacity=-5&smooth=maybe", "image=1.5&%%%"):
        explorer.goto("about:blank")
        explorer.goto(f"{address}#{nothing}")
        assert shown(explorer) == first, nothing
