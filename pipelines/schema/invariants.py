"""What must hold of the tables on a day, as SQL that returns the rows for which it does not.

Each is used three times: inside the transaction that writes a day (before it is visible), as a
blocking asset check (after), and in tests. Amounts are integers, so every sum is compared exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from pipelines.errors import ExpectedError
from pipelines.schema import DAILY, LANDING, PAYING, TABLES, Table
from pipelines.sql import as_dicts

# Largest residuals and gaps of a certificate: of a closed form or a dual search, of a branch and
# bound, of a general solver's model.
CERTAIN, PROVEN, MODELLED = 1e-9, 1e-8, 1e-6
LEAST_BAD_ROWS = 5
NOTHING_TO_LOOK_AT = "nothing_to_look_at"
DIGITS = 1e-11  # what doubles of a large payout may be off by, relative


class InvariantError(ExpectedError, RuntimeError):
    """A promise about a day does not hold: names the promise and the first rows that break it."""


@dataclass(frozen=True)
class Invariant:
    """`sql` selects violating rows; it may use `$day` and `$quarantine_limit`.

    `checked` ones are asset checks too; the others are only enforced when a day is written (every
    check costs Dagster half a dozen events, most of a short run's time). One that is not `enforced`
    warns: its check fails, and nothing is stopped.
    """

    name: str
    table: str
    promise: str
    sql: str
    checked: bool = True
    enforced: bool = True

    def violations(
        self, con: duckdb.DuckDBPyConnection, day: date, *, quarantine_limit: float, most: int = 5
    ) -> list[dict[str, Any]]:
        """The first `most` rows for which the promise does not hold on `day`."""
        parameters: dict[str, Any] = {"day": day, "quarantine_limit": quarantine_limit}
        used = {name: value for name, value in parameters.items() if f"${name}" in self.sql}
        return as_dicts(con.execute(f"SELECT * FROM ({self.sql}) LIMIT {most}", used))


def enforce(
    con: duckdb.DuckDBPyConnection,
    tables: Iterable[str],
    day: date,
    *,
    quarantine_limit: float,
    but: Collection[str] = (),
) -> None:
    """Raise InvariantError if any invariant of the tables is broken on `day`; `but`: names of those
    that cannot be told here.
    """
    for table in tables:
        for invariant in (i for i in of_table(table) if i.enforced and i.name not in but):
            if rows := invariant.violations(con, day, quarantine_limit=quarantine_limit):
                found = "; ".join(
                    ", ".join(f"{key} = {value}" for key, value in row.items()) for row in rows
                )
                raise InvariantError(
                    f"{table} {day}: not written, for this must hold: {invariant.promise}. It does"
                    f" not: {found}"
                )


def of_table(table: str) -> tuple[Invariant, ...]:
    """Invariants of a table."""
    return tuple(i for i in INVARIANTS if i.table == table)


STATE_HASH = """sha256(any_value(day) || chr(10) || any_value(made_from) || chr(10)
    || string_agg(group_id || ' ' || weight || ' ' || observed, chr(10) ORDER BY group_id))"""

STATED = ("statement", "hold", "reserve", "clearing", "paid", "returned")
"""Accounts of a creator's money once it was stated, by prefix: every cent of every statement is in
one of them.
"""

ASTRAY = f"""SELECT account, part, sum(amount_micros) AS micros FROM (
      SELECT account, CASE WHEN split_part(account, ':', 1) IN ('statement', 'hold') THEN ''
             ELSE part END AS part, amount_micros FROM ledger_entries
      WHERE split_part(account, ':', 1) IN {STATED})
    GROUP BY ALL HAVING sum(amount_micros) < 0 OR sum(amount_micros) % 10000 <> 0"""


def _unique(table: Table) -> Invariant:
    key = ", ".join(table.key)
    return Invariant(
        "unique_key",
        table.name,
        f"one row per {key}",
        f"SELECT {key}, count(*) AS n FROM {table.name} WHERE day = $day GROUP BY ALL HAVING"
        " count(*) > 1",
        checked=False,
    )


def _quarantine(table: Table, *, checked: bool = True) -> Invariant:
    """The share of rows, of money and of creators; under a least number of bad rows nothing is
    stopped, for one of 24 is already 4 %. Copies of rows that count on another day are no loss.
    """
    return Invariant(
        "quarantine_share",
        table.name,
        "the share of rows, of money and of creators in quarantine is under the limit"
        f" (settings.toml: quarantine_limit; it stops nothing under {LEAST_BAD_ROWS} rows unless"
        " they are all), or the files are corrected first",
        f"""SELECT f.rows, q.bad, round(q.bad / f.rows, 4) AS share, m.of_money, c.of_creators,
            $quarantine_limit AS quarantine_limit, q.reasons, q.example FROM
            (SELECT sum(rows)::BIGINT AS rows FROM landing_files
             WHERE table_name = '{table.name}' AND day = $day) f,
            (SELECT count(*) AS bad, histogram(regexp_extract(reason, '^[^(]*')) AS reasons,
            min(file || ':' || line || ' ' || reason) AS example
             FROM quarantine WHERE table_name = '{table.name}' AND day = $day
             AND reason NOT LIKE '%: in the book already (%') q,
            (SELECT max(count / total) AS of_money FROM figures WHERE table_name = '{table.name}'
             AND day = $day AND starts_with(figure, 'quarantined_') AND total > 0
             AND figure <> 'quarantined_creators') m,
            (SELECT max(count / total) AS of_creators FROM figures
             WHERE table_name = '{table.name}'
             AND day = $day AND figure = 'quarantined_creators' AND total > 0
             AND {table.kind == "daily"}) c
            WHERE f.rows > 0 AND q.bad > 0 AND (q.bad >= {LEAST_BAD_ROWS} OR q.bad = f.rows)
            AND greatest(q.bad / f.rows, coalesce(m.of_money, 0), coalesce(c.of_creators, 0))
            >= $quarantine_limit""",
        checked=checked,
    )


def _nothing_to_look_at(table: str) -> Invariant:
    return Invariant(
        NOTHING_TO_LOOK_AT,
        table,
        "no figure of the day is out of the ordinary (table `figures`)",
        f"""SELECT figure, warning FROM figures WHERE table_name = '{table}' AND day = $day
            AND warning IS NOT NULL ORDER BY figure""",
        enforced=False,
    )


def _orphans(table: Table, column: str, target: str) -> Invariant:
    key = TABLES[target].key[0]
    return Invariant(
        f"known_{column}",
        table.name,
        f"every {column} is in {target}",
        f"""SELECT {table.key[0]}, {column} FROM {table.name}
            WHERE day = $day AND {column} IS NOT NULL
              AND {column} NOT IN (SELECT {key} FROM {target} WHERE day <= $day)""",
    )


def _constrained(table: Table) -> Invariant:
    """The table's constraints, as the database would keep them that has some."""
    on_day = "day = $day" if any(c.name == "day" for c in table.columns) else "true"
    row = f"concat_ws(', ', {', '.join(table.key)})"
    broken = []
    for constraint in table.constraints:
        rule, _, inside = constraint.partition(" (")
        inside = inside.removesuffix(")")
        broken.append(
            f"SELECT '{rule} {inside.replace(chr(39), chr(39) * 2)}' AS broken, min({row}) AS row"
            f" FROM {table.name}"
            + (
                f" WHERE {on_day} AND NOT ({inside})"
                if rule == "CHECK"
                else f" GROUP BY {inside} HAVING count(*) > 1"
            )
        )
    sql = " UNION ALL ".join(f"FROM ({part}) WHERE row IS NOT NULL" for part in broken)
    promise = f"{table.name}: {'; '.join(table.constraints)}"
    return Invariant("constraints", table.written_with or table.name, promise, sql, checked=False)


_BY_HAND = (
    Invariant(
        "state_unbroken",
        "group_weights",
        "the state is the hash of its weights and of the state of the day before; a group that was"
        " not observed keeps its weight",
        f"""WITH state AS (
              SELECT day, any_value(made_from) AS made_from, any_value(state_hash) AS state_hash,
              {STATE_HASH} AS found,
                     count(DISTINCT made_from || state_hash) AS states
              FROM group_weights WHERE day BETWEEN $day::DATE - 1 AND $day GROUP BY day)
            SELECT 'not the hash of its weights' AS broken, NULL AS group_id, state_hash AS is,
            found AS should_be
            FROM state WHERE day = $day AND (state_hash <> found OR states > 1)
            UNION ALL
            SELECT 'not made from the state of the day before: earnings recommit --from '
            || $day::DATE, NULL, now.made_from,
                   coalesce(before.state_hash, '')
            FROM state AS now LEFT JOIN state AS before ON before.day = now.day - 1
            WHERE now.day = $day AND now.made_from <> coalesce(before.state_hash, '')
            UNION ALL
            SELECT 'moved without data', group_id, now.weight::VARCHAR, before.weight::VARCHAR
            FROM group_weights AS now JOIN group_weights AS before USING (group_id)
            WHERE now.day = $day AND before.day = $day::DATE - 1 AND NOT now.observed
            AND now.weight <> before.weight""",
    ),
    Invariant(
        "not_stuck_at_the_clip",
        "group_weights",
        "no weight is at an end of the clip for as many days as the policy calls too many"
        " (epochs.stuck_days)",
        "SELECT group_id, weight, clipped_days FROM group_weights WHERE day = $day AND stuck",
        enforced=False,
    ),
    Invariant(
        "components_in_bounds",
        "video_quality",
        "W, E, D, R, S and Q lie in [0, 1], views and effective views are finite and not negative",
        """SELECT video_id, watch, engagement, diversity, rewatch, safety, quality, qualified_views,
            effective_views FROM video_quality
           WHERE day = $day AND NOT (watch BETWEEN 0 AND 1 AND engagement BETWEEN 0 AND 1
           AND diversity BETWEEN 0 AND 1
             AND rewatch BETWEEN 0 AND 1 AND safety BETWEEN 0 AND 1 AND quality BETWEEN 0 AND 1
             AND qualified_views >= 0 AND isfinite(qualified_views) AND effective_views >= 0
             AND isfinite(effective_views)
             AND unverified_scale BETWEEN 0 AND 1)""",
    ),
    Invariant(
        "compliance_gate",
        "video_quality",
        "a video that does not comply has Q = 0",
        "SELECT video_id, quality FROM video_quality WHERE day = $day AND NOT compliant AND quality"
        " <> 0",
    ),
    Invariant(
        "compliance_gate",
        "pulse_payouts",
        "only videos that comply are Pulse",
        """SELECT video_id FROM pulse_payouts p WHERE day = $day
           AND NOT EXISTS (FROM video_quality q WHERE q.day = $day AND q.video_id = p.video_id
           AND q.compliant)""",
    ),
    Invariant(
        "within_revenue",
        "pulse_payouts",
        "0 <= payout <= revenue",
        """SELECT video_id, payout_micros, revenue_micros FROM pulse_payouts
           WHERE day = $day AND NOT payout_micros BETWEEN 0 AND revenue_micros""",
    ),
    Invariant(
        "pool_balances",
        "ad_pools",
        "revenue + carried in + spread = platform + paid + carried out, nothing negative",
        """SELECT * FROM ad_pools WHERE day = $day AND (
             revenue_micros + carry_in_micros + spread_micros
             <> platform_micros + pool_micros + carry_out_micros
             OR least(revenue_micros, platform_micros, carry_in_micros, pool_micros,
             carry_out_micros) < 0)""",
    ),
    Invariant(
        "spread_sums_to_zero",
        "ad_pools",
        "what pools give away is what others take over",
        "SELECT sum(spread_micros) AS spread FROM ad_pools WHERE day = $day HAVING"
        " sum(spread_micros) <> 0",
    ),
    Invariant(
        "revenue_is_all_there",
        "ad_pools",
        "pool revenue and Pulse revenue add up to the day's advertising money",
        """SELECT a.micros AS taken_in, p.micros AS pulse, c.micros AS pools FROM
             (SELECT coalesce(sum(amount_micros), 0) AS micros FROM ad_revenue WHERE day = $day) a,
             (SELECT coalesce(sum(revenue_micros), 0) AS micros FROM pulse_payouts
             WHERE day = $day) p,
             (SELECT coalesce(sum(revenue_micros), 0) AS micros FROM ad_pools WHERE day = $day) c
           WHERE a.micros <> p.micros + c.micros""",
    ),
    Invariant(
        "pools_sum_exactly",
        "ad_payouts",
        "the payouts of every pool sum to it, to the micro",
        """SELECT category, pool_micros, paid, carried FROM
             (SELECT category, pool_micros, carry_in_micros FROM ad_pools WHERE day = $day) p
             FULL JOIN (SELECT category, sum(payout_micros) AS paid,
             sum(carried_micros) AS carried FROM ad_payouts
                        WHERE day = $day GROUP BY category) a USING (category)
           WHERE coalesce(pool_micros, 0) <> coalesce(paid, 0)
              OR (coalesce(paid, 0) > 0 AND coalesce(carried, 0) <> coalesce(carry_in_micros,
              0))""",
    ),
    Invariant(
        "bounds_kept",
        "ad_payouts",
        "every unit of fairness is paid at least its floor and at most its cap; no payout is"
        " negative",
        """SELECT category, unit_id, paid, floor_micros, cap_micros FROM
             (SELECT category, unit_id, sum(payout_micros) AS paid, min(payout_micros) AS least,
                bool_and(carried_micros BETWEEN 0 AND payout_micros) AS carried_fits
                FROM ad_payouts WHERE day = $day GROUP BY ALL)
             JOIN ad_solutions s USING (category)
           WHERE s.day = $day AND (least < 0 OR NOT carried_fits OR paid < floor_micros
           OR paid > coalesce(cap_micros, paid))""",
    ),
    Invariant(
        "compliance_gate",
        "ad_payouts",
        "only videos that comply are paid",
        """SELECT video_id, payout_micros FROM ad_payouts p WHERE day = $day AND payout_micros > 0
           AND NOT EXISTS (FROM video_quality q WHERE q.day = $day AND q.video_id = p.video_id
           AND q.compliant)""",
    ),
    Invariant(
        "no_account_moves_more",
        "ad_payouts",
        "one unverified account moves no video's pay by more viewer-days than the policy's"
        " account_limit",
        """SELECT video_id, creator_id, account_micros, viewer_day_micros, account_limit
           FROM manipulation WHERE day = $day AND account_micros > account_limit * viewer_day_micros
           ORDER BY account_micros DESC""",
        enforced=False,
    ),
    Invariant(
        "coins_are_all_there",
        "donation_splits",
        "the coins of all splits are the coins of all gifts",
        """SELECT s.coins AS split, g.coins AS gifted FROM
             (SELECT coalesce(sum(normal_coins + premium_coins), 0) AS coins
             FROM donation_splits WHERE day = $day) s,
             (SELECT coalesce(sum(coins), 0) AS coins FROM gifts WHERE day = $day) g
           WHERE s.coins <> g.coins""",
    ),
    Invariant(
        "within_revenue",
        "donation_splits",
        "0 <= payout <= value of the coins, shares in [0, 1], nothing for a video that does not"
        " comply",
        """SELECT video_id, payout_micros, revenue_micros FROM donation_splits WHERE day = $day
            AND (
             NOT payout_micros BETWEEN 0 AND revenue_micros OR NOT normal_share BETWEEN 0 AND 1
             OR NOT premium_share BETWEEN 0 AND 1
             OR (NOT compliant AND payout_micros > 0))""",
    ),
    Invariant(
        "floor_kept",
        "donation_splits",
        "the platform keeps the revenue floor that held: of each video's coins, or of all that"
        " comply together (coin_solutions.scope)",
        f"""SELECT any_value(video_id) AS video_id, sum(revenue_micros) AS revenue,
            sum(payout_micros) AS payout, revenue_floor
            FROM donation_splits JOIN coin_solutions USING (day) WHERE day = $day AND compliant
            GROUP BY CASE WHEN scope = 'video' THEN video_id END, revenue_floor
            HAVING payout > (1 - revenue_floor + {DIGITS}) * revenue""",
        checked=False,
    ),
    Invariant(
        "market_consistent",
        "donation_market",
        "0 <= alpha_low <= alpha <= alpha_high <= 1, alpha within its bounds, the best split leaves"
        " at least what today's does, the floor is 1 - alpha_high or none, all 96 quarter hours are"
        " counted; a week without a market says why; the latest record is of this market",
        """SELECT m.day, alpha, alpha_low, alpha_high, lower_bound, upper_bound, payoff_today,
            payoff_best, m.revenue_floor, note
           FROM donation_market AS m WHERE m.day = $day AND (
             NOT (SELECT count(*) = 96 FROM donation_market_places WHERE day = $day
             AND attribute = 'time')
             OR NOT EXISTS (SELECT 1 FROM market_commits AS c WHERE c.day = $day
             AND c.alpha IS NOT DISTINCT FROM m.alpha
                              AND c.revenue_floor IS NOT DISTINCT FROM m.revenue_floor
                              AND c.revision = (SELECT max(revision) FROM market_commits
                              WHERE day = $day))
             OR CASE WHEN alpha IS NULL THEN m.revenue_floor IS NOT NULL OR note = ''
                ELSE NOT coalesce(0 <= alpha_low AND alpha_low <= alpha AND alpha <= alpha_high
                AND alpha_high <= 1
                  AND alpha BETWEEN lower_bound - 1e-4 AND upper_bound + 1e-4
                  AND payoff_best >= payoff_today * (1 - 1e-9)
                  AND (m.revenue_floor IS NULL AND note <> ''
                       OR abs(m.revenue_floor + alpha_high - 1) < 1e-9) AND gain_low <= gain
                  AND gain <= gain_high
                  AND (b1_low IS NULL OR b1 BETWEEN b1_low AND b1_high)
                  AND EXISTS (SELECT 1 FROM donation_market_profile WHERE day = $day AND plausible),
                  false) END)""",
    ),
    Invariant(
        "certified",
        "ad_payouts",
        "every pool's certificate: constraints kept to 1e-9, gap at most 1e-9 (1e-6 where rules"
        " needed a model), payouts within a micro of the optimum (of a few micros under rules);"
        " every rule kept in whole micros",
        f"""SELECT category, 'solution' AS what, primal_residual, gap, rounding_micros
            FROM ad_solutions s WHERE day = $day AND NOT (
              primal_residual <= {CERTAIN}
              AND gap <= CASE WHEN solver = 'dual' OR starts_with(solver, 'closed form')
              THEN {CERTAIN} ELSE {MODELLED} END
              AND rounding_micros <= CASE WHEN EXISTS (FROM ad_rules r WHERE r.day = $day
              AND r.category = s.category)
                                          THEN units ELSE 1 END + {DIGITS} * most_micros)
            UNION ALL
            SELECT category, rule, paid_micros, minimum_micros, maximum_micros FROM ad_rules
            WHERE day = $day AND note = ''
              AND NOT (paid_micros >= coalesce(minimum_micros, paid_micros)
              AND paid_micros <= coalesce(maximum_micros, paid_micros))""",
    ),
    Invariant(
        "certified",
        "donation_splits",
        "the certificate of the day's coin splits: constraints kept to 1e-9, gap at most 1e-8,"
        " payouts within a micro of the optimum",
        f"""SELECT scope, primal_residual, gap, rounding_micros FROM coin_solutions WHERE day = $day
            AND NOT (primal_residual <= {CERTAIN} AND gap <= {PROVEN}
            AND rounding_micros <= 1.001)""",
    ),
    Invariant(
        "levels_rise",
        "reward_schedule",
        "levels are numbered from 1, and with each the threshold and the bonus rise from above 0",
        """SELECT level, threshold_milliviews, bonus_micros FROM
             (SELECT *, row_number() OVER (ORDER BY level) AS place,
                     lag(threshold_milliviews, 1, 0) OVER (ORDER BY level) AS lower,
                     lag(bonus_micros, 1, 0) OVER (ORDER BY level) AS less
              FROM reward_schedule WHERE day = $day)
           WHERE level <> place OR threshold_milliviews <= lower OR bonus_micros <= less""",
    ),
    Invariant(
        "expected_within_budget",
        "reward_schedule",
        "the bonuses that creators are expected to pick add up to no more than the budget",
        """SELECT expected, budget FROM
             (SELECT sum(creators * bonus_micros) AS expected, min(budget_micros) AS budget
             FROM reward_schedule WHERE day = $day)
           WHERE expected > budget""",
    ),
    Invariant(
        "nobody_prefers_another_level",
        "reward_schedule",
        "no type gains a micro by another published level than its own, or by none",
        f"""WITH model AS (SELECT price_micros AS p, exponent AS k FROM reward_forecast
            WHERE day = $day AND scheme = 'published'),
            types AS (SELECT DISTINCT type, type_production AS own, difficulty AS h, level
            FROM creator_types WHERE day = $day),
            levels AS (SELECT level, threshold_milliviews / 1000 AS x, bonus_micros AS r
            FROM reward_schedule WHERE day = $day
                       UNION ALL SELECT 0, 0, 0),
            worth AS (SELECT type, types.level AS picks, levels.level,
                             r - h * (greatest(x, own) ** k - own ** k) + p * (greatest(x,
                             own) - own) AS utility,
                             h * greatest(x, own) ** k AS cost
                      FROM types, levels, model)
            SELECT type, picks, other.level AS prefers, other.utility - mine.utility AS gain
            FROM worth AS mine JOIN worth AS other USING (type, picks)
            WHERE mine.level = picks
            AND other.utility - mine.utility > 1 + {DIGITS} * other.cost""",
    ),
    Invariant(
        "never_above_the_budget",
        "creator_bonuses",
        "all bonuses of the month add up to what was promised, or to the budget if that is less;"
        " nobody gets more than promised",
        """SELECT sum(paid_micros) AS paid, sum(promised_micros) AS promised,
            min(budget_micros) AS budget FROM creator_bonuses
           WHERE day = $day
           HAVING sum(paid_micros) <> least(sum(promised_micros), min(budget_micros))
               OR NOT bool_and(paid_micros BETWEEN 0 AND promised_micros)
               OR min(budget_micros) <> max(budget_micros)""",
    ),
    Invariant(
        "levels_reached",
        "creator_bonuses",
        "everybody is promised what the highest level that it reached pays, and nobody less",
        """SELECT creator_id, b.level, b.production_milliviews, promised_micros,
            best.bonus_micros FROM creator_bonuses AS b
           LEFT JOIN reward_schedule AS best ON best.month = date_trunc('month', b.day)
           AND best.level =
             (SELECT max(level) FROM reward_schedule AS s
              WHERE s.month = date_trunc('month', b.day)
              AND s.threshold_milliviews <= b.production_milliviews)
           WHERE b.day = $day AND (b.level <> coalesce(best.level, 0)
           OR promised_micros <> coalesce(best.bonus_micros, 0)
              OR b.threshold_milliviews <> coalesce(best.threshold_milliviews, 0)
              OR b.budget_micros <> coalesce(best.budget_micros, b.budget_micros))""",
    ),
    Invariant(
        "bonuses_are_posted",
        "creator_bonuses",
        "the ledger owes every creator its bonus, to the micro",
        """SELECT creator_id, paid_micros, owed FROM
             (SELECT creator_id, paid_micros FROM creator_bonuses WHERE day = $day)
             FULL JOIN (SELECT owner_of(account) AS creator_id, sum(amount_micros) AS owed
             FROM ledger_entries
                        WHERE day = $day AND starts_with(part, 'bonus:') AND starts_with(account,
                        'creator:') GROUP BY account)
             USING (creator_id)
           WHERE coalesce(paid_micros, 0) <> coalesce(owed, 0)""",
    ),
    Invariant(
        "entries_sum_to_zero",
        "ledger_entries",
        "every transaction sums to zero, in total and part by part",
        """SELECT txn_id, part, sum(amount_micros) AS off FROM ledger_entries WHERE day = $day
           GROUP BY txn_id, part HAVING sum(amount_micros) <> 0""",
    ),
    Invariant(
        "pools_are_emptied",
        "ledger_entries",
        "no money stays in a pool: it is paid or carried",
        """SELECT account, sum(amount_micros) AS left FROM ledger_entries WHERE day = $day
            AND starts_with(account, 'pool:')
           GROUP BY account HAVING sum(amount_micros) <> 0""",
    ),
    Invariant(
        "gross_is_owed_to_somebody",
        "ledger_entries",
        "creators + platform + carry + what is in dispute = gross taken in, to the micro",
        """SELECT gross, owed FROM
             (SELECT (SELECT coalesce(sum(amount_micros), 0) FROM ad_revenue WHERE day = $day)
                   + (SELECT coalesce(sum(revenue_micros), 0) FROM donation_splits
                   WHERE day = $day) AS gross),
             (SELECT coalesce(sum(amount_micros), 0) AS owed FROM ledger_entries
              WHERE day = $day AND part <> 'statement'
                AND (account = 'platform' OR starts_with(account, 'creator:')
                OR starts_with(account, 'carry:') OR starts_with(account, 'dispute:')))
           WHERE gross <> owed""",
    ),
    Invariant(
        "chain_unbroken",
        "ledger_entries",
        "every transaction carries the hash of the one before it",
        """SELECT seq, prev_hash, before FROM
             (SELECT seq, day, prev_hash, coalesce(lag(hash) OVER (ORDER BY seq), '') AS before
             FROM ledger_transactions)
           WHERE day = $day AND prev_hash <> before""",
    ),
    Invariant(
        "instructions_are_booked",
        "payments",
        "every payment is what the ledger moves into clearing for it, to the cent, and the other"
        " way round",
        """SELECT payment_id, amount_cents, booked FROM
             (SELECT payment_id, txn_id, amount_cents FROM payments WHERE day = $day)
             FULL JOIN (SELECT part[9:] AS payment_id, txn_id, sum(amount_micros) AS booked
                        FROM ledger_entries JOIN ledger_transactions t USING (txn_id)
                        WHERE t.day = $day AND kind = 'payment' AND starts_with(account,
                        'clearing:') GROUP BY ALL) USING (payment_id, txn_id)
           WHERE coalesce(10000 * amount_cents, 0) <> coalesce(booked, 0)""",
        checked=False,
    ),
    Invariant(
        "nothing_on_its_way_is_negative",
        "payments",
        "no account of stated money is below 0, and each holds whole cents, payment by payment",
        f"FROM ({ASTRAY})",
        checked=False,
    ),
    Invariant(
        "policy_within_guard",
        "ledger_entries",
        "a version of the policy that begins to pay moved no more in shadow than the guard allows"
        " (settings.toml: [shadow]), or somebody confirmed it",
        """SELECT warning AS refused FROM figures WHERE day = $day
           AND table_name = 'ledger_entries' AND figure = 'policy_refused'""",
    ),
    Invariant(
        "parts_sum_to_total",
        "creator_earnings",
        "the parts of every creator's earnings sum to the total, and the categories to the ads"
        " part",
        """SELECT creator_id, total_micros FROM creator_earnings WHERE day = $day AND (
             pulse_micros + ads_micros + carry_micros + coins_micros + adjustment_micros
             + bonus_micros + shares_micros <> total_micros
             OR coalesce(list_sum(map_values(ads_by_category)), 0) <> ads_micros)""",
    ),
    Invariant(
        "agrees_with_ledger",
        "creator_earnings",
        "every creator's total is the balance of the creator's account for the day",
        """SELECT creator_id, total_micros, balance FROM
             (SELECT creator_id, total_micros FROM creator_earnings WHERE day = $day)
             FULL JOIN (SELECT owner_of(account) AS creator_id, sum(amount_micros) AS balance
             FROM ledger_entries
                        WHERE day = $day AND starts_with(account, 'creator:')
                        AND part <> 'statement' GROUP BY account) USING (creator_id)
           WHERE coalesce(total_micros, 0) <> coalesce(balance, 0)""",
    ),
)

INVARIANTS: tuple[Invariant, ...] = (
    *(_unique(t) for t in TABLES.values() if t.kind != "log"),
    *(_constrained(t) for t in TABLES.values() if t.constraints),
    *(_quarantine(t) for t in LANDING.values()),
    *(_quarantine(t, checked=False) for t in PAYING),
    *(_nothing_to_look_at(t) for t in (*LANDING, "video_quality", "ad_pools")),
    *(
        _orphans(t, column, target)
        for t in (*DAILY, TABLES["videos"])
        for column, target in t.references
    ),
    *_BY_HAND,
)
