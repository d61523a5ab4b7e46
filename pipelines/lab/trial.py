"""A day paid again under another policy, in memory: what it would come to, without touching the
warehouse.

What belongs here: a copy of what a day is made from, and running the pipeline's own assets on it.
What is tried, and what is made of it, is in the studies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from pipelines.assets import ASSETS
from pipelines.errors import ExpectedError
from pipelines.policy import Policy
from pipelines.runs.daily import Day
from pipelines.schema import AUDIENCE, DAILY, EVIDENCE, MARKET, SNAPSHOTS, TABLES
from pipelines.schema.graph import changes_with
from pipelines.settings import Home
from pipelines.sql import query
from pipelines.store.aside import copy_rows, in_memory
from pipelines.store.warehouse import Connection, Warehouse, is_written
from solvers.inequality import gini, top_share

# a trial makes a day from the score to what is owed for it
_TRIED = (
    "video_evidence",
    "video_quality",
    "pulse_payouts",
    "ad_pools",
    "ad_payouts",
    "donation_splits",
)


class TrialError(ExpectedError, LookupError):
    """A day that cannot be tried: says why, and the command that makes it."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a day comes to. `earned` has an entry for every creator whose video was watched or
    gifted, in micros, also where it is 0.

    `small` marks the half of them with fewer followers (unknown: 0).
    """

    earned: npt.NDArray[np.int64]
    small: npt.NDArray[np.bool_]
    gross: int
    platform: int
    carried: int

    @property
    def measures(self) -> dict[str, float]:
        """The figures a policy is judged by."""
        total = int(self.earned.sum())
        return {
            "gini": gini(self.earned),
            "top_1_percent_share": top_share(self.earned),
            "small_creators_share": float(self.earned[self.small].sum() / total) if total else 0.0,
            "platform_share": self.platform / self.gross if self.gross else 0.0,
        }


@dataclass(frozen=True)
class Trial:
    """A day's inputs in memory."""

    con: Connection
    warehouse: Warehouse
    day: date

    def pay(self, policy: Policy, *, changed: str | None = None) -> Outcome:
        """The day under `policy`; `changed` names the one section in which it differs from the
        policy that was tried before with `keep`.
        """
        self.con.begin()
        try:
            self._make(policy, changed)
            return self._outcome()
        finally:
            self.con.rollback()

    def keep(self, policy: Policy) -> Outcome:
        """The day under `policy`, which later trials may then differ from in one section."""
        self._make(policy, None)
        return self._outcome()

    def attacked(
        self,
        policy: Policy,
        attack: Callable[[Connection], None] | None = None,
        *,
        coins: bool = False,
    ) -> dict[str, int]:
        """What ads, or coins, pay each creator (micros) after `attack` changed what the day is
        made from.
        """
        self.con.begin()
        try:
            if attack:
                attack(self.con)
            self._make(policy, "quality")
            rows = self.con.execute(
                """SELECT creator_id, sum(payout_micros)::BIGINT FROM (
                       SELECT creator_id, payout_micros FROM pulse_payouts
                       WHERE day = $day AND NOT $coins
                       UNION ALL
                       SELECT creator_id, payout_micros FROM ad_payouts
                       WHERE day = $day AND NOT $coins
                       UNION ALL
                       SELECT creator_id, payout_micros FROM donation_splits
                       WHERE day = $day AND $coins)
                   GROUP BY creator_id ORDER BY creator_id""",
                {"day": self.day, "coins": coins},
            ).fetchall()
        finally:
            self.con.rollback()
        return dict(rows)

    def _make(self, policy: Policy, changed: str | None) -> None:
        wanted = changes_with(changed) if changed else _TRIED
        for asset in ASSETS:
            if asset.name in _TRIED and asset.name in wanted:
                asset.make(Day(self.con, self.day, self.warehouse, policy, "a trial"))

    def _outcome(self) -> Outcome:
        rows = self.con.execute(
            f"""WITH entry AS ({query("ledger/ledger_entries")}),
                earned AS (SELECT owner_of(account) AS creator_id, sum(amount_micros) AS micros
                           FROM entry WHERE starts_with(account, 'creator:') GROUP BY account),
                there AS (SELECT creator_id FROM video_quality WHERE day = $day
                          UNION SELECT creator_id FROM donation_splits WHERE day = $day),
                known AS (SELECT creator_id, arg_max_null(followers, day) AS followers
                FROM creators WHERE day <= $day GROUP BY creator_id)
                SELECT coalesce(micros, 0)::BIGINT, coalesce(followers, 0)::BIGINT
                FROM there LEFT JOIN earned USING (creator_id) LEFT JOIN known
                USING (creator_id) ORDER BY creator_id""",
            {"day": self.day},
        ).fetchall()
        gross, platform, carried = self.con.execute(
            f"""SELECT coalesce(-sum(amount_micros) FILTER (starts_with(account, 'revenue:')),
                0)::BIGINT,
                       coalesce(sum(amount_micros) FILTER (account = 'platform'), 0)::BIGINT,
                       coalesce(sum(amount_micros) FILTER (starts_with(account, 'carry:')),
                       0)::BIGINT
                FROM ({query("ledger/ledger_entries")})""",
            {"day": self.day},
        ).fetchall()[0]
        earned, followers = np.array(rows, dtype=np.int64).reshape(-1, 2).T
        return Outcome(
            earned,
            followers < np.median(followers) if followers.size else followers < 0,
            gross,
            platform,
            carried,
        )


@contextmanager
def trial(home: Home, day: date, *, window_days: int = 1) -> Iterator[Trial]:
    """Copy what `day` is made from into memory; reads what readers see, so that it neither waits
    for a run nor stops one.

    Raises
    ------
    TrialError
        The day was not made.
    WarehouseError
        Nothing was published yet.
    """
    first = day - timedelta(days=window_days - 1)
    with in_memory() as con:
        with Warehouse(home).read() as source:
            for table in (
                *SNAPSHOTS,
                *AUDIENCE,
                *EVIDENCE,
                *MARKET,
                TABLES["market_commits"],
                TABLES["ad_pools"],
                TABLES["written_days"],
                *DAILY,
            ):
                since = first if table in DAILY else date.min
                span = {"since": since, "day": day}
                copy_rows(source, con, table.name, "day BETWEEN $since AND $day", **span)
        if not is_written(con, "donation_splits", day):
            raise TrialError(
                f"{day} is not made, or not published. Make it first: earnings run --from {day}"
                f" --to {day}"
            )
        yield Trial(con, Warehouse(home), day)
