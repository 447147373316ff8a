"""A server that is killed again and again, between clicks and during them, loses no label and counts none twice."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from labeling_servers import CLASSES, free_port, started

from polysense.workflows.labeling.store import JOURNAL

KILLS = 50


class Over(Exception):
    """Nobody answers any more."""


class Tab(threading.Thread):
    """A browser's tab: each decision is sent under one id until it is confirmed."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(daemon=True)
        self.who, self.port = {"annotator": name, "tab": f"tab of {name}"}, port
        self.confirmed: dict[str, str] = {}
        self.repeats = 0
        self.is_over = False

    def ask(self, method: str, path: str, body: object = None, token: str = "") -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            headers = {"Content-Type": "application/json", "X-Token": token}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(response.read())
            return json.loads(response.read())
        finally:
            connection.close()

    def until_answered(self, path: str, body: object) -> dict:
        while not self.is_over:
            try:
                token = self.ask("GET", "/api/session")["token"]
                return self.ask("POST", path, body, token)
            except (OSError, http.client.HTTPException):
                self.repeats += 1
                time.sleep(0.02)
        raise Over

    def run(self) -> None:
        with contextlib.suppress(Over):
            self.label()

    def label(self) -> None:
        row = self.until_answered("/api/next", self.who)["row"]
        for number in itertools.count():
            body = {"id": f"{self.who['annotator']} {number:06}", "row": row["row"], "key": row["key"], "kind": "label"}
            value = CLASSES[number % 2]
            row = self.until_answered("/api/decide", {**self.who, **body, "value": value})["row"]
            self.confirmed[body["id"]] = value
            assert row is not None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    pl.DataFrame({"text": [f"line {number} of a long story" for number in range(5_000)]}).write_csv(
        tmp_path / "table.csv"
    )
    port = free_port()
    server = started(tmp_path, port)
    tabs = [Tab(name, port) for name in ("ann", "bob")]
    for tab in tabs:
        tab.start()
    random.seed(0)
    for _ in range(KILLS):
        before = sum(len(tab.confirmed) for tab in tabs)
        while sum(len(tab.confirmed) for tab in tabs) < before + 3:
            time.sleep(0.01)
        time.sleep(random.random() * 0.05)
        os.kill(server.pid, signal.SIGKILL)
        server.join()
        server = started(tmp_path, port)
    confirmed = {id: value for tab in tabs for id, value in list(tab.confirmed.items())}
    for tab in tabs:
        tab.is_over = True
    os.kill(server.pid, signal.SIGKILL)
    server.join()
    for tab in tabs:
        tab.join()
    lines = [json.loads(line) for line in (tmp_path / "labels" / JOURNAL).read_bytes().split(b"\n")[:-1]]
    written = [line["id"] for line in lines if "id" in line]
    assert len(written) == len(set(written)), "a decision was written twice"
    assert confirmed.items() <= {line["id"]: line["value"] for line in lines if "id" in line}.items()
    assert len(confirmed) >= 3 * KILLS
    print(f"{KILLS} kills, {len(confirmed)} decisions confirmed, {sum(tab.repeats for tab in tabs)} repeated")
