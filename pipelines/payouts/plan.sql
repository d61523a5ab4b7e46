-- What a payout run does with the stated money of every creator who has some, in whole cents, and why.
-- All of it is in six accounts of the creator: statement (to be paid), hold, reserve, clearing, paid, returned.
-- A creator is paid under the row of its own in payees, or under that of its identity together with the others of it.
WITH accounts AS (
    SELECT split_part(account, ':', 1) AS kind, owner_of(account) AS creator_id, part, e.day, amount_micros // 10000 AS cents
    FROM ledger_entries AS e WHERE split_part(account, ':', 1) IN ('statement', 'hold', 'reserve', 'returned')
),
balances AS (
    SELECT creator_id,
           -- statements of later closings are not this run's; what other runs moved counts whatever closing they were for
           greatest(0, coalesce(sum(cents) FILTER (kind = 'statement' AND (part <> 'statement' OR day <= $through)), 0)) AS stated,
           coalesce(sum(cents) FILTER (kind = 'hold'), 0) AS held,
           coalesce(sum(cents) FILTER (kind = 'reserve' AND TRY_CAST(part[9:] AS DATE) <= $on), 0) AS due,
           coalesce(sum(cents) FILTER (kind = 'reserve' AND TRY_CAST(part[9:] AS DATE) > $on), 0) AS reserved
    FROM accounts GROUP BY creator_id
),
payee AS (
    SELECT * EXCLUDE day FROM payees WHERE day <= $on QUALIFY row_number() OVER (PARTITION BY owner ORDER BY day DESC) = 1
),
identity AS (
    SELECT creator_id, identity_id FROM creators WHERE day <= $on QUALIFY row_number() OVER (PARTITION BY creator_id ORDER BY day DESC) = 1
),
owned AS (
    SELECT b.*, coalesce(own.owner, shared.owner) AS owner
    FROM balances AS b LEFT JOIN identity USING (creator_id)
    LEFT JOIN payee AS own ON own.owner = 'creator:' || b.creator_id
    LEFT JOIN payee AS shared ON shared.owner = 'identity:' || identity_id
),
-- money that came back goes out again only to another account, or when somebody says so
back AS (
    SELECT a.creator_id, CAST(sum(a.cents) AS BIGINT) AS came_back,
           bool_and(coalesce((p.method, p.account) IS DISTINCT FROM (now.method, now.account) OR list_contains($retried, o.owner), false)) AS again
    FROM (SELECT creator_id, part, sum(cents) AS cents FROM accounts WHERE kind = 'returned' GROUP BY ALL HAVING sum(cents) > 0) AS a
    JOIN payments AS p ON p.payment_id = a.part[9:]
    JOIN owned AS o ON o.creator_id = a.creator_id LEFT JOIN payee AS now ON now.owner = o.owner
    GROUP BY a.creator_id
),
-- paid too much before: as much of what is there stays until earnings have made up for it
debts AS (
    SELECT creator_id, greatest(0, (9999 - carried_forward_micros) // 10000) AS debt
    FROM statements WHERE day <= $through QUALIFY row_number() OVER (PARTITION BY creator_id ORDER BY day DESC) = 1
),
priced AS (
    SELECT o.creator_id, o.owner, stated, held, due, reserved, coalesce(came_back, 0) AS came_back, coalesce(debt, 0) AS debt,
           p.* EXCLUDE (owner, minimum_cents), coalesce(p.minimum_cents, $minimum_cents) AS minimum,
           bool_or(NOT coalesce(again, true)) OVER (PARTITION BY coalesce(o.owner, o.creator_id)) AS refused,
           greatest(0, stated + held + due + coalesce(came_back, 0) - coalesce(debt, 0)) AS payable,
           -- of money that was kept back once nothing is kept back again
           CAST(least(stated, payable) * coalesce(reserve_percent, 0) // 100 AS BIGINT) AS kept
    FROM owned AS o LEFT JOIN back USING (creator_id) LEFT JOIN debts USING (creator_id) LEFT JOIN payee AS p ON p.owner = o.owner
),
judged AS (
    SELECT *, CAST(sum(payable - kept) OVER (PARTITION BY owner) AS BIGINT) AS together,
           CASE WHEN owner IS NULL THEN 'no payee'
                WHEN currency <> $currency THEN 'other currency'
                WHEN hold_until > $on AND NOT list_contains($released, owner) THEN 'held'
                WHEN refused THEN 'returned'
                WHEN together <= 0 THEN CASE WHEN debt > 0 THEN 'debt' ELSE 'nothing' END
                WHEN together < minimum AND NOT list_contains($waived, owner) THEN 'below minimum'
                ELSE 'pay' END AS state
    FROM priced
)
SELECT creator_id, owner, state, name, method, account, bank, country, currency, minimum AS minimum_cents, hold_until, reserve_days,
       CAST(stated AS BIGINT) AS stated, CAST(held AS BIGINT) AS held, CAST(due AS BIGINT) AS due, CAST(reserved AS BIGINT) AS reserved,
       CAST(came_back AS BIGINT) AS came_back, debt,
       CASE WHEN state = 'pay' THEN kept ELSE 0 END AS kept, CAST(CASE WHEN state = 'pay' THEN payable - kept ELSE 0 END AS BIGINT) AS cents,
       CASE WHEN state = 'pay' THEN strftime($through::DATE, '%Y%m%d') || '-'
            || (1 + (SELECT count(*) FROM payments AS p WHERE p.day = $through AND p.owner = judged.owner)) || '-' || sha256(owner)[:20] END AS payment_id
FROM judged
WHERE stated + held + due + reserved + came_back > 0
ORDER BY creator_id
