"""Starts the real binary, learns from its standard output where it listens, and stops it."""

import os
import queue
import subprocess
import threading
import urllib.request

START_SECONDS = 30


class Gateway:
    def __init__(self, arguments, folder, name):
        self._log = open(folder / f"{name}.log", "w+", encoding="utf-8")  # noqa: SIM115
        self.url = self.admin = None
        self._process = subprocess.Popen(
            [os.environ["MILLSTREAM_BIN"], *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        lines = queue.Queue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        try:
            self._wait_until_ready(lines)
        except BaseException:
            self._process.kill()
            raise

    def _read(self, lines):
        for line in self._process.stdout:
            lines.put(line.strip())
        lines.put(None)

    def _wait_until_ready(self, lines):
        while (line := lines.get(timeout=START_SECONDS)) != "ready":
            assert line is not None, f"the gateway ended before it was ready:\n{self.log()}"
            word, _, rest = line.partition(" ")
            if word == "listening" and self.url is None:
                self.url = rest
            elif word == "admin":
                self.admin = rest
        assert self.url, "no `listening` line before `ready`"

    @property
    def base_url(self):
        return f"{self.url}/v1"

    def log(self):
        self._log.flush()
        self._log.seek(0)
        return self._log.read()

    def metrics(self):
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def stop(self):
        """SIGTERM, and the exit code it led to."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._log.close()


CONFIG = """
[server]
listen = ["127.0.0.1:0"]
workers = 2

[stream]
keep_alive = "1s"
first_token_timeout = "5s"
idle_timeout = "5s"

[admin]
listen = "127.0.0.1:0"

# Many tests in a row make one upstream fail, and each wants to ask it: once more at most, and at once.
[retry]
same_target_max = 1
backoff = "1ms"
budget_floor = 1000000

[health]
breaker_failures = 10000
breaker_ratio = 1.0
throttle = "500ms"

[drain]
delay = "0s"
timeout = "1s"

[[keys]]
name = "everything"
key_env = "SDK_KEY"

[[keys]]
name = "narrow"
key_env = "SDK_KEY_NARROW"
models = ["m-allowed"]

[[keys]]
name = "limited"
key_env = "SDK_KEY_LIMITED"
requests_per_minute = 60

[[upstreams]]
name = "mock"
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
key_env = "SDK_KEY_UPSTREAM"
protocol = "http1"
include_usage = true

[[upstreams]]
name = "gone"
kind = "openai"
base_url = "http://127.0.0.1:{closed_port}/v1"

[[routes]]
model = "m-fallback"
targets = [{{ upstream = "gone" }}, {{ upstream = "mock", model = "m-renamed" }}]

[[routes]]
model = "m-gone"
targets = [{{ upstream = "gone" }}]

[[routes]]
model = "m-*"
targets = [{{ upstream = "mock" }}]
"""

KEYS = {
    "SDK_KEY": "sk-test-everything",
    "SDK_KEY_NARROW": "sk-test-narrow-one",
    "SDK_KEY_LIMITED": "sk-test-limited-one",
    "SDK_KEY_UPSTREAM": "sk-upstream-secret",
}
