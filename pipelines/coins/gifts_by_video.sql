-- Coins of each video, by wallet, with the quality the split depends on.
WITH coins AS (
    SELECT video_id,
           CAST(sum(CASE WHEN premium THEN 0 ELSE coins END) AS BIGINT) AS normal_coins,
           CAST(sum(CASE WHEN premium THEN coins ELSE 0 END) AS BIGINT) AS premium_coins
    FROM gifts
    WHERE day = $day
    GROUP BY video_id
),
known AS (
    SELECT video_id, arg_max(creator_id, day) AS creator_id, arg_max(compliant, day) AS compliant
    FROM videos WHERE day <= $day GROUP BY video_id
)
SELECT video_id, known.creator_id, known.compliant, normal_coins, premium_coins, coalesce(q.quality, 0.0) AS quality
FROM coins
JOIN known USING (video_id)
LEFT JOIN (SELECT video_id, quality FROM video_quality WHERE day = $day) AS q USING (video_id)
ORDER BY video_id
