"""The book made again from what it was made from, in a temporary home, and compared with what it
says: `earnings ledger replay`.

What belongs here: what is taken as recorded, what is made again, and the difference. Proofs that
make nothing again are in `ledger/verification.py`.

**Made again**, by the assets that every run uses, each day under the policy that is kept of it:
rows from the files they were loaded from, groups of viewers, evidence, scores, pools, payouts,
coins, bonuses. What comes out is compared with the net of all postings, by day, account and part.

**Taken as recorded**, because money was paid by it and nothing that came later may change it:
committed weights of viewer groups in the revision that the day was posted with, the market whose
floor held, the schedule of a month, centres of groups, evidence as later days knew it, adjustments
of budget-neutral restatements, and which day owns an id that several delivered.

**The files** are those that the warehouse says it loaded, by their hash. Others in `landing/` came
later, and are nobody's until a run or a restatement loads them; one that is gone or has other bytes
is a finding, and its rows are taken as recorded.

Open days that are not as a run would leave them now are not compared: run them first.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.assets import ASSETS
from pipelines.errors import ExpectedError
from pipelines.ledger.entries import ENTRIES_OF
from pipelines.ledger.inputs import RECORDS, Inputs, Posted
from pipelines.periods import DAY, MONTH
from pipelines.policy import Policy, PolicyBook
from pipelines.rewards.month import award, schedule_policy
from pipelines.runs.daily import Day
from pipelines.schema import DAILY, DERIVED, LANDING
from pipelines.schema.graph import MADE_FROM
from pipelines.settings import Home, LakeAddress, Settings
from pipelines.sources.landing import load_day
from pipelines.sql import query
from pipelines.status import days_of
from pipelines.status.days import is_closed
from pipelines.status.reach import Writes, days_back
from pipelines.store.aside import copy_rows
from pipelines.store.warehouse import Connection, Warehouse, closed_through, is_written, transaction

PROGRESS = logging.getLogger("earnings.progress")

_RECORDED = (
    "group_centres",
    "group_weights",
    "weight_commits",
    "donation_market",
    "market_commits",
    "reward_schedule",
    "evidence_history",
    "adjustments",
    "id_copies",
)
"""Tables that the days are made from as they were recorded."""

_NOT_MADE = ("group_utility", "group_weights", "ledger_entries", "creator_earnings")
"""Assets of a day that are not run: weights are as recorded, entries are computed to compare."""

_STREAMS = tuple(table.name for table in DAILY)

_FAR_BACK = 62
"""Days before the first one whose tables are there: two months, for a bonus and its history."""


class ReplayError(ExpectedError, RuntimeError):
    """A book that cannot be made again: says why."""


@dataclass(frozen=True)
class Difference:
    """An account's money of a day (micros): as booked, and as it comes out now."""

    day: date
    account: str
    part: str
    booked: int
    replayed: int

    @property
    def creator_id(self) -> str | None:
        """Whose account it is, if it is a creator's."""
        kind, _, owner = self.account.partition(":")
        return owner if kind == "creator" else None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "day": str(self.day), "creator_id": self.creator_id}


@dataclass(frozen=True)
class Replay:
    """What was made again and how it differs.

    Attributes
    ----------
    days, months : days and months of bonuses that were made again and compared
    entries : net amounts of an account and part that were compared
    differences : those that are not what was booked; all days, in order
    findings : what cannot be made again, in words: a file that is gone, an invariant that broke
    not_compared : open days that a run would change, each with why
    head : hash of the ledger's last transaction at the time
    """

    days: tuple[date, ...]
    months: tuple[date, ...]
    entries: int
    differences: tuple[Difference, ...]
    findings: tuple[str, ...]
    not_compared: dict[date, str]
    head: str

    @property
    def good(self) -> bool:
        return not self.differences and not self.findings

    def as_dict(self) -> dict[str, Any]:
        return {
            "days": [str(day) for day in self.days],
            "months": [f"{day:%Y-%m}" for day in self.months],
            "entries": self.entries,
            "differences": [difference.as_dict() for difference in self.differences],
            "findings": list(self.findings),
            "not_compared": {str(day): why for day, why in self.not_compared.items()},
            "head": self.head,
        }


