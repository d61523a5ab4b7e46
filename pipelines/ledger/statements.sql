-- Statement of every creator whose account moved in the days $first_day to $through, or still held something before them.
-- The first bonuses of a month are earned when they are booked, also where the month was closed before.
-- Cents are rounded down, and nobody is paid less than nothing: the rest carries forward.
WITH account AS (
    SELECT owner_of(account) AS creator_id,
           CAST(coalesce(sum(amount_micros) FILTER (booked_day < $first_day), 0) AS BIGINT) AS brought_forward_micros,
           CAST(coalesce(sum(amount_micros) FILTER (booked_day >= $first_day AND now), 0) AS BIGINT) AS earned_micros,
           CAST(coalesce(sum(amount_micros) FILTER (booked_day >= $first_day AND NOT now), 0) AS BIGINT) AS restated_micros
    FROM ledger_entries AS e
    JOIN (SELECT txn_id, kind, booked_day, day >= $first_day OR (kind = 'bonus' AND revision = 1) AS now FROM ledger_transactions)
      USING (txn_id)
    WHERE booked_day <= $through AND starts_with(account, 'creator:') AND (kind <> 'statement' OR booked_day < $first_day)
    GROUP BY account
    HAVING brought_forward_micros <> 0 OR count(*) FILTER (booked_day >= $first_day) > 0
),
owed AS (
    SELECT *, brought_forward_micros + earned_micros + restated_micros AS micros FROM account
)
SELECT CAST($through AS DATE) AS day, CAST($first_day AS DATE) AS first_day, creator_id,
       brought_forward_micros, earned_micros, restated_micros,
       greatest(0, micros // $micros_per_cent) AS paid_cents,
       micros - $micros_per_cent * greatest(0, micros // $micros_per_cent) AS carried_forward_micros
FROM owed
