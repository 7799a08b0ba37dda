import base64
import hashlib
import json
import re
import time
from itertools import product
from pathlib import Path

import pytest
from markupsafe import Markup

from ultraslow.analysis.cli.live.condition import Readings
from ultraslow.analysis.cli.live.follow import Watched
from ultraslow.analysis.cli.live.page import _SCRIPT, RELOAD, LivePage, with_banner


def conditions(watched, now):
    return [Readings().read(sight, now) for sight in watched.look()]


def allowed(page):
    """Whether all styles and scripts of a page are those that its policy allows."""
    (policy,) = re.findall(r"Content-Security-Policy\" content=\"([^\"]*)\"", page)
    assert "default-src 'none'" in policy
    for kind in ("style", "script"):
        texts = re.findall(rf"<{kind}>(.*?)</{kind}>", page, flags=re.S)
        assert texts
        (rule,) = [rule for rule in policy.split(";") if f"{kind}-src" in rule]
        for text in texts:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in rule
    return True


def test_a_page_waits_then_holds_the_report_then_stops_loading_itself(writer, tmp_path):
    live = writer("<b>live", records=[0, 1, 2, 4, 8, 16, 32, 64, 128, 256])
    path = tmp_path / "live.html"
    watched = Watched([str(live.folder)])
    page = LivePage(path, watched.paths, 0.95, share=1e9)
    page.work([], 1e9)
    waiting = path.read_text()
    assert "Waiting for the first records" in waiting
    assert allowed(waiting)
    assert f'data-reload="{RELOAD}"' in waiting

    live.lease().put(0, 8)
    found = conditions(watched, 1e9)
    page.work(found, 1e9 + 1)
    page._maker.join()
    page.work(found, 1e9 + 2)
    text = path.read_text()
    assert "Waiting for the first records" not in text
    assert "Live: 1 of 1 run recording." in text
    assert "&lt;b&gt;live: live, iteration 64" in text
    assert "<b>live" not in text
    assert allowed(text)
    assert len(json.loads(path.with_suffix(".json").read_text())["fits"]) == 1

    # Without new records nothing is made, and nothing written before it is due.
    maker, before = page._maker, path.stat().st_mtime_ns
    page.work(conditions(watched, 1e9 + 3), 1e9 + 3)
    assert (page._maker, path.stat().st_mtime_ns) == (maker, before)
    page.work(conditions(watched, 1e9 + 60), 1e9 + 60)
    assert path.stat().st_mtime_ns > before
    assert page._maker is maker

    live.close()
    page.finish(conditions(watched, 1e9 + 70), 1e9 + 70)
    text = path.read_text()
    assert 'data-reload="0"' in text
    assert "Ended: no run is recording any more." in text
    assert "<li>" not in text.split('<aside id="live"')[1].split("</aside>")[0]
    assert json.loads(path.with_suffix(".json").read_text())["inputs"][0]["last_iteration"] == 256
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".tmp")] == []


def test_reports_take_their_share_of_a_core(writer, tmp_path):
    live = writer(records=[0, 1, 2, 4, 8, 16, 32]).lease()
    live.put(0, 5)
    watched = Watched([str(live.folder)])
    page = LivePage(tmp_path / "live.html", watched.paths, 0.95, share=1e-5)
    page.work(conditions(watched, 1e9), 1e9)
    first = page._maker
    first.join()
    live.put(5, 6)
    page.work(conditions(watched, 1e9), 1e9 + 1)
    assert page._maker is first


def test_a_report_that_cannot_be_made_is_told(writer, tmp_path):
    live = writer(records=[0, 1, 2, 4, 8]).lease()
    live.put(0, 5)
    watched = Watched([str(live.folder)])
    page = LivePage(tmp_path / "live.html", [str(tmp_path / "elsewhere")], 0.95, share=1e9)
    page.work(conditions(watched, 1e9), 1e9)
    page._maker.join()
    assert page.failed.startswith("the report could not be made: ")
    assert "elsewhere: no such file or folder" in page.failed


def test_a_disk_that_refuses_raises(writer, tmp_path):
    page = LivePage(tmp_path / "nowhere" / "live.html", [], 0.95, share=0.2)
    with pytest.raises(OSError, match="nowhere"):
        page.work([], 1e9)


def test_scripts_that_a_page_has_stay_allowed():
    own = "alert(1)"
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:"
    page = (
        f'<head><meta http-equiv="Content-Security-Policy" content="{policy}"></head>'
        f'<body><main id="m"><script>{own}</script></main></body>'
    )
    found = with_banner(page, Markup(f"<script>{_SCRIPT}</script>"))
    assert found.count("script-src") == 1
    assert allowed(found)
    assert "img-src data:" in found


RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PICTURES = Path(__file__).parents[4] / "build" / "browser"  # kept for who wants to look


def test_the_live_page_can_be_used_by_all_in_light_and_dark_at_any_width(
    browser, writer, tmp_path
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    live = writer("a-run-of-a-long-name-" + "x" * 80, records=[0, 1, 2, 4, 8, 16, 32, 64, 128])
    live.lease().put(0, 8)
    watched = Watched([str(live.folder)])
    now = time.time() + 600  # so that a slow machine finds the page fresh
    page = LivePage(tmp_path / "live.html", watched.paths, 0.95, share=1e9)
    page.work([], now)
    (tmp_path / "waiting.html").write_text(page.path.read_text())
    found = conditions(watched, now)
    page.work(found, now)
    page._maker.join()
    page.work(found, now)
    backgrounds = {}
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in ("waiting", "live"):
        for width, scheme in product((1200, 360), ("light", "dark")):
            context = browser.new_context(
                viewport={"width": width, "height": 740}, color_scheme=scheme
            )
            seen, said = context.new_page(), []
            seen.on("console", lambda message, said=said: said.append(message.text))
            seen.on("pageerror", lambda error, said=said: said.append(str(error)))
            seen.goto((tmp_path / f"{name}.html").as_uri())
            assert said == []
            assert seen.evaluate("document.scrollingElement.scrollWidth") <= width
            seen.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=True)
            options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
            found = axe.run(seen, options=options)
            assert found.violations_count == 0, found.generate_report()
            backgrounds[name, scheme] = seen.evaluate(
                "getComputedStyle(document.body).backgroundColor"
            )
            if name == "live":
                assert seen.locator("#live-age").inner_text().endswith("ago")
                assert seen.locator("#live-stale").is_hidden()
            context.close()
    assert backgrounds["live", "light"] != backgrounds["live", "dark"]
