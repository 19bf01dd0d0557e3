"""The live page, in a browser."""

import os
import threading
from urllib.parse import urlsplit

import psycopg
import pytest

from harness.browser import Browser
from harness.system import eventually, free_port

ADMIN = ("admin", "a secret")


@pytest.fixture
def make(make_pooler):
    def make(**settings):
        pooler = make_pooler(http_listen_addr="127.0.0.1", http_port=free_port(),
                             userlist={"app": "", "admin": ADMIN[1], "stats": "x"}, **settings)
        pooler.page = f"http://127.0.0.1:{pooler.settings['http_port']}/"
        return pooler
    return make


@pytest.fixture(scope="module")
def browser():
    with Browser() as b:
        yield b


@pytest.fixture
def visit(browser):
    """visit(pooler): the page, as it is for a visitor who comes for the first time."""
    def visit(pooler, user=None, selector="#pool-table tbody tr"):
        browser.devtools("Network.enable", {})
        browser.devtools("Network.setExtraHTTPHeaders", {"headers": {}})
        if user is not None:
            browser.log_in(*user)
        browser.open("about:blank")
        browser.requested()
        browser.complaints()
        browser.open(pooler.page)
        eventually(lambda: browser.all(selector), f"{selector} is there")
        return browser
    return visit


def use(pooler, n=3):
    with pooler.connect(application_name="here") as c:
        for _ in range(n):
            c.execute("SELECT 1")


def row(browser, place, first):
    """The texts of the row whose first cell is this."""
    script = """return [...document.querySelectorAll(arguments[0] + " tbody tr")]
        .map(tr => [...tr.children].map(td => td.textContent)).find(cells => cells[0] === arguments[1]) || null"""
    return browser.run(script, place, first)


def test_it_shows_the_pools_and_whether_the_pooler_is_ready(make, visit):
    pooler = make(default_pool_size=7)
    use(pooler)
    page = visit(pooler)
    assert page.wait_text("#state", "ready")
    with pooler.connect() as c, c.transaction():
        c.execute("SELECT 1")
        eventually(lambda: row(page, "#pool-table", "app")[2] == "1 of 7", "the load is shown")
        assert row(page, "#pool-table", "app")[:2] == ["app", "app"]
        width = page.run("return document.querySelector('#pool-table .fill').style.width")
        assert float(width.rstrip("%")) == pytest.approx(100 / 7, abs=0.01)
    eventually(lambda: row(page, "#pool-table", "app")[2] == "0 of 7", "the load goes")
    assert page.complaints() == []


def test_every_part_of_it_has_its_table(make, visit):
    pooler = make(default_pool_size=7)
    use(pooler)
    with pytest.raises(psycopg.OperationalError):
        pooler.connect(dbname="nosuch")
    page = visit(pooler)
    eventually(lambda: row(page, "#latency-table", "query"), "latencies are there")
    assert int(row(page, "#latency-table", "query")[1]) >= 3
    assert row(page, "#host-table", f"127.0.0.1:{pooler.pg.port}")[1] == "up"
    assert row(page, "#setting-table", "default_pool_size")[2:4] == ["7", "20"]
    assert row(page, "#setting-table", "query_wait_timeout") is None
    eventually(lambda: page.all("#capacity-table tbody tr"), "the capacity has been asked for")
    assert any("nosuch" in e.text for e in page.all("#error-table tbody tr"))
    assert "Invalid" not in page.text("#error-table")
    eventually(lambda: row(page, "#application-table", "here"), "applications are there")
    assert "–" not in row(page, "#application-table", "here")
    page.find("#all-settings").click()
    eventually(lambda: row(page, "#setting-table", "query_wait_timeout"), "all settings are shown")
    assert page.complaints() == []


def test_what_is_not_known_is_no_number(make, visit):
    pooler = make(databases={"app": {}, "gone": {"host": "127.0.0.1", "port": 1}})
    use(pooler)
    page = visit(pooler)
    eventually(lambda: row(page, "#capacity-table", "127.0.0.1:1"), "the host that is not there has its row")
    assert row(page, "#capacity-table", "127.0.0.1:1")[1:5] == ["– of –", "–", "–", "–"]


