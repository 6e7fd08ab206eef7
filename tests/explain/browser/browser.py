"""A browser with one page open, and what can be asked and done there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.conftest import lacking

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--font-render-hinting=none",
)
_WEB = Path(__file__).parents[3] / "web"
_AXE = _WEB / "node_modules" / "axe-core" / "axe.min.js"
_SECONDS = 20


class Browser:
    """Looks for elements by CSS selectors, and waits until they are there."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self.size(1400, 900)

    def size(self, width: int, height: int, scale: int = 1) -> None:
        """The inside of the window, in pixels; `scale` is how many of the screen's make one."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def system(self, **features: str) -> None:
        """What the system prefers: prefers_color_scheme="dark"."""
        media = [{"name": name.replace("_", "-"), "value": v} for name, v in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def open(self, page: Path, place: str = "") -> None:
        """Load a page anew, at a place such as ``#op=3``."""
        self.driver.get("about:blank")
        self.driver.get(f"{page.as_uri()}{place}")
        self.find("h1")
        self._settle()

    @property
    def place(self) -> str:
        """The part of the address behind the page's."""
        return str(self.script("return location.hash"))

    def at(self, place: str) -> None:
        """Wait until the page is at a place."""
        self.wait(lambda: self.place == place, f"the place is not {place}")
        self._settle()

    def _settle(self) -> None:
        """Let the page draw what it has heard of."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "setTimeout(() => requestAnimationFrame(() => setTimeout(done)))"
        )

    def script(self, text: str, *args: Any) -> Any:
        """What JavaScript returns."""
        return self.driver.execute_script(text, *args)

    def wait(self, condition: Any, message: str = "") -> Any:
        """Wait until `condition` gives something true; what it gives."""
        wait = WebDriverWait(self.driver, _SECONDS, 0.02, [StaleElementReferenceException])
        found = wait.until(lambda _: condition(), message)
        assert found
        return found

    def all(self, css: str) -> list[WebElement]:
        """What is there now."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def find(self, css: str, text: str = "") -> WebElement:
        """The first that has `text` in it."""

        def look() -> WebElement | None:
            return next((item for item in self.all(css) if text in item.text), None)

        element = self.wait(look, f"no {css} with '{text}'")
        assert isinstance(element, WebElement)
        return element

    def click(self, css: str, text: str = "") -> None:
        """Click in the middle of an element."""
        self.find(css, text).click()
        self._settle()

    def click_at(self, css: str, x: float, y: float) -> None:
        """Click at a point of an element: pixels from its upper left corner."""
        element = self.find(css)
        # Selenium counts from the middle.
        across, down = (element.rect[side] // 2 for side in ("width", "height"))
        chain = ActionChains(self.driver, duration=0)
        chain.move_to_element_with_offset(element, int(x - across), int(y - down))
        chain.click().perform()
        self._settle()

    def point_at(self, css: str) -> None:
        """Move the pointer over the middle of an element."""
        ActionChains(self.driver, duration=0).move_to_element(self.find(css)).perform()

    def press(self, *keys: str) -> None:
        """Type into what has the focus."""
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()
        self._settle()

    def focus(self, css: str) -> None:
        """Give the focus to an element, as the Tab key would."""
        self.script("arguments[0].focus()", self.find(css))

    def complaints(self) -> list[str]:
        """What the console has got since the last time."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """What was asked of a network or a file system since the last time."""
        messages = [json.loads(entry["message"]) for entry in self._log("performance")]
        return [
            message["message"]["params"]["request"]["url"]
            for message in messages
            if message["message"]["method"] == "Network.requestWillBeSent"
        ]

    def _log(self, kind: str) -> Any:
        return self.driver.execute("getLog", {"type": kind})["value"]

    def barriers(self) -> list[str]:
        """What axe-core finds that keeps people from using the page as it is now."""
        if not _AXE.exists():
            lacking("axe-core is not installed (make web)")
        if not self.script("return 'axe' in window"):
            self.script(_AXE.read_text())
        found = self.driver.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then(arguments[0])"
        )
        return [
            f"{rule['id']}: {node['html'][:200]} ({node['failureSummary']})"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def elements(self) -> int:
        """How many elements the page consists of."""
        return int(self.script("return document.querySelectorAll('*').length"))

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.script("return document.documentElement.scrollWidth - innerWidth"))

    def picture(self, target: Path) -> None:
        """A screenshot, as PNG."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(target))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser that keeps what it keeps in `profile`, which is empty at first."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    for name, path in programs.items():
        if path is None:
            lacking(f"{name} is not installed")
    options = Options()
    options.binary_location = str(programs["chromium"])
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with Chrome(options, Service(programs["chromedriver"])) as driver:
        yield Browser(driver)
