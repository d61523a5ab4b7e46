-- A mean day from $first_day to $last_day: who watches, whose videos are watched, and coins, by quarter hour (UTC), by category, and in
-- all. Distinct viewers and creators are counted day by day; $days of them landed.
WITH known AS (
    SELECT video_id, arg_max(creator_id, day) AS creator_id, arg_max(categories, day) AS categories
    FROM videos WHERE day <= $last_day GROUP BY video_id
),
happened AS (
    SELECT day, ts, viewer_id, creator_id, categories, 0 AS coins, true AS watched
    FROM viewer_events JOIN known USING (video_id) WHERE day BETWEEN $first_day AND $last_day
    UNION ALL
    SELECT day, ts, viewer_id, creator_id, categories, coins, false
    FROM gifts JOIN known USING (video_id) WHERE day BETWEEN $first_day AND $last_day
),
placed AS (
    SELECT 'time' AS attribute, lpad((hour(ts))::VARCHAR, 2, '0') || ':' || lpad((minute(ts) // 15 * 15)::VARCHAR, 2, '0') AS place,
           day, viewer_id, creator_id, coins, watched FROM happened
    UNION ALL
    SELECT 'category', unnest(categories), day, viewer_id, creator_id, coins, watched FROM happened
    UNION ALL
    SELECT 'all', 'all', day, viewer_id, creator_id, coins, watched FROM happened
),
counted AS (
    SELECT attribute, place, day, count(DISTINCT viewer_id) FILTER (watched) AS viewers,
           count(DISTINCT creator_id) FILTER (watched) AS creators, sum(coins) AS coins
    FROM placed GROUP BY ALL
),
places AS (
    SELECT DISTINCT attribute, place FROM counted
    UNION
    SELECT 'time', lpad((n // 4)::VARCHAR, 2, '0') || ':' || lpad((n % 4 * 15)::VARCHAR, 2, '0') FROM range(96) AS quarters(n)
    UNION
    SELECT 'all', 'all'
)
SELECT attribute, place,
       coalesce(sum(viewers), 0)::DOUBLE / $days AS viewers,
       coalesce(sum(creators), 0)::DOUBLE / $days AS creators,
       coalesce(sum(coins), 0)::DOUBLE / $days AS coins
FROM places LEFT JOIN counted USING (attribute, place)
GROUP BY attribute, place ORDER BY attribute, place
