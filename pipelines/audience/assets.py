"""Adaptive epochs: who is in which group of viewers, how well each group was served, and the
weights that hold on the next day.

With mechanism `none` all three make an empty day at once. The chain of weights is in
`pipelines/audience/weights.py` (docs/formulas.md section 5).
"""

from __future__ import annotations

from datetime import date

import dagster as dg

from pipelines.audience.experiment import gains, table_2
from pipelines.audience.grouping import Grouping, make_version
from pipelines.audience.weights import (
    DAY,
    arms,
    begins,
    is_committed,
    mechanism_on,
    next_state,
    publish_matching,
    require_weights,
    state_on,
    write_state,
)
from pipelines.plain import markdown_table
from pipelines.runs.daily import Day, Metadata, daily_asset
from pipelines.sql import as_text, query
from pipelines.store.warehouse import MissingDayError

PLOTTED = 25
_NONE: Metadata = {"rows": 0, "mechanism": "none"}


@daily_asset(group="audience", extra_tables=["group_centres"], in_order=True)
def viewer_groups(run: Day) -> Metadata:
    """Groups of viewers by k-means on static features. New viewers join the nearest group; a new
    version is made on a schedule.
    """
    epochs, policies = run.policy.epochs, run.home.policies
    if epochs.mechanism == "none":
        with run.write() as writer:
            writer.write("viewer_groups", [])
        return _NONE
    grouping = Grouping.on(run.con, run.day)
    if begins(run.home, policies, run.day) and (not grouping or grouping.version != run.day):
        _make_version(run, run.day)
        grouping = Grouping.on(run.con, run.day)
    if not grouping:
        require_weights(run.con, run.home, policies, run.day)  # says which day is missing
        raise MissingDayError(
            f"nobody is known on {run.day}, so there is no group of viewers; docs/data.md says how"
            " to land viewers"
        )
    tomorrow = run.day + DAY
    due = (tomorrow - grouping.version).days >= epochs.refresh_days and mechanism_on(
        policies, tomorrow
    ) != "none"
    made = Grouping.on(run.con, tomorrow)
    if due and made == grouping and not is_committed(run.con, tomorrow):
        _make_version(
            run, tomorrow
        )  # so that the weights of its groups are committed before it holds
    everybody = (
        grouping.version == run.day
        or policies.in_force(run.day - DAY).epochs.experiment != epochs.experiment
    )
    grouping.assign(run.con, run.day, changed_on=None if everybody else run.day)
    treated, *control = arms(epochs)
    with run.write() as writer:
        rows = writer.write(
            "viewer_groups",
            f"""SELECT viewer_id, group_id, DATE '{grouping.version}' AS version, {_arm(run)} AS arm
                FROM assigned ORDER BY viewer_id""",
        )
    sizes = run.con.execute(
        """SELECT group_id, count(*) FROM (SELECT arg_max(group_id, day) AS group_id
            FROM viewer_groups WHERE day <= ? GROUP BY viewer_id)
           GROUP BY group_id ORDER BY group_id""",
        [run.day],
    ).fetchall()
    return {
        "rows": rows,
        "version": grouping.version.isoformat(),
        "groups": len(grouping.groups),
        "arms": ", ".join((treated, *control)),
        "viewers": dg.MetadataValue.json(dict(sizes)),
        "evidence": dg.MetadataValue.json(grouping.evidence),
    }


def _make_version(run: Day, version: date) -> None:
    with run.write(version) as writer:
        made = make_version(run.con, version, run.day, run.policy.epochs)
        writer.write("group_centres", made)


def _arm(run: Day) -> str:
    treated, *control = arms(run.policy.epochs)
    experiment = run.policy.epochs.experiment
    if not experiment:
        return f"'{treated}'"
    salt = as_text(f"{experiment.salt}:")
    below = int(experiment.share * 2**64)
    return (
        f"CASE WHEN md5_number_lower({salt} || viewer_id) < {below}::UBIGINT THEN '{treated}'"
        f" ELSE '{control[0]}' END"
    )


