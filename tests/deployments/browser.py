"""A real headless Chromium that waits for what a page shows, clicks, and takes pictures."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

WIDTH, HEIGHT = 1280, 900
MOST_BYTES = 150_000
LOOK_EVERY_SECONDS = 0.2


def chromium() -> str | None:
    """The browser's program, where there is one."""
    return shutil.which("chromium") or shutil.which("google-chrome")


class Page:
    """One tab, driven over Chromium's own protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.size = (WIDTH, HEIGHT)

    def open(self, url: str, height: int = HEIGHT) -> None:
        """Go to a page, in a window of that height."""
        self.resize(WIDTH, height)
        self._ask("Page.navigate", url=url)

    def resize(self, width: int, height: int = HEIGHT) -> None:
        """Give the window a size; the page stays."""
        self.size = (width, height)
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    @property
    def beyond_the_edge(self) -> list[str]:
        """What the page has beyond the window's right edge, or behind a bar that scrolls it."""
        found = self.run(
            "[...document.querySelectorAll('h1,h2,h3,p,li,pre,img,table')].filter(e => {"
            "const b = e.getBoundingClientRect(), p = e.parentElement;"
            "return b.width && (b.right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1 "
            "|| b.right > p.getBoundingClientRect().right + 1); })"
            ".map(e => `${e.tagName}: ${(e.innerText || e.alt || '').slice(0, 80)}`)"
        )
        return list(found or [])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, script: str, what: str, seconds: float = 45) -> Any:
        """The value of an expression as soon as it is truthy."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}; the page says: {self.text}")
            time.sleep(LOOK_EVERY_SECONDS)
        return value

    def shows(self, *texts: str) -> None:
        """Wait until the page shows all these texts."""
        for text in texts:
            self.wait_for(f"document.body?.innerText.includes({json.dumps(text)})", repr(text))

    def shows_pictures(self, count: int) -> None:
        """Wait until that many ``data:`` pictures stand on the page, decoded, with a size."""
        self.wait_for(
            "[...document.images].filter(i => i.src.startsWith('data:') && i.complete "
            f"&& i.naturalWidth > 50).length >= {count}",
            f"{count} pictures",
        )

    def in_view(self, text: str) -> bool:
        """Whether an element that says exactly this stands within the window."""
        return bool(
            self.run(
                "[...document.querySelectorAll('*')].some(e => "
                f"e.innerText?.trim() === {json.dumps(text)} && "
                "e.getBoundingClientRect().top >= 0 && "
                "e.getBoundingClientRect().bottom <= innerHeight)"
            )
        )

    def click(self, text: str, tag: str = "*") -> None:
        """Click the innermost element that says exactly this."""
        found = (
            f"[...document.querySelectorAll({json.dumps(tag)})]"
            f".filter(e => e.innerText?.trim() === {json.dumps(text)}).at(-1)"
        )
        spot = self.wait_for(
            f"(() => {{ const e = {found}; if (!e?.getClientRects().length) return null;"
            # of a link over two lines the middle may be beside it
            "e.scrollIntoView({block: 'center'}); const b = e.getClientRects()[0];"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()",
            f"something to click that says {text!r}",
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._ask(
                "Input.dispatchMouseEvent",
                type=kind,
                x=spot[0],
                y=spot[1],
                button="left",
                clickCount=1,
            )

    def follow(self, link: str, shown: str) -> None:
        """Click a link until its page shows; one that is still loading moves under the mouse."""
        for _ in range(3):
            try:
                self.click(link, "a")
                self.wait_for(f"document.body?.innerText.includes({json.dumps(shown)})", shown, 15)
            except AssertionError:
                continue
            break
        self.shows(shown)

    @property
    def text(self) -> str:
        """All that the page says."""
        return str(self.run("document.body?.innerText") or "")

    @property
    def errors(self) -> list[str]:
        """Error toasts and error pages that are shown."""
        toasts = self.run(
            "[...document.querySelectorAll('[data-sonner-toast][data-type=error],[role=alert]')]"
            ".map(e => e.innerText)"
        )
        said = ["Something went wrong"] if "Something went wrong" in self.text else []
        return [*(toasts or []), *said]

    def picture(self, file: Path) -> None:
        """Keep a picture of the window, with few enough colours to be small."""
        from PIL import Image

        data = base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
        image = Image.open(io.BytesIO(data)).convert("RGB")
        for colours in (256, 64, 16):
            image.quantize(colours).save(file, optimize=True)
            if file.stat().st_size < MOST_BYTES:
                return
        raise ValueError(f"{file} has {file.stat().st_size} bytes; {MOST_BYTES} are allowed")

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(timeout=60))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """One tab of a browser of our own, gone at the end of the block."""
    program = chromium()
    assert program is not None
    process = subprocess.Popen(
        [
            *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run"),
            *("--disable-background-networking", "--force-prefers-reduced-motion"),
            *(f"--user-data-dir={profile}", "about:blank"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_tab(profile), max_size=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(20)


def _tab(profile: Path) -> str:
    import urllib.request

    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            port = port_file.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                tabs = [each for each in json.load(answer) if each["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        except (OSError, IndexError):
            pass
        time.sleep(LOOK_EVERY_SECONDS)
    raise TimeoutError("Chromium did not start")
