-- What the ledger owes each creator for the day, by part; reversed transactions cancel out in the sums.
WITH parts AS (
    SELECT owner_of(account) AS creator_id, part, sum(amount_micros) AS micros
    FROM ledger_entries
    WHERE day = $day AND starts_with(account, 'creator:') AND part <> 'statement'
    GROUP BY account, part
    HAVING sum(amount_micros) <> 0
),
by_category AS (
    SELECT creator_id, map_from_entries(list((part[5:], CAST(micros AS BIGINT)) ORDER BY part)) AS ads_by_category
    FROM parts WHERE starts_with(part, 'ads:') GROUP BY creator_id
)
SELECT $day AS day, creator_id,
       CAST(coalesce(sum(micros) FILTER (part = 'pulse'), 0) AS BIGINT) AS pulse_micros,
       CAST(coalesce(sum(micros) FILTER (starts_with(part, 'ads:')), 0) AS BIGINT) AS ads_micros,
       CAST(coalesce(sum(micros) FILTER (starts_with(part, 'carry:')), 0) AS BIGINT) AS carry_micros,
       CAST(coalesce(sum(micros) FILTER (part = 'coins'), 0) AS BIGINT) AS coins_micros,
       CAST(coalesce(sum(micros) FILTER (part = 'adjustment'), 0) AS BIGINT) AS adjustment_micros,
       CAST(coalesce(sum(micros) FILTER (starts_with(part, 'bonus:')), 0) AS BIGINT) AS bonus_micros,
       CAST(coalesce(sum(micros) FILTER (starts_with(part, 'share:')), 0) AS BIGINT) AS shares_micros,
       CAST(sum(micros) AS BIGINT) AS total_micros,
       coalesce(any_value(ads_by_category), MAP {}) AS ads_by_category,
       $policy_hash AS policy_hash
FROM parts LEFT JOIN by_category USING (creator_id)
GROUP BY creator_id
ORDER BY creator_id
