"""A page in headless Chromium with real mouse, touch and keys, through its debugging pipe."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

BROWSER = shutil.which("chromium")
KEYS = {"Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}
#: The browser reads its orders from descriptor 3 and answers to 4.
START = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One open page; `complaints` and `requests` gather what it logs and asks of the network."""

    def __init__(self, pipe_in, pipe_out):
        self._in, self._out, self._number, self._rest = pipe_in, pipe_out, 0, b""
        self._session = None
        self.complaints, self.requests = [], []

    def send(self, method, **params):
        """One command, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]
            self._note(found)

    def _read(self):
        while b"\0" not in self._rest:
            part = os.read(self._out, 1 << 16)
            assert part, "the browser is gone"
            self._rest += part
        text, self._rest = self._rest.split(b"\0", 1)
        return json.loads(text)

    def _note(self, event):
        method, params = event["method"], event["params"]
        if method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.complaints.append(params)
        elif method == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith("data:"):
                self.requests.append(address)

    def open(self, address, width, height):
        """Go to an address in a window of that size."""
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        self.send("Page.navigate", url=address)

    def resize(self, width, height):
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def ask(self, expression):
        """The value of an expression of JavaScript, or what its promise comes to."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression, seconds=10):
        """Wait for an expression to be true."""
        stop = time.monotonic() + seconds
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < stop, f"never: {expression}"
            time.sleep(0.02)

    def mouse(self, kind, x, y, **more):
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x, y):
        self.mouse("mouseMoved", x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def touch(self, kind, *places):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def press(self, key):
        text = {"text": key} if len(key) == 1 else {}
        code = KEYS.get(key, ord(key[0]))
        self.send(
            "Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text
        )
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


def said_by(page, driver, folder, width):
    """What a script at the end of a page says in `<pre id="said">`; the page logs nothing."""
    copy = folder / "copy.html"
    copy.write_text(page.read_text().replace("</body>", driver + "</body>"))
    found = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900",
            "--virtual-time-budget=5000", "--dump-dom", copy.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in found.stderr  # where the page's errors would stand
    return json.loads(re.search(r'<pre id="said">(.*?)</pre>', found.stdout, re.DOTALL)[1])


@contextlib.contextmanager
def browse(path, folder, width=1400, height=900):
    """Open a file; the browser's own files go to `folder`."""
    read_here, write_there = os.pipe()
    read_there, write_here = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable, "-c", START, str(read_there), str(write_there), BROWSER, "--headless",
            "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", "about:blank",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=(read_there, write_there),
    )  # fmt: skip
    os.close(read_there)
    os.close(write_there)
    page = Page(write_here, read_here)
    try:
        page.open(path.as_uri(), width, height)
        yield page
        page._session = None
        page.send("Browser.close")
    finally:
        process.kill()
        process.wait()
        os.close(write_here)
        os.close(read_here)
