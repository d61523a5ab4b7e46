-- What each creator produced from $first to $last, in thousandths so that sums are exact, in all and up to the middle of the history.
SELECT creator_id,
       CAST($last AS DATE) - min(day) + 1 AS days,
       CAST(sum(round(1000 * qualified_views)) AS BIGINT) AS milliviews,
       CAST(sum(round(1000 * effective_views)) AS BIGINT) AS effective_milliviews,
       greatest(CAST($middle AS DATE) - min(day) + 1, 0) AS early_days,
       CAST(coalesce(sum(round(1000 * qualified_views)) FILTER (day <= $middle), 0) AS BIGINT) AS early_milliviews,
       CAST(coalesce(sum(round(1000 * effective_views)) FILTER (day <= $middle), 0) AS BIGINT) AS early_effective_milliviews
FROM video_quality
WHERE day BETWEEN $first AND $last
GROUP BY creator_id
HAVING milliviews > 0
ORDER BY creator_id
