-- Static features of the viewers known on $day; with $changed_on only of those whose latest row is of that day.
SELECT v.viewer_id, v.region, v.device, v.activity, v.tenure_days
FROM viewers AS v
JOIN (SELECT viewer_id, max(day) AS day FROM viewers WHERE day <= $day GROUP BY viewer_id) AS latest
    ON latest.viewer_id = v.viewer_id AND latest.day = v.day
WHERE $changed_on IS NULL OR v.day = $changed_on
