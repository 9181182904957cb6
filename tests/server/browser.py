"""A headless Chromium, driven by Selenium and Debian's chromedriver."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

__all__ = ["Browser"]

_ARGUMENTS = ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "hide-scrollbars")
_LIMIT_S = 180.0  # reached only where something is wrong: what it waits for may start a process


class Browser:
    """One page of a browser, with further options of its command line. A context manager; skips where there is none."""

    def __init__(self, profile: Path, *options: str) -> None:
        webdriver: Any = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
        browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        driver = shutil.which("chromedriver")
        if browser is None or driver is None:
            pytest.skip("no Chromium and chromedriver on the path")
        settings = webdriver.ChromeOptions()
        settings.binary_location = browser
        for argument in (*_ARGUMENTS, *options, f"user-data-dir={profile}"):
            settings.add_argument(argument)
        settings.set_capability("goog:loggingPrefs", {"browser": "SEVERE"})
        self.driver = webdriver.Chrome(settings, webdriver.ChromeService(driver))

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.driver.quit()

    @property
    def problems(self) -> list[str]:
        """What the page has complained about since this was asked, such as a refusal by its own security policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def open(self, url: str, *, width: int, height: int) -> None:
        """Show a page at a size in CSS pixels."""
        self.driver.get("about:blank")
        assert self.problems is not None  # those of the page before are forgotten
        self.resize(width, height)
        self.driver.get(url)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.driver.execute_script(f"return {expression}")

    def wait_for(self, expression: str) -> Any:
        """The first value of an expression that is true."""
        from selenium.common.exceptions import JavascriptException
        from selenium.webdriver.support.wait import WebDriverWait

        # A page that is just being replaced has nothing of what the expression names.
        wait = WebDriverWait(self.driver, _LIMIT_S, 0.05, ignored_exceptions=[JavascriptException])
        return wait.until(lambda _: self.evaluate(expression), f"not true in the page: {expression}")

    def press(self, text: str) -> None:
        """Type into what has the focus; `selenium.webdriver.Keys` names the other keys."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(text).perform()

    def call(self, method: str, **parameters: Any) -> Any:
        """A command of Chromium's own."""
        return self.driver.execute_cdp_cmd(method, parameters)
