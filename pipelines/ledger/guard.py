"""Whether a version of a policy may begin to pay: what it moved while it was in shadow, and who
let it pay all the same.

What belongs here: comparing what was paid with what the shadow came to, the guard of the settings,
and confirmations. The shadow itself is paid in `shadow/`. Reads only, but for a confirmation, which
is kept with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from pipelines.errors import ExpectedError
from pipelines.money import money
from pipelines.policy import Policy
from pipelines.runs.figures import Figure
from pipelines.settings import Home, Shadow
from pipelines.store.warehouse import Connection, Warehouse
from solvers.arrays import Floats, Ints

REFUSED, WARNED = "policy_refused", "policy_moves_much"
"""Figures of `ledger_entries`: the first stops the day (`schema/invariants.py`)."""


class GuardError(ExpectedError, ValueError):
    """A version that cannot be confirmed: says which, and why."""


@dataclass(frozen=True, eq=False)
class Moved:
    """What creators got and would have got on some days, whole micros, by creator."""

    days: tuple[date, ...]
    creators: tuple[str, ...]
    paid: Ints
    shadow: Ints

    @property
    def paid_micros(self) -> int:
        return int(self.paid.sum())

    @property
    def shadow_micros(self) -> int:
        return int(self.shadow.sum())

    @property
    def share(self) -> float:
        """Half of the sum of all changes, over the larger of the two sums."""
        largest = max(self.paid_micros, self.shadow_micros)
        return float(np.abs(self.shadow - self.paid).sum() / 2 / largest) if largest > 0 else 0.0

    def losses(self, least_micros: int) -> Floats:
        """The part of what each creator got that is lost; 0 where a creator gains, or got less
        than `least_micros`.
        """
        counted = (self.paid >= max(least_micros, 1)) & (self.shadow < self.paid)
        lost = (self.paid - self.shadow) / np.where(counted, self.paid, 1)
        found: Floats = np.where(counted, lost, 0.0)
        return found

    def largest_loss(self, least_micros: int) -> tuple[str, float]:
        """Who loses the largest part, and how large it is; nobody and 0 where none does."""
        lost = self.losses(least_micros)
        if not lost.size or lost.max() <= 0:
            return "", 0.0
        at = int(lost.argmax())
        return self.creators[at], float(lost[at])

    def extremes(self, most: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Creators who gain most and who lose most, each with both amounts."""
        change = self.shadow - self.paid
        order = np.argsort(-change, kind="stable")

        def rows(picked: Sequence[int]) -> list[dict[str, Any]]:
            return [
                {
                    "creator_id": self.creators[at],
                    "paid_micros": int(self.paid[at]),
                    "shadow_micros": int(self.shadow[at]),
                    "change_micros": int(change[at]),
                }
                for at in picked
            ]

        return (
            rows([at for at in order[:most] if change[at] > 0]),
            rows([at for at in order[::-1][:most] if change[at] < 0]),
        )


@dataclass(frozen=True, eq=False)
class Judgement:
    """A version that is to pay from `day` on: what it moved in shadow, and what of it is beyond the
    guard. `confirmed`: who lets it pay all the same, and why.
    """

    day: date
    policy: str
    before: str
    after: str
    moved: Moved
    problems: tuple[str, ...]
    confirmed: str | None

    @property
    def allowed(self) -> bool:
        return not self.problems or self.confirmed is not None

    def words(self) -> str:
        """What it comes to, for people."""
        seen = self.moved
        if not seen.days:
            return f"{self.policy} ({self.after}): no day was paid under it in shadow"
        return (
            f"{self.policy} ({self.after}), over {len(seen.days)} days in shadow,"
            f" {seen.days[0]} to {seen.days[-1]}: {seen.share:.1%} of the creators' money would go"
            " to somebody else"
        )

    def as_dict(self, most: int = 5) -> dict[str, Any]:
        winners, losers = self.moved.extremes(most)
        return {
            "day": str(self.day),
            "policy": self.policy,
            "before": self.before,
            "after": self.after,
            "days": len(self.moved.days),
            "moved_share": self.moved.share,
            "problems": list(self.problems),
            "confirmed": self.confirmed,
            "winners": winners,
            "losers": losers,
        }


