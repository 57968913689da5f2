"""Marionette, the protocol by which Mozilla's own tests drive their programs: JSON with a length."""
import json
import socket
import time


class Marionette:
    """Runs scripts inside the program, with all its rights."""

    def __init__(self, port, patience=90):
        deadline = time.monotonic() + patience
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.socket.settimeout(patience)
        self.rest = b""
        self.number = 0
        self._read()
        self.call("WebDriver:NewSession", {"capabilities": {}})
        self.call("Marionette:SetContext", {"value": "chrome"})
        self.call("WebDriver:SetTimeouts", {"script": patience * 1000})

    def _read(self):
        while b":" not in self.rest:
            self._more()
        length, self.rest = self.rest.split(b":", 1)
        while len(self.rest) < int(length):
            self._more()
        text, self.rest = self.rest[: int(length)], self.rest[int(length) :]
        return json.loads(text)

    def _more(self):
        octets = self.socket.recv(65_536)
        if not octets:
            raise EOFError("the program is gone")
        self.rest += octets

    def call(self, name, parameters):
        self.number += 1
        text = json.dumps([0, self.number, name, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        while True:
            kind, number, error, result = self._read()
            if kind == 1 and number == self.number:
                break
        if error:
            raise RuntimeError(f"{name}: {error['message']}\n{error.get('stacktrace', '')}")
        return result.get("value") if isinstance(result, dict) else result

    def run(self, script, *arguments):
        """A script that may wait; what it returns is JSON. `arguments` are its own."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            "(async (...args) => {" + script + "})(...Array.from(arguments).slice(0, -1))"
            ".then(value => done({ value: value === undefined ? null : value }),"
            " error => done({ error: `${error} ${error && error.stack}` }));"
        )
        answer = self.call(
            "WebDriver:ExecuteAsyncScript",
            {"script": wrapped, "args": list(arguments), "sandbox": "system", "newSandbox": False},
        )
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]