@dataclass(frozen=True)
class _Kept(PolicyBook):
    """The policy that each day was last made under, as it is kept in the warehouse."""

    of: dict[date, Policy] = field(default_factory=dict)

    def in_force(self, day: date) -> Policy:
        return self.of[day] if day in self.of else super().in_force(day)


@dataclass(frozen=True)
class _Temporary(Home):
    """A home with the settings of another one and the policies that are kept, on one file."""

    original: Home
    book: PolicyBook

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse.duckdb"

    @property
    def lake(self) -> LakeAddress | None:
        return None

    @property
    def policies(self) -> PolicyBook:
        return self.book

    @cached_property
    def settings(self) -> Settings:
        own = {"publish": False, "score_engine": "duckdb"}
        return self.original.settings.model_copy(update=own)


@dataclass(frozen=True)
class _Book:
    """What the ledger and the logs say of the days to make again."""

    first: date
    last: date
    days: tuple[date, ...]
    months: tuple[date, ...]
    not_compared: dict[date, str]
    policies: _Kept
    weights: dict[date, int]
    floors: dict[date, tuple[date | None, int | None]]
    gone: dict[tuple[str, date], str]
    files: dict[tuple[str, date], list[str]]
    before: tuple[date, ...]
    head: str


def replay(home: Home, first: date | None = None, last: date | None = None) -> Replay:
    """Make the days from `first` to `last` (all that are posted, if not said) again from landing
    files and kept policies, and compare them with the ledger.

    What the days before `first` left for later ones is taken as recorded. Nothing of the home is
    written. It takes as long as running the days did, and as much room in the temporary folder
    (`TMPDIR`) as the warehouse has.

    Raises
    ------
    ReplayError
        No day of the range is in the ledger, or a kept policy is of no form that this version
        reads.
    """
    with TemporaryDirectory(prefix="replay-") as folder:
        with Warehouse(home).look() as source:
            book = _read(source, home, first, last)
            temporary = _Temporary(Path(folder), home, book.policies)
            _link_files(home, temporary, book)
            with Warehouse(temporary).open() as con:
                _copy(source, con, book)
        with Warehouse(temporary).open() as con:
            return _make_again(con, temporary, book)


def _read(con: Connection, home: Home, first: date | None, last: date | None) -> _Book:
    posted = [
        row[0]
        for row in con.execute(
            "SELECT DISTINCT day FROM ledger_transactions WHERE kind = 'payout' AND day >= ? AND"
            " day <= ? ORDER BY day",
            [first or date.min, last or date.max],
        ).fetchall()
    ]
    if not posted:
        raise ReplayError(
            "the ledger has no payout of a day to replay"
            + (f" from {first or 'the first'} to {last or 'the last'}" if first or last else "")
            + ". Days are posted by: earnings run"
        )
    first, last = posted[0], posted[-1]
    statuses = {s.day: s for s in days_of(con, home)}
    not_compared = {
        day: status.note
        for day in posted
        if (status := statuses[day]).state != "complete" and not is_closed(status)
    }
    (head,) = con.execute("SELECT arg_max(hash, seq) FROM ledger_transactions").fetchall()[0]
    files: dict[tuple[str, date], list[str]] = {}
    gone: dict[tuple[str, date], str] = {}
    for table, day, file, sha256 in con.execute(
        "SELECT table_name, day, file, sha256 FROM landing_files WHERE table_name IN"
        " (SELECT unnest($tables)) AND day BETWEEN $first AND $last ORDER BY ALL",
        {"tables": list(LANDING), "first": first, "last": last},
    ).fetchall():
        if day in not_compared:
            continue
        files.setdefault((table, day), []).append(file)
        if why := _why_not_as_loaded(home.landing / file, sha256):
            gone.setdefault((table, day), f"{file}: {why}")
    return _Book(
        first,
        last,
        tuple(posted),
        tuple(_months(con, first, last)),
        not_compared,
        _kept_policies(con),
        _weights_used(con, posted),
        {
            day: (week, revision)
            for day, week, revision in con.execute(
                "SELECT day, market_week, market_revision FROM coin_solutions"
                " WHERE floor_source <> 'policy'"
            ).fetchall()
        },
        gone,
        {key: names for key, names in files.items() if key not in gone},
        tuple(d for d in home.landed() if d < first),
        head,
    )


