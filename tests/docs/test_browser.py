"""The built site in a browser. `make docs` builds it; without it these tests are skipped."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_build" / "html"
PICTURES = ROOT / "build" / "browser"  # kept for who wants to look
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDTHS = {"desk": (1200, 900), "phone": (360, 740)}
# Prose, code, outputs of a notebook, long tables, docstrings.
LOOKED_AT = (
    "index",
    "record/fsdp2",
    "start/tutorial",
    "start/cifar10-story",
    "theory/statistics",
    "reference/front-door",
)

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="the site is not built: make docs"
)


@pytest.fixture
def show(browser):
    """A function that opens a page and keeps what the browser complains of and asks for."""
    opened = []

    def shown(name, width="desk", *, scheme="light"):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = browser.new_context(viewport=size, color_scheme=scheme)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto((SITE / f"{name}.html").as_uri())
        opened.append(context)
        return page

    yield shown
    for context in opened:
        context.close()


@pytest.mark.parametrize("name", LOOKED_AT)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_quiet_alone_fits_and_can_be_used_by_all(show, name, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = show(name, width, scheme=scheme)
    assert page.said == []
    assert all(url.startswith((SITE.as_uri(), "data:")) for url in page.asked), page.asked
    wide = page.evaluate("document.scrollingElement.scrollWidth")
    assert wide <= WIDTHS[width][0]
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"docs-{name.replace('/', '-')}-{width}-{scheme}.png")
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found = axe.run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How do I attach to my FSDP2 run?", "record/fsdp2"),
        ("What does undecidable mean?", "decide/verdicts"),
        ("How long must I train, and how many seeds?", "decide/planning"),
    ],
)
def test_what_one_asks_is_one_click_away(show, question, answer):
    page = show("index")
    page.locator("tr", has_text=question).locator("a").first.click()
    page.wait_for_url(f"**/{answer}.html")
    assert page.locator(f".sidebar-tree a[href*='{Path(answer).name}'], .current-page").count()


def test_the_search_finds_words_of_pages_and_names_of_the_reference(show):
    page = show("search")
    for words, found in (("undecidable", "decide/verdicts"), ("fit_growth", "front-door")):
        page.goto(f"{(SITE / 'search.html').as_uri()}?q={words}")
        page.locator("#search-results ul.search li a").first.wait_for()
        links = page.locator("#search-results ul.search li a").evaluate_all(
            "links => links.map(link => link.href)"
        )
        assert any(found in link for link in links), (words, links)
