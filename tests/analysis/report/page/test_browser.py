"""The page in a browser: what a reader sees, hears and presses."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.report.report import report

PICTURES = Path(__file__).parents[4] / "build" / "browser"  # kept for who wants to look
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDTHS = {"desk": (1200, 720), "phone": (360, 740)}
HOSTILE = "<script>document.title='taken'</script>\x1b[31m\u202e" + "x" * 5000


@pytest.fixture(scope="module")
def path(tmp_path_factory, make):
    """A page about arms with laws, a set beside them, a ladder, a hostile name and a lost run."""
    folder = tmp_path_factory.mktemp("page")
    runs = [
        make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, exponent=0.5, last=1500)
        for size in (64, 1024)
        for seed in range(3)
    ]
    few = {"records": [0, 1, 2, 4, 8, 16]}
    lost = make(run="lost", batch_size=256, seed=9, **few)
    lost["distance_sq"][3:] = np.nan
    lost.attrs["events"] = json.dumps([[k, HOSTILE[:300]] for k in range(9)])
    other = make(run=HOSTILE, weight_decay=0.1, data=HOSTILE, model=HOSTILE, **few)
    values = np.full((6, 1), np.nan)
    rungs = []
    for rung in range(2):
        for seed in range(2):
            values[-1] = 0.5 + 0.1 * rung + 0.01 * seed
            one = make(run=f"rung{rung}-s{seed}", batch_size=64, seed=20 + seed, **few)
            one = one.assign_coords(metric=["accuracy"])
            one["held_out"] = ("iteration", "metric"), values.copy()
            rungs.append(one.assign_attrs(ladder="limit", rung=rung, rung_name=HOSTILE[:60]))
    tree = {f"r{k:02}": run for k, run in enumerate([*runs, lost, other, *rungs])}
    return report(xr.DataTree.from_dict(tree), folder / "report.html").path


@pytest.fixture
def show(browser, path):
    """A function that opens the page and keeps what the browser complains of and asks for."""
    opened = []

    def shown(width="desk", *, scheme="light", script=True):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = browser.new_context(
            viewport=size, color_scheme=scheme, java_script_enabled=script
        )
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        opened.append(context)
        return page

    yield shown
    for context in opened:
        context.close()


def picture(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_quiet_alone_fits_and_can_be_used_by_all(show, path, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = show(width, scheme=scheme)
    assert page.said == []
    assert page.asked == [path.as_uri()]
    assert page.title() == "How the weights moved"
    wide = page.evaluate("document.scrollingElement.scrollWidth")
    assert wide <= WIDTHS[width][0]
    picture(page, f"report-{width}-{scheme}")
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found = axe.run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


def test_answer_verdicts_and_picture_stand_in_the_first_screen(show):
    page = show("desk")
    for part in (".lede", ".strip"):
        assert page.locator(part).first.bounding_box()["height"] > 0
        box = page.locator(part).first.bounding_box()
        assert box["y"] + box["height"] <= 720, part
    assert page.locator("nav[aria-label=Contents] a").count() >= 6


def test_the_theme_follows_the_system_and_then_the_buttons(show):
    light, dark = background(show(scheme="light")), background(show(scheme="dark"))
    assert light != dark
    for script in (True, False):  # also without a script
        page = show(scheme="light", script=script)
        page.locator("label[for=dark]").click()
        assert page.locator("#dark").is_checked()
        assert (
            page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor") == dark
        )
        page.locator("label[for=light]").click()
        assert (
            page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor") == light
        )


def test_the_choice_of_colours_is_remembered(show):
    page = show(scheme="light")
    page.locator("label[for=dark]").click()
    page.reload()
    assert page.locator("#dark").is_checked()


def test_what_is_folded_is_printed(show):
    page = show("desk")
    assert page.locator(".evidence dl").first.is_hidden()
    page.emulate_media(media="print")
    heights = page.evaluate(
        "[...document.querySelectorAll('details:not(.raw, .raw *) > :not(summary)')]"
        ".map(one => one.offsetHeight)"
    )
    assert heights and min(heights) > 0
    assert page.locator(".bar").is_hidden()
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.pdf(path=PICTURES / "report.pdf")


def test_the_keyboard_reaches_the_predictions_first_and_shows_where_it_is(show):
    page = show("desk")
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("one => one === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    outline = skip.evaluate("one => getComputedStyle(one).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert page.url.endswith("#predictions")


def test_a_cell_of_the_strip_leads_to_its_card(show):
    page = show("desk")
    page.locator(".strip a", has_text="P9").first.click()
    top = page.locator("#P9").bounding_box()["y"]
    assert 48 <= top <= 720
