"""The server: who may ask, what is answered, and that a label is on the disk before it is confirmed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import polysense
from polysense.serving.labeling.app import labeling_app
from polysense.workflows.labeling.store import JOURNAL

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return tmp_path / "labels"


@pytest.fixture
def client(tmp_path: Path, labels: Path) -> Iterator[TestClient]:
    for number in range(6):
        Image.fromarray(np.full((8, 12, 3), 40 * number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "secret.txt").write_text("secret")
    pictures = [f"{number}.png" for number in range(6)] + ["secret.txt", "../outside.png", "missing.png", None]
    pl.DataFrame({"picture": pictures, "text": [HOSTILE + str(number) for number in range(10)]}).write_csv(
        tmp_path / "table.csv"
    )
    with polysense.label(
        tmp_path / "table.csv",
        target="mood",
        classes=["good", "bad"],
        output=labels,
        columns=["picture", "text"],
        strategy="off",
    ) as session:
        with TestClient(labeling_app(session), base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as page:
            page.headers["X-Token"] = page.get("/api/session").json()["token"]
            yield page


WHO = {"annotator": "ann", "tab": "tab 1"}


def decide(client: TestClient, shown: dict[str, Any], /, **changes: Any) -> Any:
    body = {
        **WHO,
        "id": f"decision {shown['row']}",
        "row": shown["row"],
        "key": shown["key"],
        "kind": "label",
        "value": "good",
    }
    return client.post("/api/decide", json={**body, **changes})


def test_a_label_is_on_the_disk_when_it_is_confirmed_and_the_next_row_comes_with_it(
    client: TestClient, labels: Path
) -> None:
    row = client.post("/api/next", json=WHO).json()["row"]
    answer = decide(client, row)
    assert answer.status_code == 200
    last = json.loads((labels / JOURNAL).read_text().splitlines()[-1])
    assert (last["row"], last["value"], last["annotator"]) == (row["row"], "good", "ann")
    assert answer.json()["row"]["row"] != row["row"]
    assert answer.json()["progress"]["labeled"] == 1
    size = (labels / JOURNAL).stat().st_size
    assert decide(client, row).json()["saved"] == "decision " + str(row["row"])  # sent again
    assert (labels / JOURNAL).stat().st_size == size


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:80", "", "127.0.0.2"]
)
def test_other_names_of_this_machine_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/session", "/media/0/0/0"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code in (400, 403)
        assert "token" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "LOCALHOST", "[::1]:8000"])
def test_names_of_the_loopback_interface_are_not(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/api/next", "/api/decide", "/api/undo"])
@pytest.mark.parametrize("token", ["", "guessed"])
def test_nothing_changes_without_the_pages_token(client: TestClient, path: str, token: str) -> None:
    assert client.post(path, json=WHO, headers={"X-Token": token}).status_code == 403


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"value": "middling"}, 422),
        ({"row": 10**9}, 422),
        ({"key": "other"}, 422),
        ({"annotator": ""}, 422),
        ({"kind": "undo"}, 422),
        ({"more": 1}, 422),
        ({"row": "many"}, 422),
        ({"value": "x" * 2**21}, 403),
    ],
)
def test_what_is_no_decision_is_refused_and_not_written(
    client: TestClient, labels: Path, changes: dict[str, Any], status: int
) -> None:
    row = client.post("/api/next", json=WHO).json()["row"]
    size = (labels / JOURNAL).stat().st_size
    assert decide(client, row, **changes).status_code == status
    assert (labels / JOURNAL).stat().st_size == size


def test_a_full_disk_confirms_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    row = client.post("/api/next", json=WHO).json()["row"]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("polysense.core.log_file.os.fsync", full)
        answer = decide(client, row)
    assert answer.status_code == 507
    assert "not saved" in answer.json()["error"]
    assert client.get("/api/progress", params={"annotator": "ann"}).json()["labeled"] == 0
    assert decide(client, row).status_code == 200


def test_files_are_had_by_row_and_column_alone(client: TestClient) -> None:
    picture = client.get("/media/2/0/0")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    part = client.get("/media/2/0/0", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, picture.content[2:6])
    for path in ("/media/0/0/1", "/media/99/0/0", "/media/-1/0/0", "/media/0/9/0", "/media/0/1/0", "/media/9/0/0"):
        assert client.get(path).status_code == 422, path
    for path in ("/media/../table.csv", "/static/app.js", "/media/0/0/table.csv", "/..%2ftable.csv"):
        assert client.get(path).status_code in (404, 422), path
    assert client.get("/media/6/0/0").status_code == 422  # the secret is no image
    assert "secret" not in client.get("/media/6/0/0").text.replace("secret.txt", "")


def test_markup_is_data_and_a_missing_file_is_told(client: TestClient) -> None:
    row = client.get("/api/row/8", params=WHO).json()["row"]
    assert row["cells"][1]["texts"] == [f"{HOSTILE}8"]
    script = client.get("/app.js").text
    for word in ("innerHTML", "insertAdjacentHTML", "outerHTML", "document.write", "eval("):
        assert word not in script
    answer = client.get("/media/8/0/0")
    assert answer.status_code == 422
    assert answer.text.startswith("can't be read: no such file")


def test_a_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/app.js", "/style.css"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text


def test_undo_search_history_progress_and_agreement(client: TestClient) -> None:
    row = client.post("/api/next", json=WHO).json()["row"]
    decide(client, row)
    decide(client, row, annotator="bob", id="decision of bob", value="bad", tab="tab 2")
    assert len(client.get("/api/agreement").json()["differing"]) == 1
    matches = client.get("/api/search", params={**WHO, "text": HOSTILE.upper()}).json()["rows"]
    assert len(matches) == 10
    assert [each["row"] for each in client.get("/api/history", params=WHO).json()["rows"]] == [row["row"]]
    undo = {**WHO, "id": "undo number 1"}
    for _ in range(2):
        assert client.post("/api/undo", json=undo).json()["row"]["row"] == row["row"]
    assert client.post("/api/undo", json={**undo, "id": "undo number 2"}).json()["row"] is None
    assert client.get("/api/agreement").json()["differing"] == []


def test_two_tabs_get_two_rows(client: TestClient) -> None:
    rows = [client.post("/api/next", json={**WHO, "tab": f"tab {number}"}).json()["row"] for number in range(11)]
    assert sorted(row["row"] for row in rows[:10]) == list(range(10))
    assert rows[10] is None
