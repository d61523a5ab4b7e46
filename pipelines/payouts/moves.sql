-- The plan as entries: money out of one account of a creator into another, under what it is moved for.
WITH moves AS (
    SELECT creator_id, 'statement' AS source, 'hold' AS target, 'hold' AS part, stated AS cents FROM plan WHERE state = 'held'
    -- a hold that is over, and reserves whose day has come, are to be paid like what was stated
    UNION ALL SELECT creator_id, 'hold', 'statement', 'hold', held FROM plan WHERE state IN ('pay', 'below minimum', 'debt')
    UNION ALL
    SELECT p.creator_id, 'reserve', 'statement', t.part, t.cents
    FROM plan AS p JOIN (SELECT owner_of(account) AS creator_id, part, sum(amount_micros) // 10000 AS cents FROM ledger_entries
                         WHERE starts_with(account, 'reserve:') AND TRY_CAST(part[9:] AS DATE) <= $on GROUP BY ALL) AS t USING (creator_id)
    WHERE state IN ('pay', 'below minimum', 'debt')
    UNION ALL
    SELECT p.creator_id, 'returned', 'statement', t.part, t.cents
    FROM plan AS p JOIN (SELECT owner_of(account) AS creator_id, part, sum(amount_micros) // 10000 AS cents FROM ledger_entries
                         WHERE starts_with(account, 'returned:') GROUP BY ALL) AS t USING (creator_id)
    WHERE state = 'pay'
    UNION ALL
    SELECT creator_id, 'statement', 'reserve', 'reserve:' || ($on::DATE + CAST(reserve_days AS INTEGER)), kept FROM plan WHERE state = 'pay'
    UNION ALL
    SELECT creator_id, 'statement', 'clearing', 'payment:' || payment_id, cents FROM plan WHERE state = 'pay'
)
SELECT kind || ':' || creator_id AS account, part, CAST(sum(sign * 10000 * cents) AS BIGINT) AS amount_micros
FROM moves, (VALUES (source, -1), (target, 1)) AS side(kind, sign)
GROUP BY ALL HAVING sum(sign * cents) <> 0
ORDER BY account, part
