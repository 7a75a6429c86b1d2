"""A real Chromium whose only way out is a proxy that notes what pages ask for."""

import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers every request for `page.test` with the page, and notes all requests."""

    page = b""
    asked: list[str] = []  # noqa: RUF012 - emptied by the fixture

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(502)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Browser:
    """Chromium whose only way out is a proxy that notes what is asked for."""

    def __init__(self, port: int, profile: Path) -> None:
        self._port, self._profile = port, profile
        self.told = ""

    def load(self, text: str, fragment: str = "") -> str:
        """Return the document as it is after the page's script, and note its messages."""
        Proxy.page = text.encode()
        Proxy.asked.clear()
        done = subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-default-apps", "--disable-extensions", "--window-size=1280,900",
                f"--user-data-dir={self._profile}", f"--proxy-server=127.0.0.1:{self._port}",
                "--enable-logging=stderr", "--dump-dom", f"http://page.test/page.html{fragment}",
            ],
            capture_output=True, text=True, timeout=240, check=True,
        )  # fmt: skip
        self.told = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
        return done.stdout

    def asked_by_pages(self) -> list[str]:
        """Return what was asked for, but for what Chromium asks by itself: its makers, and pages for an icon."""
        own = r"\.(google|googleapis|gstatic|gvt1)\.com|//page\.test/favicon\.ico$"
        return [item for item in Proxy.asked if not re.search(own, item)]


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Return a context whose value is a browser with the profile folder `profile`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Browser(server.server_address[1], profile)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