def test_the_lines_move_with_what_happens(make, visit):
    pooler = make()
    use(pooler)
    page = visit(pooler)
    points = "return document.querySelector('#charts figure.rate polyline').getAttribute('points').split(' ')"
    first = len(page.run(points))
    stop = threading.Event()

    def load():
        with pooler.connect() as c:
            while not stop.is_set():
                c.execute("SELECT 1")

    worker = threading.Thread(target=load)
    worker.start()
    try:
        eventually(lambda: len(page.run(points)) >= first + 2, "the line has grown")
        eventually(lambda: row(page, "#pool-table", "app")[6] not in ("0", "–"), "the pool has a rate")
    finally:
        stop.set()
        worker.join()
    label = page.find("#charts figure.rate svg").get_attribute("aria-label")
    assert label.startswith("Transactions a second: now ")


def test_who_waits_is_seen(make, visit):
    pooler = make(default_pool_size=1)
    page = visit(pooler, selector="#figures dd")
    with pooler.connect() as holder, holder.transaction():
        holder.execute("SELECT 1")
        waiter = threading.Thread(target=use, args=(pooler, 1))
        waiter.start()
        eventually(lambda: row(page, "#pool-table", "app") and row(page, "#pool-table", "app")[4] == "1", "one waits")
        assert row(page, "#pool-table", "app")[5] != "0 µs"
        assert page.run("return document.querySelector('#pool-table .fill').className") == "fill bad"
    waiter.join()


def test_it_survives_a_restart_of_the_pooler(make, visit):
    pooler = make()
    use(pooler)
    page = visit(pooler)
    pooler.stop()
    page.wait_text("#state", "no answer")
    assert row(page, "#pool-table", "app"), "the last picture stays"
    pooler.start()
    page.wait_text("#state", "ready")
    use(pooler)
    eventually(lambda: row(page, "#pool-table", "app"), "the pool is back")


def test_nothing_comes_from_elsewhere(make, visit):
    pooler = make()
    use(pooler)
    page = visit(pooler)
    port = pooler.settings["http_port"]
    urls = [u for u in page.requested() if urlsplit(u).scheme not in ("data", "about")]
    assert len(urls) > 5
    assert {urlsplit(u).netloc for u in urls} == {f"127.0.0.1:{port}"}
    blocked = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('http://localhost:' + location.port + '/livez', {mode: 'no-cors'})"
        ".then(() => done('fetched'), () => done('blocked'))")
    assert blocked == "blocked"


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "'\"; -- &amp;"])
def test_names_are_texts(make, visit, name):
    pooler = make()
    with pooler.connect(application_name=name) as c:
        c.execute("SELECT 1")
    page = visit(pooler)
    eventually(lambda: row(page, "#application-table", name), "the application is listed by its own name")
    assert page.all("img") == []


def test_a_visitor_gets_no_buttons(make, visit):
    pooler = make()
    use(pooler)
    page = visit(pooler)
    page.wait_text("#state", "ready")
    assert page.all("#pool-table td button") == []
    assert not page.find("#all-actions").is_displayed()
    assert page.find("#login").is_displayed()


def is_paused(pooler):
    return [r["paused"] for r in pooler.admin("SHOW DATABASES") if r["name"] == "app"] == ["1"]


def press(page, selector, answer):
    page.find(selector).click()
    eventually(lambda: page.find("#ask").is_displayed(), "it asks for confirmation")
    page.find(answer).click()
    eventually(lambda: not page.find("#ask").is_displayed(), "the question goes")


def test_an_admin_pauses_and_resumes_after_confirming(make, visit):
    pooler = make()
    use(pooler)
    page = visit(pooler, user=ADMIN)
    eventually(lambda: page.all("#pool-table td button"), "there are buttons")
    assert page.text("#who") == "admin (admin)"

    press(page, "[aria-label='Pause database app']", "#ask-no")
    assert not is_paused(pooler)
    press(page, "[aria-label='Pause database app']", "#ask-yes")
    eventually(lambda: is_paused(pooler), "it is paused")
    press(page, "[aria-label='Resume database app']", "#ask-yes")
    eventually(lambda: not is_paused(pooler), "it goes on")