@daily_asset(group="audience")
def group_utility(run: Day) -> Metadata:
    """How well each group of viewers was served: a metric per impression, with its confidence
    interval, and its change.
    """
    epochs = run.policy.epochs
    grouping = None if epochs.mechanism == "none" else Grouping.on(run.con, run.day)
    if not grouping:
        with run.write() as writer:
            writer.write("group_utility", [], policy_hash=run.policy.hash)
        return _NONE
    names = arms(epochs)
    with run.write() as writer:
        rows = writer.replace(
            "group_utility",
            query("audience/group_utility"),
            {
                "day": run.day,
                "first_day": run.day - 2 * DAY if epochs.relative else run.day,
                "version": grouping.version,
                "metric": epochs.utility,
                "relative": epochs.relative,
                "least": epochs.min_impressions,
                "arms": list(names),
                "control": names[1] if len(names) > 1 else "",
                "policy_hash": run.policy.hash,
            },
        )
    measured = run.con.execute(
        """SELECT group_id, utility, share, enough, value FROM group_utility WHERE day = ?
            AND steers ORDER BY group_id""",
        [run.day],
    ).fetchall()
    plotted = measured[:PLOTTED]
    return {
        "rows": rows,
        "metric": (
            f"{epochs.utility}{', change over the two days before' if epochs.relative else ''}"
        ),
        "groups_without_enough_impressions": sum(not enough for _, _, _, enough, _ in measured),
        **{f"utility {group}": utility for group, utility, *_ in plotted if utility is not None},
        **{f"share {group}": share for group, _, share, *_ in plotted},
        **{f"{epochs.utility} {group}": value for group, *_, value in plotted if value is not None},
        **(_gains_of_the_day(run) if epochs.experiment else {}),
    }


def _gains_of_the_day(run: Day) -> Metadata:
    """The day's table 2 (Yao et al.): what treatment changed. A day alone says little; `earnings
    lab arms` takes all days together.
    """
    measured = gains(run.con, run.policy.epochs, run.day, run.day)
    head, rows = table_2(measured)
    total = next(
        (g.interval for g in measured if (g.part, g.measure) == (0, run.policy.epochs.utility)),
        None,
    )
    return {
        "gains of treatment": dg.MetadataValue.md("\n".join(markdown_table(head, rows))),
        **(dict(zip(("gain", "gain_low", "gain_high"), total, strict=True)) if total else {}),
    }


@daily_asset(
    group="audience",
    extra_tables=["matching_policy", "weight_commits"],
    in_order=True,
)
def group_weights(run: Day) -> Metadata:
    """Weights of viewer groups for the next day, by algorithm 1: committed once, from the state of
    this day and what it showed.
    """
    policies, tomorrow = run.home.policies, run.day + DAY
    following = policies.in_force(tomorrow)
    if "none" in (run.policy.epochs.mechanism, following.epochs.mechanism):
        return _NONE
    state, state_hash = state_on(run.con, run.home, policies, run.day)
    if not state_hash:
        with run.write() as writer:
            state_hash = write_state(
                writer,
                state,
                run.policy.epochs,
                run.policy.hash,
                "all weights begin at 1",
                publish=False,
            )
    outcome = "unchanged"
    if not is_committed(run.con, tomorrow):
        outcome = "committed"
        after = next_state(run.con, state, state_hash, following.epochs)
        with run.write(tomorrow) as writer:
            write_state(writer, after, following.epochs, following.hash, "committed before its day")
    if not run.restating:
        publish_matching(run.con, run.home, tomorrow)
    return {"outcome": outcome, **weights_metadata(run, tomorrow)}


def weights_metadata(run: Day, day: date) -> Metadata:
    """What the web UI plots of a day's weights."""
    weights = run.con.execute(
        "SELECT group_id, weight, observed, stuck, state_hash, note FROM group_weights WHERE day ="
        " ? ORDER BY group_id",
        [day],
    ).fetchall()
    notes = {group: note for group, *_, note in weights if note}
    return {
        "rows": len(weights),
        "holds_on": day.isoformat(),
        "least_weight": min(weight for _, weight, *_ in weights),
        "largest_weight": max(weight for _, weight, *_ in weights),
        "groups_that_keep_their_weight": sum(not observed for _, _, observed, *_ in weights),
        "groups_stuck_at_the_clip": sum(stuck for *_, stuck, _, _ in weights),
        "state_hash": weights[0][4],
        **{f"weight {group}": weight for group, weight, *_ in weights[:PLOTTED]},
        **({"notes": dg.MetadataValue.json(notes)} if notes else {}),
    }
