"""Adaptive epochs: one day is one epoch of algorithm 1. The chain of weights: where it begins, how
it goes on, what was committed.

What belongs here: states of the weights, the refusal to go on over a gap, the record of every
commit, and the published matching policy. The arithmetic is `solvers.reweighting` and
`solvers.reweighting.groups`; utilities are measured by the asset (`audience/assets.py`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.audience.grouping import Grouping
from pipelines.files import replacing
from pipelines.policy import Epochs, PolicyBook, PolicyError
from pipelines.schema import arrow_columns
from pipelines.schema.invariants import STATE_HASH
from pipelines.settings import Home
from pipelines.store.warehouse import CODE_VERSION, Connection, DayWriter, MissingDayError
from solvers.reweighting import (
    cold_start_percentile,
    inherited_weights,
    matching_candidates,
    matching_temperature,
    update_observed_weights,
)

DAY = timedelta(days=1)
EVERYBODY = "all"


@dataclass(frozen=True)
class Weight:
    """One group's row of a state."""

    group_id: str
    weight: float
    observed: bool
    utility: float | None = None
    clipped_days: int = 0
    note: str = ""


@dataclass(frozen=True)
class State:
    """All weights that hold on a day."""

    day: date
    version: date
    epoch: int
    rate: float
    made_from: str
    rows: tuple[Weight, ...]

    def table(self, con: Connection, epochs: Epochs, policy_hash: str) -> pa.Table:
        """Rows of `group_weights`."""
        shared = {
            "day": self.day,
            "version": self.version,
            "epoch": self.epoch,
            "rate": self.rate,
            "made_from": self.made_from,
        }
        rows = [
            {
                **asdict(w),
                **shared,
                "stuck": w.clipped_days >= epochs.stuck_days,
                "policy_hash": policy_hash,
            }
            for w in self.rows
        ]
        columns = arrow_columns("group_weights", without=("state_hash",))
        con.register("next_state", pa.Table.from_pylist(rows, schema=columns))
        try:
            return con.execute(
                f"SELECT *, (SELECT {STATE_HASH} FROM next_state) AS state_hash FROM next_state"
            ).to_arrow_table()
        finally:
            con.unregister("next_state")


def arms(epochs: Epochs) -> tuple[str, ...]:
    """Arms that viewers are in; the one whose weights the mechanism applies comes first."""
    return (
        (epochs.experiment.treatment, epochs.experiment.control)
        if epochs.experiment
        else (EVERYBODY,)
    )


def mechanism_on(policies: PolicyBook, day: date) -> str:
    """What the policy in force on a day does with weights; `none` before any policy."""
    try:
        return policies.in_force(day).epochs.mechanism
    except PolicyError:
        return "none"


def begins(home: Home, policies: PolicyBook, day: date) -> bool:
    """All weights are 1 on the first landed day of the calendar, and on the first day of a policy
    with a mechanism.
    """
    return home.day_before(day) is None or mechanism_on(policies, day - DAY) == "none"


def is_committed(con: Connection, day: date) -> bool:
    return bool(con.execute("SELECT 1 FROM group_weights WHERE day = ? LIMIT 1", [day]).fetchone())


def require_weights(con: Connection, home: Home, policies: PolicyBook, day: date) -> None:
    """Raise MissingDayError if the weights of a day should be there and are not; names the days to
    run.
    """
    if is_committed(con, day) or begins(home, policies, day):
        return
    missing = day - DAY
    while not is_committed(con, missing) and not begins(home, policies, missing):
        missing -= DAY
    raise MissingDayError(
        f"the weights of viewer groups on {day} were never committed: the run of {day - DAY} does"
        f" that, and {missing} is the first day that did not run. Make it first: earnings run"
        f" --from {missing} --to {day - DAY}"
    )


