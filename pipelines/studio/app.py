"""The workbench's web server: pages and answers over HTTP, for one home.

What belongs here: routes, and what of a request is believed. Every request opens the published copy
anew, so it sees what the last run published and stops nobody. The only thing that is ever written
is a policy file that was not there (`policies.py`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipelines.errors import ExpectedError
from pipelines.ledger.guard import coming
from pipelines.policy import Policy, PolicyBook, PolicyError, read_policy
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse
from pipelines.studio import data, policies
from pipelines.studio.exact import Questions, page_of
from pipelines.studio.sketch import SECTIONS, DaySketch
from pipelines.whatif.frontier import turned
from solvers import InfeasibleError

_STATIC = Path(__file__).resolve().parent / "static"
_SKETCHES = 8

KNOBS: tuple[tuple[str, str, float, float, float], ...] = (
    ("ads.lambda_eff", "Efficiency against fairness", 0.0, 1.0, 0.01),
    ("ads.alpha", "Fairness: exponent of shares", 0.05, 1.0, 0.01),
    ("ads.platform_share", "Platform's part of ad pools", 0.0, 0.95, 0.01),
    ("ads.cap_fraction", "Most of a pool for one unit", 0.01, 1.0, 0.01),
    ("pulse.top_fraction", "Part of videos that are Pulse", 0.0, 0.5, 0.005),
    ("pulse.creator_share", "Creator's part of Pulse", 0.0, 1.0, 0.01),
    ("coins.normal_max", "Most of normal coins kept", 0.0, 1.0, 0.01),
    ("coins.premium_max", "Most of premium coins kept", 0.05, 1.0, 0.01),
    ("coins.max_gap", "Largest gap of the two", 0.05, 1.0, 0.01),
    ("coins.revenue_floor", "Platform keeps at least, of coins", 0.0, 0.9, 0.01),
)
"""The strongest knobs that a sketch answers for: field, what it is called, and its range."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Studio:
    """What the routes share: the home, sketches of days, and the queue of exact questions."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.questions = Questions(home)
        self._sketches: dict[tuple[date, str, float, int], DaySketch] = {}
        self._lock = Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """What readers see now."""
        with Warehouse(self.home).read_current() as con:
            yield con

    def sketch(self, day: date) -> DaySketch:
        """The day's sketch; read once as long as nothing is published and nobody pays otherwise."""
        paying = self.fresh().policies.in_force(day)
        published = self.home.published
        stamp = published.stat() if published.exists() else None
        # a lake has no copy to look at: what it says may be a minute old
        when = stamp.st_mtime if stamp else float(time.monotonic() // 60)
        key = (day, paying.hash, when, stamp.st_ino if stamp else 0)
        with self._lock:
            if key not in self._sketches:
                with self.reading() as con:
                    found = DaySketch.of(con, day, paying)
                while len(self._sketches) >= _SKETCHES:
                    self._sketches.pop(next(iter(self._sketches)))
                self._sketches[key] = found
            return self._sketches[key]

    def fresh(self) -> Home:
        """The home with its settings and policies as they are now."""
        return Home.at(self.home.root)

    def policy(self, asked: Mapping[str, Any], day: date) -> Policy:
        """The policy that is asked for: a name, in the version for the day, and changed fields."""
        home = self.fresh()
        name = asked.get("policy") or home.policies.versions[0].name
        base = self.base(home, str(name), asked.get("version"), day)
        changes = asked.get("changes") or {}
        if not isinstance(changes, dict):
            raise ValueError("changes is an object of fields and values")
        return turned(base, changes) if changes else base

    @staticmethod
    def base(home: Home, name: str, version: Any, day: date) -> Policy:
        """A version of a policy: the one that begins on `version`, or the one for the day."""
        book = PolicyBook.read(home.policy_folder, name)
        if version:
            for each in book.versions:
                if str(each.effective_from) == str(version):
                    return each
            raise PolicyError(f"policy {name!r} has no version of {version}")
        held = [v for v in book.versions if v.effective_from <= day]
        return held[-1] if held else book.versions[0]


def build(home: Home, *, hosts: Sequence[str] = ()) -> Starlette:
    """The application for a home. `hosts`: names besides this machine's own under which browsers
    may reach it, as behind a proxy.
    """
    studio = Studio(home)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        studio.questions.close()

    def route(path: str, answer: Callable[[Studio, Mapping[str, Any]], Any], method: str) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _respond(studio, request, answer)

        return Route(path, endpoint, methods=[method])

    routes: list[Any] = [Route("/", _page), Route("/healthz", _healthy)]
    routes += [route(path, answer, "GET") for path, answer in _READ.items()]
    routes += [route(path, answer, "POST") for path, answer in _ASK.items()]
    routes.append(Mount("/static", StaticFiles(directory=_STATIC)))
    allowed = ["127.0.0.1", "localhost", "[::1]", *hosts]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=allowed),
            Middleware(GZipMiddleware),
        ],
        lifespan=lifespan,
    )


async def _page(_: Request) -> Response:
    return HTMLResponse((_STATIC / "index.html").read_text(encoding="utf-8"), headers=_HEADERS)


