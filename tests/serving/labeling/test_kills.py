"""A server that is killed again and again, between clicks and during them, loses no label and counts none twice."""

from __future__ import annotations

import http.client
import itertools
import json
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

import polars as pl
import pytest

import polysense
from polysense.serving.labeling.server import serve_labeling
from polysense.workflows.labeling.store import JOURNAL

KILLS = 50
CLASSES = ["good", "bad"]


def serve(folder: Path, port: int) -> None:
    with polysense.label(
        folder / "table.csv", target="mood", classes=CLASSES, output=folder / "labels", strategy="off"
    ) as session:
        serve_labeling(session, port=port)


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
        raise SystemExit

    def run(self) -> None:
        row = self.until_answered("/api/next", self.who)["row"]
        for number in itertools.count():
            body = {"id": f"{self.who['annotator']} {number:06}", "row": row["row"], "key": row["key"], "kind": "label"}
            value = CLASSES[number % 2]
            row = self.until_answered("/api/decide", {**self.who, **body, "value": value})["row"]
            self.confirmed[body["id"]] = value
            assert row is not None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fifty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    pl.DataFrame({"text": [f"line {number} of a long story" for number in range(20_000)]}).write_csv(
        tmp_path / "table.csv"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = multiprocessing.get_context("fork")
    server = processes.Process(target=serve, args=(tmp_path, port))
    server.start()
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
        server = processes.Process(target=serve, args=(tmp_path, port))
        server.start()
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