def moved_between(con: Connection, days: Sequence[date]) -> Moved:
    """What was paid on `days`, and what the shadow came to on them."""
    found = con.execute(
        """WITH paid AS (SELECT creator_id, sum(total_micros) AS micros FROM creator_earnings
                         WHERE day IN (SELECT unnest($days)) GROUP BY creator_id),
                shadow AS (SELECT creator_id, sum(total_micros) AS micros FROM shadow_earnings
                           WHERE day IN (SELECT unnest($days)) GROUP BY creator_id)
           SELECT creator_id, coalesce(paid.micros, 0)::BIGINT AS paid,
                  coalesce(shadow.micros, 0)::BIGINT AS shadow
           FROM paid FULL JOIN shadow USING (creator_id) ORDER BY creator_id""",
        {"days": list(days)},
    ).to_arrow_table()
    return Moved(
        tuple(sorted(days)),
        tuple(found["creator_id"].to_pylist()),
        found["paid"].to_numpy(),
        found["shadow"].to_numpy(),
    )


def judge(con: Connection, day: date, policy: Policy, before: str, guard: Shadow) -> Judgement:
    """What `policy`, which is to pay from `day` on instead of the one with the hash `before`, moved
    on the latest days that it was in shadow while another one paid.
    """
    shadowed = con.execute(
        """SELECT s.day, f.warning FROM written_days AS s JOIN written_days AS p USING (day)
           LEFT JOIN figures AS f ON f.table_name = 'shadow_earnings' AND f.day = s.day
             AND f.figure = 'shadow_failed'
           WHERE s.table_name = 'shadow_earnings' AND p.table_name = 'creator_earnings'
             AND s.policy_hash = ? AND p.policy_hash <> s.policy_hash
           ORDER BY s.day DESC LIMIT ?""",
        [policy.hash, guard.days],
    ).fetchall()
    failed = [(on, warning) for on, warning in shadowed if warning]
    moved = moved_between(con, [on for on, warning in shadowed if not warning])
    problems = [f"{on}: {warning}" for on, warning in failed]
    if not shadowed:
        problems.append("no day was paid under it in shadow, so nobody knows what it moves")
    if moved.share > guard.most_moved:
        problems.append(
            f"{moved.share:.1%} goes to somebody else, more than {guard.most_moved:.1%} (most_moved)"
        )
    loser, loss = moved.largest_loss(guard.least_micros)
    if loss > guard.most_loss:
        many = int((moved.losses(guard.least_micros) > guard.most_loss).sum())
        problems.append(
            f"{loser} would lose {loss:.1%}, more than {guard.most_loss:.1%} (most_loss); so many"
            f" do: {many}"
        )
    return Judgement(
        day, policy.name, before, policy.hash, moved, tuple(problems), _confirmed(con, policy.hash)
    )


def guarded(con: Connection, day: date, policy: Policy, home: Home) -> list[Figure]:
    """What the guard says of paying `day` by `policy`: nothing where no shadow is kept, where the
    policy paid before, or where it moves little; else a figure that stops the day, or one that
    warns.
    """
    guard = home.settings.shadow
    if not guard.policy:
        return []
    before = paid_before(con, day)
    if before in (None, policy.hash):
        return []
    found = judge(con, day, policy, before, guard)
    if not found.problems:
        return []
    said = f"{found.words()}. {'; '.join(found.problems)}."
    if found.confirmed:
        return [Figure(WARNED, 1, warning=f"{said} It pays all the same: {found.confirmed}")]
    if guard.beyond == "warn" or not (found.moved.days or policy.name == guard.policy):
        return [Figure(WARNED, 1, warning=said)]
    return [
        Figure(
            REFUSED,
            1,
            warning=f"{said} See who: earnings shadow show; let it pay all the same: earnings shadow"
            f" confirm --day {day} --reason '...'",
        )
    ]


