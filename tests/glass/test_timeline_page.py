"""The timeline's web page in a real browser: what it draws, and what it does when somebody works with it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from glassloop.glass.history import History, build_history
from glassloop.glass.layout import Running, State
from glassloop.glass.recording import read_ring
from glassloop.glass.timeline_html import to_html

from .browser import CHROMIUM, Browser
from .support import EVIL, MS, MakePage, SyntheticPage, two_tasks

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

# In the page: the first lane's row, after that of callbacks, and how high a row is.
TOP, ROW, LABELS = 26, 22, 210


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def small(synthetic: SyntheticPage, browser: Browser, tmp_path: Path) -> Browser:
    """Two tasks in one second: the second is woken by a descriptor and wakes the first, which ends."""
    two_tasks(synthetic)
    return open_page(browser, synthetic, tmp_path)


def open_page(browser: Browser, page: SyntheticPage, folder: Path, fragment: str = "") -> Browser:
    with page.open() as opened:
        history = build_history(read_ring(opened))
    return open_history(browser, history, folder, fragment)


def open_history(browser: Browser, history: History, folder: Path, fragment: str = "") -> Browser:
    file = folder / "timeline.html"
    file.write_text(to_html(history))
    browser.prefer("light")
    browser.open("about:blank")
    browser.open(f"{file.as_uri()}#{fragment}")
    browser.settle()
    assert browser.evaluate("document.body.dataset.ready") == "1", "the script did not run to its end"
    return browser


def place(browser: Browser, ms: float, row: int) -> tuple[float, float]:
    """Where a moment in a row lies in the window. Row 0 is that of callbacks."""
    x = browser.evaluate(f"xOf({ms * MS})")
    top = browser.evaluate("canvas.getBoundingClientRect().top")
    return x, top + TOP + row * ROW + ROW / 2


def colour(browser: Browser, ms: float, row: float) -> str:
    """The name of the colour at a moment in a row of the canvas, or what it is."""
    return str(
        browser.evaluate(
            f"""(() => {{
              const scale = window.devicePixelRatio, x = xOf({ms * MS}), y = {TOP + row * ROW + ROW / 2};
              const at = pen.getImageData(Math.floor(x * scale), Math.floor(y * scale), 1, 1).data;
              const text = "#" + [...at].slice(0, 3).map(one => one.toString(16).padStart(2, "0")).join("");
              const names = {{ ready: colours[0], running: colours[1], waiting: colours[2],
                               back: colours.back }};
              return Object.keys(names).find(name => names[name] === text) || text;
            }})()"""
        )
    )


def details(browser: Browser) -> str:
    return str(browser.evaluate("byId('details').innerText"))


def view(browser: Browser) -> tuple[float, float]:
    """(start, length) of what is shown, in ms."""
    start, length = browser.evaluate("[view.start, view.length]")
    return start / MS, length / MS


def test_it_asks_for_nothing_but_itself(small: Browser) -> None:
    assert [address.partition("#")[0][-13:] for address in small.asked_for] == ["timeline.html"]
    assert small.evaluate("document.title") == "glassloop: python app.py --fast"
    assert "2 tasks" in small.evaluate("byId('summary').innerText")
    blocked = small.evaluate(
        "new Promise(done => { const image = new Image(); image.onerror = () => done('blocked');"
        " image.onload = () => done('loaded');"
        " image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='; })"
    )
    assert blocked == "blocked", "its own policy keeps even a hostile name from fetching"


def test_lanes_have_the_colours_of_their_states(small: Browser) -> None:
    assert [colour(small, ms, 1) for ms in (5, 200, 600, 850)] == ["running", "waiting", "ready", "running"]
    assert colour(small, 950, 1) == "back", "it is done"
    assert [colour(small, ms, 2) for ms in (15, 200, 405.5, 800)] == [
        "running",
        "waiting",
        "running",
        "waiting",
    ]


def test_arrows_lead_from_causes(small: Browser) -> None:
    """From the second task up to the first at 405 ms, from the callback down to the second at 400.5 ms."""
    between = 1.5
    known = {"ready", "running", "waiting", "back"}
    for start, end, ms, row in ((395, 415, 405, between), (395, 415, 400.5, 0.9)):
        small.evaluate(f"view.start = {start * MS}; view.length = {(end - start) * MS}; draw(); 1")
        assert colour(small, ms, row) not in known, f"no arrow at {ms} ms"
        assert colour(small, ms + 2, row) in known
    assert small.evaluate("document.body.dataset.arrows") == "all"


def test_details_on_click(small: Browser) -> None:
    small.click(*place(small, 600, 1))
    text = details(small)
    assert "first" in text and "READY" in text and "from 405 ms to 800 ms" in text
    assert "last woken at 405 ms" in text
    small.evaluate(
        "[...document.querySelectorAll('#details a')].find(one => one.textContent === 'second').click()"
    )
    assert details(small).startswith("second") and "WAITING for data from a stream" not in details(small)
    small.click(*place(small, 700, 2))
    assert "WAITING for data from a stream" in details(small)
    assert EVIL in small.evaluate("data.lanes[0].label") and small.evaluate("document.scripts.length") == 1


def test_zoom_with_the_wheel_keeps_what_is_under_the_mouse(small: Browser) -> None:
    x, y = place(small, 800, 1)
    for _ in range(3):
        small.wheel(x, y, -200, ctrl=True)
    start, length = view(small)
    assert length < 300 and start < 800 < start + length
    assert abs(small.evaluate(f"xOf({800 * MS})") - x) < 2
    for _ in range(9):
        small.wheel(x, y, 300, ctrl=True)
    assert view(small) == (0, 1000)


def test_zoom_and_pan_with_keys_and_buttons(small: Browser) -> None:
    small.key("w")
    start, length = view(small)
    assert length == pytest.approx(700) and start == pytest.approx(150)
    small.key("d")
    assert view(small)[0] > start
    small.key("a")
    assert view(small)[0] == pytest.approx(start)
    small.key("s")
    assert view(small) == (0, 1000)
    small.evaluate("byId('in').click(); byId('in').click(); 1")
    assert view(small)[1] < 500
    small.evaluate("byId('fit').click(); 1")
    assert view(small) == (0, 1000)


def test_pan_by_dragging_is_no_click(small: Browser) -> None:
    for _ in range(3):
        small.key("w")
    start, _ = view(small)
    x, y = place(small, 500, 1)
    small.drag((x, y), (x + 100, y))
    assert view(small)[0] < start and small.evaluate("view.chosen") == -1
    small.drag((x, y), (x - 100, y))
    assert view(small)[0] == pytest.approx(start)


def test_search(small: Browser) -> None:
    small.key("/")
    for letter in "seco":
        small.key(letter)
    assert small.evaluate("byId('search').value") == "seco", (
        "the slash opens the field, the rest goes into it"
    )
    assert small.evaluate("rows.map(row => row.label)") == ["second"]
    small.evaluate("byId('search').value = 'nobody'; byId('search').oninput({target: byId('search')}); 1")
    assert small.evaluate("rows.length") == 0


def test_light_and_dark(small: Browser) -> None:
    def background() -> int:
        red, green, blue = small.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        return int(red + green + blue)

    assert background() > 700 and colour(small, 200, 1) == "waiting"
    small.prefer("dark")
    small.settle()
    assert background() < 120 and colour(small, 200, 1) == "waiting"
    assert small.evaluate("colours.back") == "#14171c"
    small.evaluate("byId('theme').click(); 1")
    small.settle()
    assert background() > 700


def test_a_link_to_a_task(synthetic: SyntheticPage, browser: Browser, tmp_path: Path, small: Browser) -> None:
    open_page(browser, synthetic, tmp_path, "task=1&at=600000000&dark")
    assert details(browser).startswith("first") and "READY" in details(browser)
    assert browser.evaluate("document.documentElement.dataset.theme") == "dark"


def many(make_page: MakePage, count: int) -> SyntheticPage:
    page = make_page(tasks=16384, records=32768)
    functions = [page.add_site(name, "/app/main.py", 1) for name in ("fetch", "parse")]
    for number in range(1, count + 1):
        page.set_task(number, number, coroutine=functions[number % 2])
        page.wake(number, number / 10, Running.HANDLE)
        page.step(number, number / 10, 0.09, State.WAITING)
    return page


@pytest.mark.parametrize(("count", "rows"), [(10, 11), (300, 3), (10_000, 3)])
def test_many_tasks_are_grouped(
    make_page: MakePage, browser: Browser, tmp_path: Path, count: int, rows: int
) -> None:
    open_page(browser, many(make_page, count), tmp_path)
    assert f"{count} tasks" in browser.evaluate("byId('summary').innerText")
    shown = browser.evaluate("rows.map(row => row.label)")
    assert len(shown) == rows - (not browser.evaluate("data.calls.length"))
    if count > 60:
        assert any(re.fullmatch(f"▸ fetch × {count // 2}", label) for label in shown)


def test_a_group_opens_and_shows_who_ran_longest(
    make_page: MakePage, browser: Browser, tmp_path: Path
) -> None:
    open_page(browser, many(make_page, 10_000), tmp_path)
    before = browser.evaluate("rows.length")
    assert browser.evaluate("document.body.dataset.arrows") == "chosen", "10,000 arrows would hide all else"
    x, y = 100, browser.evaluate("canvas.getBoundingClientRect().top") + TOP + ROW / 2
    browser.click(x, y)
    assert browser.evaluate("rows.length") == before + 5000
    assert "5000 tasks" in details(browser) and "ran longest" in details(browser)
    browser.click(x, y + 3 * ROW)
    assert re.match(r"Task-\d+ ", details(browser))
    browser.key("PageDown")
    assert browser.evaluate("view.top") > 0
    browser.evaluate("byId('search').value = 'Task-77'; byId('search').oninput({target: byId('search')}); 1")
    assert browser.evaluate("rows.length") == 111
    browser.evaluate("byId('search').value = ''; byId('search').oninput({target: byId('search')}); 1")
    browser.evaluate("reveal(9000, 0)")
    browser.settle()
    top = browser.evaluate("rowOfLane.get(9000) * ROW - view.top")
    assert 0 <= top <= browser.evaluate("canvas.clientHeight"), "whom a link names is scrolled to"


def test_a_page_of_nothing(synthetic: SyntheticPage, browser: Browser, tmp_path: Path) -> None:
    open_page(browser, synthetic, tmp_path)
    assert browser.evaluate("rows.length") == 0


def test_what_is_missing_is_said(make_page: MakePage, browser: Browser, tmp_path: Path) -> None:
    page = make_page(records=64)
    for number in range(100):
        page.step(1, number, 0.5, State.READY)
    open_page(browser, page, tmp_path)
    assert re.search(r"the first 3\d(\.\d+)? ms are missing", browser.evaluate("byId('summary').innerText"))
