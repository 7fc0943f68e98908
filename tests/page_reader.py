"""A browser on a page, and what a reader does with it; the tests of the page say what should come of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")

# colours that text is seen in: its own, and of the nearest ancestor that has a ground; alpha is mixed in
CONTRASTS = """
const parts = (colour) => { const c = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  c.clearRect(0, 0, 1, 1); c.fillStyle = colour; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
const light = (rgb) => { const [r, g, b] = rgb.map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = (element) => { for (let e = element; e; e = e.parentElement) {
  const [r, g, b, a] = parts(getComputedStyle(e).backgroundColor); if (a === 255) return [r, g, b]; }
  return [255, 0, 255]; };
for (const details of document.querySelectorAll("details:not(.menu)")) details.open = true;
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || element.closest("script, style, svg") || !element.checkVisibility()) continue;
  const [r, g, b, a] = parts(getComputedStyle(element).color), under = ground(element);
  const ink = [r, g, b].map((v, i) => v * a / 255 + under[i] * (1 - a / 255));
  const [x, y] = [light(ink), light(under)].sort((p, q) => q - p);
  found.push([(x + 0.05) / (y + 0.05), walker.currentNode.data.trim()]);
}
return found;
"""


@contextmanager
def browsing(profile: Path) -> Iterator[Reader]:
    """Yields a reader in a headless browser of its own, or skips the test, saying so, where there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    helper = shutil.which("chromedriver")
    if browser is None or helper is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} with chromedriver is installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(helper))
    try:
        yield Reader(driver)
    finally:
        driver.quit()


class Reader:
    """See the module; `driver` is selenium's."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, fragment: str = "", *, width: int = 1280, dark: bool = False) -> Reader:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri() + fragment)
        return self

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def column(self, table: str, place: int) -> list[str]:
        """Returns the texts of a table's shown cells in a column (from 1), the first line of each."""
        # tables out of view are not laid out, and then may have no inner text
        self.run("for (const s of document.querySelectorAll('section')) s.style.contentVisibility = 'visible'")
        script = """return [...document.querySelectorAll(`${arguments[0]} tbody tr`)].filter((r) => r.checkVisibility())
            .map((r) => r.cells[arguments[1] - 1].innerText.split("\\n")[0].trim())"""
        return list(self.run(script, table, place))

    def sort(self, table: str, place: int) -> str | None:
        """Clicks a heading and returns what it says of its order."""
        self.run("arguments[0].click()", self.one(f"{table} thead th:nth-child({place}) button"))
        return self.order(table, place)

    def order(self, table: str, place: int) -> str | None:
        said: str | None = self.one(f"{table} thead th:nth-child({place})").get_attribute("aria-sort")
        return said

    def choose(self, facet: str, *names: str) -> None:
        script = """const box = [...document.querySelectorAll(`#filters input[data-facet=${arguments[0]}]`)]
            .find((box) => box.dataset.name === arguments[1]); box.click()"""
        for name in names:
            self.run(script, facet, name)

    def shown(self) -> list[str]:
        script = (
            "return [...document.querySelectorAll('section.table')].filter((s) => !s.hidden).map((s) => '#' + s.id)"
        )
        return list(self.run(script))

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, script: str) -> int:
        """Presses Tab until the focused element `e` fulfils the expression; returns how often."""
        for count in range(1, 80):
            self.press("\ue004")
            if self.run(f"const e = document.activeElement; return Boolean({script})"):
                return count
        raise AssertionError(f"no Tab leads to {script}")

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Returns the addresses asked for since the page was opened, less those that the page's policy stopped."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        failed = [m["params"] for m in messages if m["method"] == "Network.loadingFailed"]
        stopped = {params["requestId"] for params in failed if params.get("blockedReason") == "csp"}
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent if params["requestId"] not in stopped]
