"""Exact answers, one after the other behind the screen: both policies over the days, as `earnings
whatif` pays them.

What belongs here: the queue of questions and their answers, which are kept while the process lives.
Days are paid in a process of its own, so that a slider goes on answering.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from typing import Any

import pandas as pd

from pipelines.policy import Policy, PolicyBook
from pipelines.settings import Home

_KEPT = 20


@dataclass(frozen=True, eq=False)
class Answer:
    """A comparison in plain values: what `--json` prints without the creators, and these as a
    table.
    """

    summary: dict[str, Any]
    creators: pd.DataFrame


def compare(root: str, first: date, last: date, content: str) -> Answer:
    """The policy as JSON against the one that pays. Runs in the worker."""
    from pipelines.whatif.comparison import Comparison, reconciled
    from pipelines.whatif.scratch import scratch

    home = Home.at(root)
    policy = Policy.model_validate_json(content)
    book = PolicyBook((policy.model_copy(update={"effective_from": date.min}),))
    versions = (*home.policies.versions, policy)
    history = max(
        max(v.quality.window_days, v.quality.history_days, v.bonus.history_days) for v in versions
    )
    with scratch(home, first, last, history_days=history) as room:
        known = room.creators()
        paid = room.pay(home.policies, home.policies.in_force(first).name)
        found = Comparison(paid, room.pay(book, policy.name), known)
    reconciled([found])
    summary = found.as_dict(most=10)
    summary["lorenz"] = found.lorenz().reset_index().to_dict("list")
    return Answer(summary, found.creators)


class Questions:
    """The exact questions of all who look at the screen: each is worked on once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._answers: OrderedDict[str, Future[Answer]] = OrderedDict()
        self._asked_by: dict[str, str] = {}
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def ask(self, first: date, last: date, policy: Policy, *, who: str) -> str:
        """Queue a question; the same one has the same name. What `who` asked before and nobody has
        begun is dropped: they have moved on.
        """
        said = json.dumps([str(first), str(last), policy.content])
        name = hashlib.sha256(said.encode()).hexdigest()[:16]
        with self._lock:
            if name not in self._answers or self._failed(self._answers[name]):
                for other, future in self._answers.items():
                    if other != name and self._asked_by.get(other) == who:
                        future.cancel()
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(1, get_context("spawn"))
                self._answers[name] = self._pool.submit(
                    compare, str(self._home.root), first, last, policy.content
                )
                self._asked_by[name] = who
                while len(self._answers) > _KEPT:
                    self._asked_by.pop(self._answers.popitem(last=False)[0], None)
            return name

    def answer(self, name: str) -> Future[Answer] | None:
        """What became of a question; None where nobody knows it."""
        with self._lock:
            return self._answers.get(name)

    def close(self) -> None:
        """End the worker; questions that were not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @staticmethod
    def _failed(future: Future[Answer]) -> bool:
        return future.cancelled() or (future.done() and future.exception() is not None)


def page_of(
    table: pd.DataFrame, *, search: str, sort: str, descending: bool, offset: int, rows: int
) -> Mapping[str, Any]:
    """A page of an answer's creators, found by a part of their name and sorted."""
    if sort != "creator_id" and sort not in table.columns:
        raise ValueError(f"no column is called {sort!r}")
    found = table[table.index.str.lower().str.contains(search.lower(), regex=False)]
    found = (
        found.sort_index(ascending=not descending)
        if sort == "creator_id"
        else found.sort_values(sort, ascending=not descending, kind="stable")
    )
    page = found.iloc[max(offset, 0) : max(offset, 0) + rows].reset_index()
    return {"found": len(found), "page": rows, "rows": page.to_dict("records")}
