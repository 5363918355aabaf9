"""One local server and one headless browser, cut off from every other host, for all tests of the built site."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
import time
from pathlib import Path

import axe_core_python
import pytest

from tests.conftest import find_browser

ERRORS = (400, 599)
AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
ASK_AXE = """
  const done = arguments[arguments.length - 1];
  axe.run(document, {resultTypes: ['violations']}).then(result => done(
    result.violations.filter(found => ['serious', 'critical'].includes(found.impact)).map(found => [
      found.id, found.nodes.length,
      found.nodes[0].html.slice(0, 200) + ' ' + found.nodes[0].failureSummary.replace(/\\s+/g, ' '),
    ])), problem => done([['axe-core itself', 1, String(problem)]]))"""
MOUNT = "/some/path/"  # the site must work below any address


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve files below the mount, nothing elsewhere, and say nothing."""

    def translate_path(self, path: str) -> str:
        """Find the file of an address."""
        return super().translate_path("/" + path.removeprefix(MOUNT) if path.startswith(MOUNT) else "/nothing")

    def log_message(self, *_: object) -> None:
        """Drop the access log."""


class Visitor:
    """A reader with a browser: opens pages of the site and notes what went wrong on the way."""

    def __init__(self, driver, base: str) -> None:
        self.driver, self.base = driver, base

    def open(self, page: str, *, until: str = "return document.readyState === 'complete'") -> None:
        """Open a page and wait until a script says true (20 s at most)."""
        self.driver.get(self.base + page)
        self.wait(until)

    def wait(self, script: str, seconds: float = 20.0) -> None:
        """Wait until a script returns something true; fail with the script's text otherwise."""
        end = time.monotonic() + seconds
        while not self.driver.execute_script(script):
            assert time.monotonic() < end, f"{self.driver.current_url}: still not true after {seconds} s: {script}"
            time.sleep(0.05)

    def size(self, width: int, height: int) -> None:
        """Give the window the size of a phone or of a desk."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def mode(self, name: str) -> None:
        """Show the page light or dark."""
        self.driver.execute_script("document.documentElement.dataset.theme = arguments[0]", name)

    def barriers(self) -> list[str]:
        """Return what axe-core calls serious or critical on the page, one line for each rule and kind of element."""
        if not self.driver.execute_script("return 'axe' in window"):
            self.driver.execute_script(AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(ASK_AXE)
        return [f"{rule}: {count} times, such as {example}" for rule, count, example in found]

    def complaints(self) -> list[str]:
        """Return console errors, failed requests and requests to other hosts since the last call."""
        found = [f"console: {e['message']}" for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            method, params = message["method"], message["params"]
            if method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith((self.base, "data:", "blob:", "about:", "chrome:")):
                    found.append(f"request to another host: {url}")
            elif method == "Network.responseReceived" and ERRORS[0] <= params["response"]["status"] <= ERRORS[1]:
                found.append(f"status {params['response']['status']}: {params['response']['url']}")
            elif method == "Network.loadingFailed" and not params.get("canceled"):
                found.append(f"request failed: {params.get('errorText')}")
        return [line for line in found if "favicon.ico" not in line]


@pytest.fixture(scope="session")
def base_url(site: Path):
    """Serve the built site on a free port of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{MOUNT}"
    server.shutdown()


@pytest.fixture(scope="session")
def visitor(base_url: str):
    """Start the browser once; no name but 127.0.0.1 resolves in it."""
    from selenium import webdriver

    found = find_browser()
    if found is None:
        assert not os.environ.get("LATENTBOOK_REQUIRE_BROWSER"), "Chromium or its driver is not installed"
        pytest.skip("Chromium or its driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
        "--hide-scrollbars", "--force-prefers-reduced-motion",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1]))
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(120)
    yield Visitor(driver, base_url)
    driver.quit()