def _why_not_as_loaded(path: Path, sha256: str) -> str:
    try:
        with path.open("rb") as stream:
            now = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"was loaded, and cannot be read any more ({error.strerror})"
    return "" if now == sha256 else "has other bytes than when it was loaded"


def _months(con: Connection, first: date, last: date) -> Iterator[date]:
    """Last days of months whose bonuses are posted and were made from what their days are now."""
    writes = Writes(con)
    for (end,) in con.execute(
        "SELECT DISTINCT day FROM ledger_transactions WHERE kind = 'bonus' AND day BETWEEN ? AND ?"
        " ORDER BY day",
        [first, last],
    ).fetchall():
        made = writes.of.get(("creator_bonuses", end))
        days = [MONTH.first(end) + n * DAY for n in range(end.day)]
        scores = [w.changed for day in days if (w := writes.of.get(("video_quality", day)))]
        if made and max(scores, default=0) < made.made:
            yield end


def _kept_policies(con: Connection) -> _Kept:
    kept: dict[str, Policy] = {}
    under = dict(
        con.execute(
            "SELECT day, arg_max(policy_hash, revision) FROM ledger_transactions"
            " WHERE kind = 'payout' GROUP BY day"
        ).fetchall()
    )
    # the same amounts under another policy are not posted again, but tables are made by it
    under |= dict(
        con.execute(
            "SELECT day, policy_hash FROM written_days WHERE table_name = 'creator_earnings'"
            " AND policy_hash IN (SELECT policy_hash FROM policies)"
        ).fetchall()
    )
    contents = dict(con.execute("SELECT policy_hash, content FROM policies").fetchall())
    for policy_hash in sorted(set(under.values())):
        if policy_hash not in contents:
            raise ReplayError(
                f"policy {policy_hash} was paid under and is not kept: earnings ledger verify"
            )
        try:
            kept[policy_hash] = Policy.model_validate_json(contents[policy_hash])
        except ValueError as error:
            raise ReplayError(
                f"policy {policy_hash} is kept in a form that this version does not read: {error}"
            ) from error
    of = {day: kept[policy_hash] for day, policy_hash in under.items()}
    days = sorted(of)
    # between days that are posted, the version of the one before holds
    versions = [
        of[day].model_copy(update={"effective_from": day})
        for n, day in enumerate(days)
        if n == 0 or of[day] != of[days[n - 1]]
    ]
    return _Kept(tuple(versions), of)


def _weights_used(con: Connection, days: Collection[date]) -> dict[date, int]:
    """Of days whose weights were committed more than once: the revision that the day was posted
    with, which its hash of inputs tells.
    """
    commits: dict[date, list[tuple[int, str]]] = {}
    for day, revision, state in con.execute(
        "SELECT day, revision, state_hash FROM weight_commits ORDER BY day, revision DESC"
    ).fetchall():
        commits.setdefault(day, []).append((revision, state))
    used: dict[date, int] = {}
    for day in (d for d in days if len(commits.get(d, ())) > 1):
        posted = Posted("payout", day, day)
        inputs = Inputs.of(con, [posted])
        (booked,) = con.execute(
            "SELECT arg_max(input_hash, seq) FROM ledger_transactions"
            " WHERE day = ? AND kind IN ('payout', ?)",
            [day, RECORDS["payout"]],
        ).fetchall()[0]
        for revision, state in commits[day]:
            if replace(inputs, states={day: state}).hash(posted) == booked:
                used[day] = revision
                break
    return used


