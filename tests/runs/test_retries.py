"""What may come right by itself is tried again when nobody waits for the run; what will not, is
not.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from pipelines.assets import ASSETS
from pipelines.runs.daily import UNATTENDED
from pipelines.store.file_store import AwayError, DisturbedError, WarehouseError
from pipelines.store.warehouse import WarehouseLockedError


class House:
    """A warehouse that cannot be worked with."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @contextmanager
    def by_day(self) -> Any:
        raise self.error
        yield


@pytest.mark.parametrize(
    ("error", "tags", "outcome"),
    [
        (WarehouseLockedError("held"), {UNATTENDED: "true"}, dg.RetryRequested),
        (DisturbedError("undone"), {UNATTENDED: "true"}, dg.RetryRequested),
        (AwayError("refused"), {UNATTENDED: "true"}, dg.RetryRequested),
        (AwayError("refused"), {}, dg.Failure),
        (WarehouseError("permission denied"), {UNATTENDED: "true"}, dg.Failure),
    ],
)
def test_a_run_that_nobody_waits_for(
    error: Exception, tags: dict[str, str], outcome: type[Exception]
) -> None:
    context: Any = SimpleNamespace(run=SimpleNamespace(tags=tags), partition_keys=["2026-03-01"])
    house: Any = House(error)
    with pytest.raises(outcome):
        ASSETS[0]._run(context, house)
