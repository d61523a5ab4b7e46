-- A month's bonuses as entries: the platform pays each creator.
SELECT account, 'bonus:' || strftime($day::DATE, '%Y-%m') AS part, CAST(sum(micros) AS BIGINT) AS amount_micros
FROM (SELECT 'creator:' || creator_id AS account, paid_micros AS micros FROM creator_bonuses WHERE day = $day
      UNION ALL SELECT 'platform', -paid_micros FROM creator_bonuses WHERE day = $day)
GROUP BY account
HAVING sum(micros) <> 0
ORDER BY account