def _link_files(home: Home, temporary: Home, book: _Book) -> None:
    """The files that were loaded, at the names they had, and nothing that came later. Of days that
    are not loaded again only the folder, which says that they were delivered.
    """
    for file in (file for files in book.files.values() for file in files):
        link = temporary.landing / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((home.landing / file).resolve())
    for day in (*book.before, *book.days):
        (temporary.landing / _STREAMS[0] / str(day)).mkdir(parents=True, exist_ok=True)


def _copy(source: Connection, con: Connection, book: _Book) -> None:
    """What the days are made from as it was recorded, and what they are compared with."""
    with transaction(con):
        for table in _RECORDED:
            _take(source, con, table, "true")
        for day, revision in book.weights.items():
            con.execute(
                """UPDATE group_weights SET weight = (SELECT weights[group_id] FROM weight_commits
                   WHERE day = $day AND revision = $revision) WHERE day = $day""",
                {"day": day, "revision": revision},
            )
        copy_rows(source, con, "ledger_transactions", "kind = 'statement'")
        # a closed day keeps an id that it has, whoever brings it again
        for stream in (t for t in DAILY if t.once):
            copy_rows(
                source,
                con,
                stream.name,
                f"""(day, {stream.key[0]}) IN (SELECT (day, id) FROM id_copies
                     WHERE table_name = $table AND taken) AND day <= $closed""",
                table=stream.name,
                closed=closed_through(source) or date.min,
            )
        back = book.first - timedelta(days=max(_FAR_BACK, _history(book.policies)))
        for derived in (t.name for t in DERIVED if t.name not in _RECORDED):
            _take(source, con, derived, "day >= $back AND day < $first", back, book.first)
        for landing in LANDING:
            if landing in _STREAMS:
                con.execute(f"DELETE FROM {landing} WHERE day < ?", [book.first])
                _take(source, con, landing, "day >= $back AND day < $first", back, book.first)
            else:
                _take(source, con, landing, "day < $first", first=book.first)
        for day in book.not_compared:
            for name in (*LANDING, *(t.name for t in DERIVED if t.name not in _RECORDED)):
                _take_day(source, con, name, day)
        for name, day in book.gone:
            _take_day(source, con, name, day)
        rows = source.execute(
            """SELECT e.day, account, part, sum(amount_micros)::BIGINT AS micros,
                      starts_with(t.kind, 'bonus') AS bonus
               FROM ledger_entries AS e JOIN ledger_transactions AS t USING (txn_id)
               WHERE t.kind IN ('payout', 'reversal', 'bonus', 'bonus-reversal')
                 AND e.day BETWEEN $first AND $last
               GROUP BY ALL HAVING sum(amount_micros) <> 0""",
            {"first": book.first, "last": book.last},
        ).to_arrow_reader()
        con.register("arriving", rows)
        con.execute("CREATE TABLE booked AS FROM arriving")
        con.unregister("arriving")


def _history(policies: _Kept) -> int:
    """How far back a day looks, under any policy that was paid under."""
    return max(
        max(
            policy.quality.history_days,
            *(days_back(m, source, policy) for m in MADE_FROM.values() for source in m.windows),
        )
        for policy in policies.of.values()
    )


def _take(
    source: Connection,
    con: Connection,
    table: str,
    condition: str,
    back: date = date.min,
    first: date = date.max,
) -> None:
    """Rows as recorded, and the notes that say they were written."""
    span = {"back": back, "first": first}
    used = {name: value for name, value in span.items() if f"${name}" in condition}
    copy_rows(source, con, table, condition, **used)
    copy_rows(
        source, con, "written_days", f"table_name = $table AND {condition}", table=table, **used
    )


def _take_day(source: Connection, con: Connection, table: str, day: date) -> None:
    con.execute(f"DELETE FROM {table} WHERE day = ?", [day])
    copy_rows(source, con, table, "day = $day", day=day)
    copy_rows(
        source, con, "written_days", "table_name = $table AND day = $day", table=table, day=day
    )


