-- Coins of each video, by wallet, with the quality the split depends on.
WITH coins AS (
    SELECT video_id,
           CAST(sum(CASE WHEN premium THEN 0 ELSE coins END) AS BIGINT) AS normal_coins,
           CAST(sum(CASE WHEN premium THEN coins ELSE 0 END) AS BIGINT) AS premium_coins
    FROM gifts
    WHERE day = $day
    GROUP BY video_id
    HAVING sum(coins) > 0 -- not where every gift was refunded
),
known AS (
    SELECT video_id, arg_max(creator_id, day) AS creator_id, arg_max(compliant, day) AS compliant
    FROM videos WHERE day <= $day GROUP BY video_id
),
standing AS (
    -- of videos with equal Q each stands in their middle
    SELECT video_id, (count(*) OVER (ORDER BY quality) - 0.5 * count(*) OVER (PARTITION BY quality)) / count(*) OVER () AS rank
    FROM video_quality WHERE day = $day AND compliant
)
SELECT video_id, known.creator_id, known.compliant, normal_coins, premium_coins,
       CASE WHEN $rank THEN coalesce(CAST(s.rank AS DOUBLE), 0.5) ELSE coalesce(q.quality, 0.0) END AS quality
FROM coins
JOIN known USING (video_id)
LEFT JOIN (SELECT video_id, quality FROM video_quality WHERE day = $day) AS q USING (video_id)
LEFT JOIN standing AS s USING (video_id)
ORDER BY video_id
