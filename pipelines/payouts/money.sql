-- Where each creator's money is (micros): what it earned, and the balance of every account of it.
SELECT creator_id,
       CAST(coalesce(sum(micros) FILTER (kind = 'creator' AND part <> 'statement'), 0) AS BIGINT) AS earned,
       CAST(coalesce(sum(micros) FILTER (kind = 'creator'), 0) AS BIGINT) AS owed,
       CAST(coalesce(sum(micros) FILTER (kind = 'statement'), 0) AS BIGINT) AS statement,
       CAST(coalesce(sum(micros) FILTER (kind = 'hold'), 0) AS BIGINT) AS hold,
       CAST(coalesce(sum(micros) FILTER (kind = 'reserve'), 0) AS BIGINT) AS reserve,
       CAST(coalesce(sum(micros) FILTER (kind = 'clearing'), 0) AS BIGINT) AS clearing,
       CAST(coalesce(sum(micros) FILTER (kind = 'paid'), 0) AS BIGINT) AS paid,
       CAST(coalesce(sum(micros) FILTER (kind = 'returned'), 0) AS BIGINT) AS returned
FROM (SELECT split_part(account, ':', 1) AS kind, owner_of(account) AS creator_id, part, amount_micros AS micros
      FROM ledger_entries
      WHERE split_part(account, ':', 1) IN ('creator', 'statement', 'hold', 'reserve', 'clearing', 'paid', 'returned'))
GROUP BY creator_id
