"""Time from a click on the labeling page to the next row, as its browser waits for it.

    python benchmarks/labeling.py [--rows 50000] [--clicks 500] [--strategy auto|off]

A made table is labeled over HTTP on the loopback interface, one request after the other: a decision is sent, brought to
the disk, and answered with the next row. Printed are the median and the 95th percentile in milliseconds, of all clicks
and of the first and the last hundred, and the time of a search.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import uvicorn

import polysense
from polysense.serving.labeling.app import labeling_app

WORDS = [f"word{number}" for number in range(16)]
CLASSES = ["good", "bad", "odd"]


def made_table(num_rows: int) -> pl.DataFrame:
    """Texts, numbers and categories."""
    draws = np.random.default_rng(0)
    words = np.array(WORDS)[draws.integers(0, len(WORDS), (num_rows, 8))]
    return pl.DataFrame(
        {
            "text": [f"{number}: {' '.join(row)}" for number, row in enumerate(words)],
            "weight": draws.normal(size=num_rows).round(3),
            "height": draws.normal(size=num_rows).round(3),
            "color": words[:, 0],
        }
    )


class Page:
    """What a browser asks, over one connection that stays open."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc)
        self._who = {"annotator": "ann", "tab": "benchmark"}
        self._headers = {"Content-Type": "application/json"}
        self._headers["X-Token"] = self._ask("GET", "/api/session")["token"]

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> dict:
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def next(self) -> dict:
        """The next row."""
        return self._ask("POST", "/api/next", self._who)["row"]

    def decide(self, row: dict, number: int) -> dict:
        """Labels a row, and gives the next one."""
        value = CLASSES[sum(map(ord, str(row["cells"][3]["texts"]))) % len(CLASSES)]
        body = {"id": f"decision {number}", "row": row["row"], "key": row["key"], "kind": "label", "value": value}
        return self._ask("POST", "/api/decide", {**self._who, **body})["row"]

    def reconnect(self) -> None:
        """Opens the connection anew, which a server closes that hears nothing for a while."""
        self._connection.close()

    def search(self, text: str) -> None:
        """Searches all rows."""
        self._ask("GET", f"/api/search?annotator=ann&text={text}")


def milliseconds(seconds: list[float]) -> str:
    """Median and 95th percentile."""
    return f"{1000 * np.median(seconds):6.1f} {1000 * np.quantile(seconds, 0.95):6.1f}"


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--clicks", type=int, default=500)
    parser.add_argument("--strategy", default="auto")
    settings = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        made_table(settings.rows).write_csv(table)
        begun = time.perf_counter()
        with polysense.label(
            table, target="mood", classes=CLASSES, output=Path(folder) / "labels", strategy=settings.strategy
        ) as session:
            print(
                f"{settings.rows:,} rows, strategy {settings.strategy}: opened in {time.perf_counter() - begun:.1f} s"
            )
            config = uvicorn.Config(labeling_app(session), port=0, log_level="error", lifespan="off")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run)
            thread.start()
            while not server.started:
                time.sleep(0.01)
            try:
                port = server.servers[0].sockets[0].getsockname()[1]
                _measure(Page(f"http://127.0.0.1:{port}/"), settings.clicks, session)
            finally:
                server.should_exit = True
                thread.join()


def _measure(page: Page, clicks: int, session: polysense.api.LabelingSession) -> None:
    row, seconds = page.next(), []
    while session.assistant is not None and session.assistant.state()["note"]:
        time.sleep(0.1)  # the features, which are made once
    page.reconnect()
    for number in range(clicks):
        begun = time.perf_counter()
        row = page.decide(row, number)
        seconds.append(time.perf_counter() - begun)
    print("milliseconds from a click to the next row: median, 95th percentile")
    print(f"  all {clicks} clicks   {milliseconds(seconds)}")
    print(f"  the first 100   {milliseconds(seconds[:100])}")
    print(f"  the last 100    {milliseconds(seconds[-100:])}")
    searches = []
    for text in ("word3", "49999", "nothing"):
        begun = time.perf_counter()
        page.search(text)
        searches.append(time.perf_counter() - begun)
    print(f"  a search        {milliseconds(searches)}")
    if session.assistant is not None:
        print(f"the last update of the model took {session.assistant.state()['seconds']:.2f} s")


if __name__ == "__main__":
    main()