def paid_before(con: Connection, day: date) -> str | None:
    """Hash of the policy that the day was paid by, or else the latest day before it; None where
    there is neither.
    """
    found = con.execute(
        "SELECT policy_hash FROM written_days WHERE table_name = 'creator_earnings' AND day <= ?"
        " AND policy_hash IS NOT NULL ORDER BY day DESC LIMIT 1",
        [day],
    ).fetchone()
    return None if found is None else found[0]


def coming(con: Connection, home: Home) -> list[Judgement]:
    """Versions of the policy that pays which begin after the last day that is made, and what they
    moved in shadow.
    """
    guard = home.settings.shadow
    (last,) = con.execute(
        "SELECT max(day) FROM written_days WHERE table_name = 'creator_earnings'"
    ).fetchall()[0]
    if not guard.policy or last is None:
        return []
    before, found = paid_before(con, last), []
    for version in home.policies.versions:
        if version.effective_from > last and before not in (None, version.hash):
            assert before is not None
            found.append(judge(con, version.effective_from, version, before, guard))
    return found


def confirm(home: Home, day: date, *, reason: str, actor: str) -> Judgement:
    """Let the version that is in force on `day` pay whatever its shadow moved; kept with its
    reason.

    Raises
    ------
    GuardError
        No reason is given, no shadow is kept, or there is nothing to confirm.
    """
    guard = home.settings.shadow
    if not reason.strip():
        raise GuardError("the reason is empty: say why this version may pay")
    if not guard.policy:
        raise GuardError("no policy is in shadow (settings.toml: [shadow] policy), so none is held")
    policy, house = home.policies.in_force(day), Warehouse(home)
    with house.open() as con:
        before = paid_before(con, day)
        if before in (None, policy.hash):
            raise GuardError(
                f"{day} begins no other version: {policy.name} ({policy.hash}) pays already, or"
                " nothing was paid yet"
            )
        assert before is not None
        found = judge(con, day, policy, before, guard)
        if not found.problems:
            raise GuardError(f"{found.words()}. That is within the guard: nothing to confirm.")
        now = datetime.now(UTC).replace(tzinfo=None)
        loss = found.moved.largest_loss(guard.least_micros)[1]
        with house.transaction(con, f"policy {policy.hash} may pay: {reason}"):
            con.execute(
                "INSERT INTO policy_confirmations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    policy.hash, day, before, len(found.moved.days), found.moved.share, loss,
                    reason, actor, now,
                ],
            )  # fmt: skip
        return judge(con, day, policy, before, guard)


def in_words(found: Judgement) -> list[str]:
    """The judgement as lines: what it moves, who wins and loses most, what is beyond the guard."""
    lines = [f"From {found.day} on: {found.words()}."]
    winners, losers = found.moved.extremes(3)
    for name, rows in (("gain most", winners), ("lose most", losers)):
        if rows:
            each = (f"{row['creator_id']} {money(row['change_micros'])}" for row in rows)
            lines.append(f"  {name}: {', '.join(each)}")
    lines += [f"  beyond the guard: {problem}" for problem in found.problems]
    if found.problems and found.confirmed:
        lines.append(f"  confirmed by {found.confirmed}")
    elif found.problems:
        lines.append(f"  let it pay: earnings shadow confirm --day {found.day} --reason '...'")
    return lines


def _confirmed(con: Connection, policy_hash: str) -> str | None:
    found = con.execute(
        "SELECT actor, reason FROM policy_confirmations WHERE policy_hash = ?"
        " ORDER BY confirmed_at DESC LIMIT 1",
        [policy_hash],
    ).fetchone()
    return None if found is None else f"{found[0]}: {found[1]}"