async def _healthy(_: Request) -> Response:
    return JSONResponse({"ok": True})


async def _respond(
    studio: Studio, request: Request, answer: Callable[[Studio, Mapping[str, Any]], Any]
) -> Response:
    """The answer as JSON, or as the page it is; what the reader asked wrongly is said with 400,
    what is not there (yet), or cannot be, with 404 or 409.
    """
    try:
        if request.method == "POST":
            _refuse_others(request)
            asked = await request.json()
            if not isinstance(asked, dict):
                raise ValueError("the body is a JSON object")
        else:
            asked = dict(request.query_params)
        found = await run_in_threadpool(answer, studio, asked)
    except tuple(_STATUS) as error:
        status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
        return JSONResponse({"problem": _said(error)}, status_code=status, headers=_HEADERS)
    if isinstance(found, str):
        return HTMLResponse(found, headers=_HEADERS | {"Content-Security-Policy": _STATEMENT})
    return JSONResponse(found, headers=_HEADERS)


_STATEMENT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


_STATUS: dict[type[Exception], int] = {  # the first kind that an error is of
    ValidationError: 400,
    PermissionError: 403,
    ExpectedError: 409,
    InfeasibleError: 409,
    LookupError: 404,
    ValueError: 400,
    TypeError: 400,
}


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error)


def _refuse_others(request: Request) -> None:
    """Only this page may ask for something to be done: a form of another site cannot send JSON, and
    a script of another site has another origin.
    """
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise PermissionError("only JSON is read")
    origin = request.headers.get("origin")
    if origin is not None and origin.split("://")[-1] != request.headers.get("host"):
        raise PermissionError("another site may not ask that")


# --- answers


def _day(asked: Mapping[str, Any], name: str = "day") -> date:
    try:
        return date.fromisoformat(str(asked[name]))
    except KeyError:
        raise ValueError(f"{name} is missing") from None


def _int(asked: Mapping[str, Any], name: str) -> int:
    return int(asked.get(name) or 0)


def _home(studio: Studio, _: Mapping[str, Any]) -> Any:
    home = studio.fresh()
    with studio.reading() as con:
        days = data.days(con)
        begins = [found.as_dict() for found in coming(con, home)]
    paying = home.policies.in_force(date.fromisoformat(days[-1]["day"])) if days else None
    found = [read_policy(path) for path in sorted(home.policy_folder.glob("*.toml"))]
    return {
        "home": str(home.root),
        "currency": home.settings.currency,
        "days": days,
        "paying": paying.name if paying else home.policies.versions[0].name,
        "shadow": home.settings.shadow.policy or None,
        "coming": begins,
        "policies": [
            {
                "name": policy.name,
                "version": str(policy.effective_from),
                "description": policy.description,
                "values": {field: _value(policy, field) for field, *_ in KNOBS},
            }
            for policy in found
        ],
        "knobs": [
            dict(zip(("field", "label", "low", "high", "step"), knob, strict=True))
            for knob in KNOBS
        ],
    }


def _value(policy: Policy, field: str) -> Any:
    section, _, name = field.partition(".")
    return getattr(getattr(policy, section), name)


def _sketched(studio: Studio, asked: Mapping[str, Any]) -> Any:
    day = _day(asked)
    sketch = studio.sketch(day)
    began = time.perf_counter()
    a = studio.fresh().policies.in_force(day)
    b = studio.policy(asked, day)
    unseen = [
        section
        for section in ("quality", "views", "epochs", "bonus")
        if getattr(a, section) != getattr(b, section)
    ]
    return {
        "a": sketch.answer(a),
        "b": sketch.answer(b),
        "policy_hash": b.hash,
        "unseen": unseen,
        "answers_for": SECTIONS,
        "buckets": sketch.buckets,
        "milliseconds": 1000 * (time.perf_counter() - began),
    }


def _frontier(studio: Studio, asked: Mapping[str, Any]) -> Any:
    day = _day(asked)
    policy = studio.policy(asked, day)
    points = studio.sketch(day).plane(
        policy, [n / 10 for n in range(11)], [0.1, 0.25, 0.5, 0.75, 1.0]
    )
    return {
        "points": points,
        "now": {
            "lambda_eff": policy.ads.lambda_eff / (policy.ads.lambda_eff + policy.ads.lambda_fair),
            "alpha": policy.ads.alpha,
            **studio.sketch(day).answer(policy),
        },
    }


def _ask_exact(studio: Studio, asked: Mapping[str, Any]) -> Any:
    first, last = _day(asked, "first"), _day(asked, "last")
    if first > last:
        raise ValueError(f"{first} is after {last}")
    policy = studio.policy(asked, last)
    return {"id": studio.questions.ask(first, last, policy, who=str(asked.get("who", "")))}


def _exact(studio: Studio, asked: Mapping[str, Any]) -> Any:
    future = studio.questions.answer(str(asked.get("id", "")))
    if future is None or future.cancelled():
        raise LookupError("nobody asked that, or something else was asked meanwhile: ask again")
    if not future.done():
        return {"state": "running" if future.running() else "waiting"}
    error = future.exception()
    if error is not None:
        if isinstance(error, ExpectedError | InfeasibleError):
            return {"state": "failed", "problem": str(error)}
        raise error
    return {"state": "done", **future.result().summary}