def test_an_admin_reloads_and_reads_why_it_failed(make, visit):
    pooler = make()
    use(pooler)
    page = visit(pooler, user=ADMIN)
    eventually(lambda: page.all("#all-actions button"), "there are buttons")
    reload_button = "#all-actions button:last-child"
    pooler.settings["default_pool_size"] = 9
    pooler.write()
    press(page, reload_button, "#ask-yes")
    eventually(lambda: pooler.config("default_pool_size") == "9", "it is reloaded")
    pooler.write(pooler.text().replace("default_pool_size = 9", "default_pool_size = many"))
    press(page, reload_button, "#ask-yes")
    page.wait_text("#about", "default_pool_size")
    pooler.write()


def test_the_keyboard_is_enough(make, visit):
    """From the top: the way to the pools, sorting by a column, the theme; and a dialog that Escape leaves alone."""
    from selenium.webdriver.common.keys import Keys
    pooler = make()
    use(pooler)
    page = visit(pooler, user=ADMIN)
    eventually(lambda: page.all("#pool-table td button"), "there are buttons")
    page.run("document.body.focus()")
    active = page.driver.switch_to
    active.active_element.send_keys(Keys.TAB)
    assert active.active_element.get_attribute("class") == "skip"
    active.active_element.send_keys(Keys.ENTER)
    assert page.run("return location.hash") == "#pools"
    button = page.find("#pool-table th button")
    button.send_keys(Keys.ENTER)
    assert page.find("#pool-table th").get_attribute("aria-sort") == "ascending"
    page.find("[aria-label='Pause database app']").send_keys(Keys.ENTER)
    eventually(lambda: page.find("#ask").is_displayed(), "it asks")
    assert active.active_element.get_attribute("id") == "ask-no"
    active.active_element.send_keys(Keys.ESCAPE)
    eventually(lambda: not page.find("#ask").is_displayed(), "Escape leaves it")
    assert not is_paused(pooler)


def test_everything_has_a_name_for_a_screen_reader(make, visit):
    pooler = make()
    use(pooler)
    page = visit(pooler, user=ADMIN)
    eventually(lambda: page.all("#pool-table td button"), "there are buttons")
    tree = page.devtools("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "link", "combobox", "searchbox", "checkbox", "table", "region", "image", "dialog"}
    nameless = [n for n in tree if not n.get("ignored") and n.get("role", {}).get("value") in wanted
                and not n.get("name", {}).get("value")]
    assert nameless == []
    assert page.find("#told").get_attribute("aria-live") == "polite"
    assert page.run("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_both_themes_and_on_a_phone(make, visit, browser, scheme, width, tmp_path):
    """Nothing hangs over the edge, and texts keep a contrast of 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    pooler = make()
    use(pooler)
    browser.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.devtools("Emulation.setDeviceMetricsOverride",
                     {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    try:
        page = visit(pooler)
        page.wait_text("#state", "ready")
        page.driver.save_screenshot(os.path.join(os.environ.get("PGSLUICE_SCREENSHOTS", str(tmp_path)),
                                                 f"page-{scheme}-{width}.png"))
        assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.run(CONTRAST) == []
    finally:
        browser.devtools("Emulation.clearDeviceMetricsOverride", {})
        browser.devtools("Emulation.setEmulatedMedia", {"features": []})


# Of each element that shows a text of its own: those whose colour is too near to that behind it.
CONTRAST = """
const light = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
const luminance = ([r, g, b]) => .2126 * light(r) + .7152 * light(g) + .0722 * light(b);
const rgba = text => text.match(/[\\d.]+/g).map(Number);
function behind(e) {
    for (; e; e = e.parentElement) {
        const c = rgba(getComputedStyle(e).backgroundColor);
        if (c.length === 3 || c[3] > 0)
            return c;
    }
    return [255, 255, 255];
}
const bad = [];
for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility() || ["SCRIPT", "OPTION"].includes(e.tagName))
        continue;
    const a = luminance(rgba(getComputedStyle(e).color)), b = luminance(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5)
        bad.push([e.tagName, e.textContent.slice(0, 20), ratio]);
}
return bad;
"""
