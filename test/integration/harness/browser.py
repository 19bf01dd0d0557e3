"""A headless Chromium, and a page in it."""

import base64
import contextlib
import json

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from harness.system import eventually

# Its sandbox needs privileges that root on a build machine has not; /dev/shm may be small there.
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--no-first-run", "--disable-background-networking", "--disable-component-update")


class Browser:
    def __init__(self, width=1200, height=1000, scheme="light"):
        options = Options()
        for argument in (*ARGUMENTS, f"--window-size={width},{height}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.devtools = self.driver.execute_cdp_cmd
        self.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def log_in(self, user, password):
        """From now on every request says who it is from, as after the dialog that a browser shows."""
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.devtools("Network.enable", {})
        self.devtools("Network.setExtraHTTPHeaders", {"headers": {"Authorization": f"Basic {word}"}})

    def open(self, url):
        self.driver.get(url)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.find(selector).text

    def wait_text(self, selector, wanted, timeout=30):
        """The element's text, once it holds what is wanted; the page draws its rows anew at any time."""
        def holds():
            with contextlib.suppress(Exception):
                text = self.text(selector)
                return text if wanted in text else None
        return eventually(holds, f"{selector} shows {wanted!r}", timeout)

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def complaints(self):
        """What the console holds: script errors, what the Content-Security-Policy stopped."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requested(self):
        """The URLs that have been asked for since the last call."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