def state_on(con: Connection, home: Home, policies: PolicyBook, day: date) -> tuple[State, str]:
    """The weights of a day and their hash (empty for a beginning that is not written yet). Raises
    MissingDayError.
    """
    require_weights(con, home, policies, day)
    rows = con.execute(
        """SELECT version, epoch, rate, made_from, state_hash, group_id, weight, observed, utility,
            clipped_days, note
           FROM group_weights WHERE day = ? ORDER BY group_id""",
        [day],
    ).fetchall()
    if rows:
        version, epoch, rate, made_from, state_hash = rows[0][:5]
        return (
            State(day, version, epoch, rate, made_from, tuple(Weight(*row[5:]) for row in rows)),
            state_hash,
        )
    grouping = Grouping.on(con, day)
    assert grouping is not None  # the asset viewer_groups made it
    return (
        State(
            day,
            grouping.version,
            0,
            0.0,
            "",
            tuple(Weight(g, 1.0, False, note="begins at 1") for g in grouping.groups),
        ),
        "",
    )


def next_state(con: Connection, state: State, state_hash: str, epochs: Epochs) -> State:
    """The weights of the day after, from the day's utilities; a group without enough data keeps its
    weight to the bit.
    """
    measured = {
        row[0]: row[1:]
        for row in con.execute(
            "SELECT group_id, utility, impressions, baseline FROM group_utility WHERE day = ? AND"
            " steers",
            [state.day],
        ).fetchall()
    }
    unmeasured = (None, 0, None)
    groups = [w.group_id for w in state.rows]
    utility = [measured.get(g, unmeasured)[0] for g in groups]
    observed = [u is not None for u in utility]
    rate = epochs.rate_in(state.epoch)
    weights = update_observed_weights(
        [w.weight for w in state.rows],
        [u if u is not None else 0.0 for u in utility],
        observed,
        rate=rate,
        clip=epochs.clip,
    ).tolist()
    notes = [
        "" if seen else _why_kept(epochs, *measured.get(g, unmeasured)[1:], pooled=g in measured)
        for g, seen in zip(groups, observed, strict=True)
    ]
    grouping = Grouping.on(con, state.day + DAY)
    assert grouping is not None
    version = state.version
    rows = list(zip(groups, weights, observed, utility, notes, strict=True))
    if grouping.version != version:
        version, rows = (
            grouping.version,
            _inherit(con, grouping, state.day, dict(zip(groups, weights, strict=True)), epochs),
        )
    before = {w.group_id: w.clipped_days for w in state.rows}
    return State(
        state.day + DAY,
        version,
        state.epoch + 1,
        rate,
        state_hash,
        tuple(
            Weight(g, w, seen, u, (before.get(g, 0) + 1) * (w in epochs.clip), note)
            for g, w, seen, u, note in rows
        ),
    )


def _why_kept(epochs: Epochs, impressions: int, baseline: float | None, *, pooled: bool) -> str:
    if not pooled:
        return "keeps its weight: nothing was measured"
    if impressions < epochs.min_impressions:
        return f"keeps its weight: {impressions} impressions, {epochs.min_impressions} are needed"
    return (
        "keeps its weight: the two days before have too few impressions"
        if not baseline
        else "keeps its weight: not measured"
    )


def _inherit(
    con: Connection, grouping: Grouping, day: date, old: dict[str, float], epochs: Epochs
) -> list[tuple[str, float, bool, float | None, str]]:
    """Rows of a new version: every group starts from the mean of its members' old weights."""
    grouping.assign(con, day)
    counts = con.execute(
        """SELECT a.group_id, o.group_id, count(*) FROM assigned AS a
           JOIN (SELECT viewer_id, arg_max(group_id, day) AS group_id FROM viewer_groups
           WHERE day <= ? GROUP BY viewer_id) AS o
               USING (viewer_id) GROUP BY ALL""",
        [day],
    ).fetchall()
    place = {group: n for n, group in enumerate(grouping.groups)}
    was = {group: n for n, group in enumerate(old)}
    members = np.zeros((len(place), len(was)))
    for new, group, viewers in counts:
        if group in was:
            members[place[new], was[group]] = viewers
    weights = inherited_weights(list(old.values()), members, clip=epochs.clip).tolist()
    return [
        (
            group,
            weight,
            False,
            None,
            (
                f"new in version {grouping.version}: mean of the old weights of"
                f" {int(members[n].sum())} viewers"
            ),
        )
        for n, (group, weight) in enumerate(zip(grouping.groups, weights, strict=True))
    ]


