"""The application: requests of the labeling page, answered by a session.

Only this machine's browsers may ask. The Host header must name the loopback interface, so that no site on the web
reaches the server under a name of its own (DNS rebinding); whatever changes something needs a token that the page was
handed, so that no other site's form can send it. Files are answered by row, column and place; no request names a path.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from polysense.core.display import DisplayFile
from polysense.core.json import to_json
from polysense.errors import DecodeError, PolysenseError
from polysense.workflows.labeling.session import LabelingSession

__all__ = ["HOSTS", "labeling_app"]

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names of the loopback interface."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_STATIC = {
    "": ("index.html", "text/html; charset=utf-8"),
    "app.js": ("app.js", "text/javascript; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
}
_LARGEST_BODY = 2**20


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    annotator: str = Field(max_length=200)
    tab: str = Field(min_length=4, max_length=100)


class _Decision(_Body):
    id: str = Field(max_length=200)
    row: int
    key: str = Field(max_length=500)
    kind: Literal["label", "skip", "unsure", "adjudicate"]
    value: Any = None
    seconds: float | None = None
    follow: bool = True


class _Undo(_Body):
    id: str = Field(max_length=200)


def labeling_app(session: LabelingSession) -> FastAPI:
    """The application of a session.

    Args:
        session: Open for as long as the application is used.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    token = secrets.token_urlsafe(32)

    @app.middleware("http")
    async def guarded(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
        host = request.headers.get("host", "").rpartition(":")
        name = host[0] if host[1] and host[2].isdecimal() else request.headers.get("host", "")
        refusal = None
        if name.lower() not in HOSTS:
            refusal = f"found the host {name[:80]!r}, expected {' or '.join(HOSTS)}"
        elif request.method not in ("GET", "HEAD"):
            if request.headers.get("x-token", "") != token:
                refusal = "the token is not this server's; reload the page"
            elif int(request.headers.get("content-length") or _LARGEST_BODY + 1) > _LARGEST_BODY:
                refusal = f"expected a body of at most {_LARGEST_BODY:,} bytes, with its length"
        response = await respond(request) if refusal is None else JSONResponse({"error": refusal}, status_code=403)
        for header, value in _HEADERS.items():
            response.headers.setdefault(header, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.exception_handler(PolysenseError)
    def explained(request: Request, error: Exception) -> Response:
        del request
        status = error.http_status if isinstance(error, PolysenseError) else 500
        return JSONResponse({"error": str(error)}, status_code=status)

    @app.exception_handler(OSError)
    def unwritten(request: Request, error: Exception) -> Response:
        del request
        reason = getattr(error, "strerror", None) or str(error)
        return JSONResponse({"error": f"the label could not be written and is not saved: {reason}"}, status_code=507)

    def static(name: str) -> Callable[[], Response]:
        file, media_type = _STATIC[name]
        content = resources.files("polysense.serving.labeling").joinpath("static", file).read_bytes()
        return lambda: Response(content, media_type=media_type)

    for name in _STATIC:
        app.add_api_route(f"/{name}", static(name), methods=["GET"], response_class=Response)

    @app.get("/api/session")
    def opened() -> dict[str, Any]:
        header = session.header
        return {
            "token": token,
            "table": session.table.name,
            "target": header.target,
            "task": header.task,
            "control": session.editor.control,
            "settings": to_json(session.editor.settings),
            "annotator": session.settings.annotator,
            "guideline": session.settings.guideline,
            "num_rows": len(session.table),
        }

    @app.post("/api/next")
    def following(body: _Body) -> dict[str, Any]:
        return _following(body)

    @app.post("/api/decide")
    def decided(body: _Decision) -> dict[str, Any]:
        decision = session.decide(
            body.row,
            body.key,
            body.kind,
            id=body.id,
            annotator=body.annotator,
            value=body.value,
            seconds=body.seconds,
        )
        return {"saved": decision.id, **(_following(body) if body.follow else {})}

    @app.post("/api/undo")
    def undone(body: _Undo) -> dict[str, Any]:
        decision = session.undo(id=body.id, annotator=body.annotator)
        if decision is None:
            return {"row": None}
        row = session.row_of(decision.key)
        return {"row": None if row is None else session.row(row, body.annotator, body.tab)}

    @app.get("/api/row/{row}")
    def shown(row: int, annotator: str, tab: str) -> dict[str, Any]:
        return {"row": session.row(row, annotator, tab)}

    @app.get("/api/search")
    def matching(annotator: str, text: Annotated[str, Query(max_length=1000)] = "") -> dict[str, Any]:
        return {"rows": session.search(text, annotator)}

    @app.get("/api/history")
    def history(annotator: str) -> dict[str, Any]:
        return {"rows": session.history(annotator)}

    @app.get("/api/progress")
    def progress(annotator: str) -> dict[str, Any]:
        return session.progress(annotator)

    @app.get("/api/agreement")
    def agreed() -> dict[str, Any]:
        return {**asdict(session.agreement()), "differing": session.differing()}

    @app.get("/media/{row}/{column}/{index}")
    def file(
        row: int, column: int, index: int, fallback: bool = False, range: Annotated[str, Header()] = ""
    ) -> Response:
        try:
            shown = session.displays.file(row, column, index, fallback=fallback)
        except DecodeError as error:
            return PlainTextResponse(f"can't be read: {error}", status_code=422)
        return _file_response(shown, range)

    def _following(body: _Body) -> dict[str, Any]:
        row = session.next(body.annotator, body.tab)
        return {
            "row": row,
            "preload": session.preload(body.annotator),
            "progress": session.progress(body.annotator),
        }

    return app


def _file_response(file: DisplayFile, requested: str) -> Response:
    headers = {"Cache-Control": "private, max-age=600", "Content-Security-Policy": "default-src 'none'; sandbox"}
    if file.path is not None:
        return FileResponse(Path(file.path), media_type=file.media_type, headers=headers)
    data = file.data or b""
    part = _part(requested, len(data))
    headers["Accept-Ranges"] = "bytes"
    if part is None:
        return Response(data, media_type=file.media_type, headers=headers)
    start, stop = part
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Response(data[start:stop], status_code=206, media_type=file.media_type, headers=headers)


def _part(requested: str, size: int) -> tuple[int, int] | None:
    """The start and the stop of one range of bytes; None where all is requested, or what can't be had."""
    unit, _, span = requested.partition("=")
    first, dash, last = span.strip().partition("-")
    if (
        unit.strip() != "bytes"
        or not dash
        or "," in span
        or not (first.isdecimal() or (not first and last.isdecimal()))
    ):
        return None
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    stop = min(size, int(last) + 1) if last.isdecimal() else size
    return (int(first), stop) if int(first) < stop else None