def _make_again(con: Connection, home: _Temporary, book: _Book) -> Replay:
    house = Warehouse(home)
    findings = [*(f"{day}: {why}" for (_, day), why in book.gone.items())]
    differences: list[Difference] = []
    made: list[date] = []
    months: list[date] = []
    entries = 0
    for n, day in enumerate(book.days, 1):
        began, before = time.monotonic(), entries
        if day not in book.not_compared:
            try:
                with transaction(con):
                    _make(con, house, book, day)
            except (ExpectedError, ValueError, ArithmeticError) as error:
                # what comes after it would be made from nothing
                findings.append(f"{day}: cannot be made again: {error}")
                break
            compared = _compare(con, "payout", day)
            made.append(day)
            entries += compared[0]
            differences += compared[1]
        if day in book.months and day not in book.not_compared:
            with transaction(con), house.rewrite_day(con, day) as writer:
                begin = MONTH.first(day)
                under = schedule_policy(con, begin)
                writer.write(
                    "creator_bonuses",
                    award(con, begin, day) if under else [],
                    policy_hash=under or book.policies.in_force(day).hash,
                )
            compared = _compare(con, "bonus", day)
            months.append(MONTH.first(day))
            entries += compared[0]
            differences += compared[1]
        PROGRESS.info(
            "replay %s",
            day,
            extra={
                "asset": "replay",
                "day": day,
                "n": n,
                "of": len(book.days),
                "seconds": time.monotonic() - began,
                "metadata": {"rows": entries - before},
            },
        )
    return Replay(
        tuple(made),
        tuple(months),
        entries,
        tuple(differences),
        tuple(findings),
        book.not_compared,
        book.head,
    )


def _make(con: Connection, house: Warehouse, book: _Book, day: date) -> None:
    """All tables of a day, as a restatement makes them: written whether or not the day is closed."""
    run = Day(con, day, house, book.policies.in_force(day), "replay")
    week, revision = book.floors.get(day, (None, None))
    if day in book.floors:
        # of all markets before the day only the one that it was paid by, as it was then
        con.execute(
            """UPDATE donation_market SET revenue_floor = CASE WHEN day = $week THEN
                 (SELECT revenue_floor FROM market_commits AS c
                  WHERE c.day = $week AND c.revision = $revision) END WHERE day < $day""",
            {"week": week, "revision": revision, "day": day},
        )
    # snapshots may come on days of their own, before the day that first sees them
    for table, on in sorted((key for key in book.files if key[1] < day), key=lambda k: k[1]):
        if table not in _STREAMS and not is_written(con, table, on):
            _load(con, house, table, on)
    for asset in ASSETS:
        if asset.name in LANDING:
            if (asset.name, day) not in book.gone:
                _load(con, house, asset.name, day)
        elif asset.name not in _NOT_MADE:
            asset.make(run)


def _load(con: Connection, house: Warehouse, table: str, day: date) -> None:
    with house.rewrite_day(con, day) as writer:
        load_day(writer, house.home.landing, LANDING[table])


def _compare(con: Connection, kind: str, day: date) -> tuple[int, Sequence[Difference]]:
    con.execute(f"CREATE OR REPLACE TEMP TABLE replayed AS {query(ENTRIES_OF[kind])}", {"day": day})
    (count,) = con.execute("SELECT count(*) FROM replayed").fetchall()[0]
    rows = con.execute(
        """SELECT account, part, coalesce(micros, 0), coalesce(amount_micros, 0)
           FROM (SELECT account, part, micros FROM booked WHERE day = $day AND bonus = $bonus)
           FULL JOIN replayed USING (account, part)
           WHERE micros IS DISTINCT FROM amount_micros ORDER BY account, part""",
        {"day": day, "bonus": kind == "bonus"},
    ).fetchall()
    return int(count), [Difference(day, *row) for row in rows]