def _exact_creators(studio: Studio, asked: Mapping[str, Any]) -> Any:
    future = studio.questions.answer(str(asked.get("id", "")))
    if future is None or future.cancelled() or not future.done():
        raise LookupError("there is no such answer (yet)")
    return page_of(
        future.result().creators,
        search=str(asked.get("search", "")),
        sort=str(asked.get("sort", "total_change")),
        descending=asked.get("order", "desc") != "asc",
        offset=_int(asked, "offset"),
        rows=data.PAGE,
    )


def _creators(studio: Studio, asked: Mapping[str, Any]) -> Any:
    with studio.reading() as con:
        return data.creators(
            con,
            _day(asked, "first"),
            _day(asked, "last"),
            search=str(asked.get("search", "")),
            sort=str(asked.get("sort", "total")),
            order="asc" if asked.get("order") == "asc" else "desc",
            offset=_int(asked, "offset"),
        )


def _creator(studio: Studio, asked: Mapping[str, Any]) -> Any:
    with studio.reading() as con:
        return data.creator(con, str(asked["id"]))


def _explained(studio: Studio, asked: Mapping[str, Any]) -> Any:
    with studio.reading() as con:
        return data.explained(con, str(asked["id"]), _day(asked))


def _month(studio: Studio, asked: Mapping[str, Any]) -> Any:
    from pipelines.whatif.months import PARTS, in_words, month_changes

    month = date.fromisoformat(f"{asked['month']}-01")
    with studio.reading() as con:
        found = month_changes(con, studio.fresh(), month)
    creator_id = str(asked["id"])
    if creator_id not in found.index:
        raise LookupError(f"{creator_id} earned nothing in that month and the one before")
    row = {name: int(value) for name, value in found.loc[creator_id].items()}
    parts = [{"part": part, "micros": row[part]} for part in PARTS if row[part]]
    return {"words": in_words(creator_id, row, month), "change": row["change"], "parts": parts}


def _statement(studio: Studio, asked: Mapping[str, Any]) -> Any:
    month = date.fromisoformat(f"{asked['month']}-01")
    with studio.reading() as con:
        return data.statement(con, str(asked["id"]), month)


def _quarantine(studio: Studio, _: Mapping[str, Any]) -> Any:
    with studio.reading() as con:
        return {"rows": data.quarantine(con)}


def _gaming(studio: Studio, _: Mapping[str, Any]) -> Any:
    with studio.reading() as con:
        return {"days": data.gaming(con)}


def _money(studio: Studio, _: Mapping[str, Any]) -> Any:
    with studio.reading() as con:
        return {"money": data.money(con, studio.fresh(), datetime.now(UTC).date())}


def _drafted(studio: Studio, asked: Mapping[str, Any]) -> policies.Draft:
    home, since = studio.fresh(), _day(asked, "since")
    name = str(asked.get("policy") or home.policies.versions[0].name)
    base = studio.base(home, name, asked.get("version"), since)
    changes = dict(asked.get("changes") or {})
    changed = turned(base, changes)
    if "ads.lambda_eff" in changes:
        changes["ads.lambda_fair"] = changed.ads.lambda_fair
    return policies.draft(home, base, changes, str(asked.get("name", "")), since)


def _preview(studio: Studio, asked: Mapping[str, Any]) -> Any:
    found = _drafted(studio, asked)
    own = (studio.home.root / "policies").is_dir()
    return {
        "file": f"policies/{found.file}",
        "text": found.text,
        "diff": found.diff,
        "policy_hash": found.policy.hash,
        "note": ""
        if own
        else "This home has no policies of its own yet: it gets a folder with those that ship, too.",
    }


def _save(studio: Studio, asked: Mapping[str, Any]) -> Any:
    path = policies.save(studio.home, _drafted(studio, asked))
    return {"file": f"policies/{path.name}"}


_READ: dict[str, Callable[[Studio, Mapping[str, Any]], Any]] = {
    "/api/home": _home,
    "/api/exact": _exact,
    "/api/exact/creators": _exact_creators,
    "/api/creators": _creators,
    "/api/creator": _creator,
    "/api/creator/explained": _explained,
    "/api/creator/month": _month,
    "/statement": _statement,
    "/api/quarantine": _quarantine,
    "/api/gaming": _gaming,
    "/api/money": _money,
}
_ASK: dict[str, Callable[[Studio, Mapping[str, Any]], Any]] = {
    "/api/sketch": _sketched,
    "/api/frontier": _frontier,
    "/api/exact": _ask_exact,
    "/api/policy/preview": _preview,
    "/api/policy/save": _save,
}


def serve(home: Home, host: str, port: int, *, hosts: Sequence[str] = ()) -> None:
    """Serve until it is stopped."""
    import uvicorn

    uvicorn.run(build(home, hosts=hosts), host=host, port=port, log_level="warning")
