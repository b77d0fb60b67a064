"""The book in a browser: every page is whole, on a screen and on a phone, and the explorer does what it says."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium")

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


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as tools:
        started = tools.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens pages of one width, and gathers what goes wrong on them."""
    contexts = []

    def open_page(width: int, faults: list[str]):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.on("request", lambda it: it.url.startswith(("file:", "data:", "blob:")) or faults.append(f"asks {it.url}"))
        page.on("requestfailed", lambda it: faults.append(f"does not find {it.url}"))
        page.on("console", lambda it: it.type == "error" and faults.append(f"says {it.text}"))
        page.on("pageerror", lambda it: faults.append(f"breaks: {it}"))
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_whole(width, site, opened):
    """No request to another host, no error, every image there, every formula set, nothing wider than the window."""
    faults = []
    page = opened(width, faults)
    front = site / "index.html"  # leads on to the landing page
    paths = [
        path for path in sorted(site.rglob("*.html")) if path != front and not {"_modules", "_static"} & {*path.parts}
    ]
    for path in paths:
        before = len(faults)
        page.goto(path.as_uri())
        page.evaluate("() => document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.wait_for_function(f"() => ({UNSET})() === 0")
        page.wait_for_function(f"() => ({BROKEN})().length === 0")
        if (excess := page.evaluate(TOO_WIDE)) > 0:
            faults.append(f"is {excess} pixels too wide")
        faults[before:] = [f"{path.name} {fault}" for fault in faults[before:]]
    assert len(paths) > 15 and faults == []


def shown(page) -> list[str]:
    """The pixels of both panels: image, map and overlay of the left one, then of the right one."""
    # Drawing is asynchronous: the page says which view is drawn, and every control says what it stands for.
    page.wait_for_function(DRAWN)
    return page.evaluate("() => [...document.querySelectorAll('.explorer-pictures canvas')].map(it => it.toDataURL())")


def choose(page, panel: int, what: str, choice: str) -> None:
    label = page.locator(".explorer-panel").nth(panel).locator("label", has_text=what)
    label.locator("select").select_option(choice)


@pytest.fixture
def explorer(site, opened):
    faults = []
    page = opened(1280, faults)
    page.goto((site / "notebooks" / "07_explorer.html").as_uri())
    yield page
    assert faults == []


@pytest.mark.parametrize(
    ("what", "choice", "changed"),
    [("network", "AT", [1, 2]), ("level", "low", [1, 2]), ("mapping", "max-1", [1, 2])],
)
def test_a_choice_changes_its_panel_alone(what, choice, changed, explorer):
    before = shown(explorer)
    choose(explorer, 0, what, choice)
    after = shown(explorer)
    assert [place for place in range(6) if before[place] != after[place]] == changed
    assert f"left-{what}={choice}" in explorer.url


def test_the_image_is_chosen_with_the_keyboard_for_both_panels(explorer):
    before = shown(explorer)
    explorer.locator(".explorer-images input").first.focus()
    explorer.keyboard.press("ArrowRight")
    after = shown(explorer)
    assert all(one != other for one, other in zip(before, after, strict=True)) and "image=1" in explorer.url


def test_opacity_and_smoothing_change_the_overlay_alone(explorer):
    before = shown(explorer)
    explorer.locator(".explorer-common input[type=checkbox]").check()
    smooth = shown(explorer)
    assert [place for place in range(6) if before[place] != smooth[place]] == [2, 5]
    explorer.locator(".explorer-common input[type=range]").fill("0")
    clear = shown(explorer)
    assert clear[2] == clear[5] != smooth[2], "without the map both overlays are the image"


def test_the_address_restores_the_view(explorer, site, opened):
    for label, choice in (("network", "student"), ("level", "middle")):
        explorer.locator(".explorer-panel").last.locator("label", has_text=label).locator("select").select_option(
            choice
        )
    explorer.locator(".explorer-images input").first.focus()
    explorer.keyboard.press("ArrowRight")
    view = shown(explorer)
    faults = []
    again = opened(390, faults)
    again.goto(explorer.url)
    assert shown(again) == view and faults == []


@pytest.mark.parametrize("address", ["image=999&left-level=highest", "opacity=-5&smooth=maybe", "%%%", "image=1.5"])
def test_an_address_that_names_nothing_is_the_first_view(address, explorer, site, opened):
    faults = []
    page = opened(1280, faults)
    page.goto((site / "notebooks" / "07_explorer.html").as_uri() + "#" + address)
    assert shown(page) == shown(explorer) and faults == []