def write_state(
    writer: DayWriter,
    state: State,
    epochs: Epochs,
    policy_hash: str,
    reason: str,
    *,
    publish: bool = True,
) -> str:
    """Replace the weights of the writer's day, with the matching policy and a record; returns their
    hash.
    """
    con = writer.con
    rows = state.table(con, epochs, policy_hash)
    writer.replace("group_weights", rows)
    matching = _matching(state, epochs) if publish and epochs.mechanism in ("smt", "hmt") else []
    writer.write("matching_policy", matching, policy_hash=policy_hash)
    state_hash = rows["state_hash"][0].as_py()
    con.execute(
        """INSERT INTO weight_commits BY NAME
           SELECT $day AS day, coalesce(max(revision), 0) + 1 AS revision,
                  (SELECT map_from_entries(list((group_id, weight) ORDER BY group_id))
                  FROM group_weights WHERE day = $day) AS weights,
                  $state_hash AS state_hash, arg_max(state_hash, revision) AS replaced,
                  $reason AS reason,
                  $policy_hash AS policy_hash, $code_version AS code_version, $now AS committed_at
           FROM weight_commits WHERE day = $day""",
        {
            "day": state.day,
            "state_hash": state_hash,
            "reason": reason,
            "policy_hash": policy_hash,
            "code_version": CODE_VERSION,
            "now": datetime.now(UTC).replace(tzinfo=None),
        },
    )
    return str(state_hash)


def _matching(state: State, epochs: Epochs) -> list[dict[str, Any]]:
    """What the weights mean for a recommender; what the mechanism does not touch, and the control
    arm, stay at the defaults.
    """
    weights = [w.weight for w in state.rows]
    plain = {
        "mechanism": epochs.mechanism,
        "temperature": epochs.temperature,
        "candidates": epochs.top_k,
        "cold_start_percentile": epochs.percentiles[0][1],
    }
    columns: dict[str, list[Any]] = {}
    if epochs.mechanism == "smt":
        columns["temperature"] = matching_temperature(
            weights, temperature=epochs.temperature
        ).tolist()
    else:
        columns["candidates"] = matching_candidates(weights, candidates=epochs.top_k).tolist()
        columns["cold_start_percentile"] = cold_start_percentile(
            weights,
            bounds=[bound for bound, _ in epochs.percentiles],
            percentiles=[*(p for _, p in epochs.percentiles), epochs.percentile_above],
            edge=epochs.percentile_edge,
        ).tolist()
    treated, *control = arms(epochs)
    return [
        {
            **plain,
            "group_id": w.group_id,
            "arm": arm,
            "weight": w.weight if arm == treated else 1.0,
        }
        | ({name: column[n] for name, column in columns.items()} if arm == treated else {})
        for n, w in enumerate(state.rows)
        for arm in (treated, *control)
    ]


def publish_matching(con: Connection, home: Home, day: date) -> None:
    """Write the day's matching policy to `matching_policy/<day>.parquet`, by write and rename;
    nothing where there is none.
    """
    rows = con.execute(
        "SELECT * FROM matching_policy WHERE day = ? ORDER BY group_id, arm", [day]
    ).to_arrow_table()
    if rows.num_rows:
        import pyarrow.parquet as pq

        with replacing(home.root / "matching_policy" / f"{day}.parquet") as temporary:
            pq.write_table(rows, temporary)
