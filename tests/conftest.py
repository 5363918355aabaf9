"""What every test shares: one thread, and the reasons for which a test is skipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> tuple[str, str] | None:
    """Return the paths of the browser and of its driver, or None when one of them is missing."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {}
    if not (config.getoption("--slow") or os.environ.get("LATENTBOOK_SLOW")):
        reasons["slow"] = "takes long: make test-all, or pytest --slow"
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            reasons["gpu"] = "no CUDA device here"
    if find_browser() is None and not os.environ.get("LATENTBOOK_REQUIRE_BROWSER"):
        reasons["browser"] = "Chromium or its driver is not installed"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def site(root: Path) -> Path:
    """The built site; skips where it was not built, except where a browser is demanded."""
    folder = root / "_build" / "html"
    if not (folder / "index.html").exists():
        if os.environ.get("LATENTBOOK_REQUIRE_BROWSER"):
            pytest.fail("the site is not built: run make book first")
        pytest.skip("the site is not built: run make book first")
    return folder
