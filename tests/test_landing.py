def test_smoke(platform, rows):
    platform.load_known()
    for form in ("csv", "csv.gz", "jsonl", "parquet"):
        platform.land("viewer_events", [rows.event("e1"), rows.event("e2")], form=form, name="x")
    r = platform.load("viewer_events")
    print(r)
    assert r.loaded == 2
    assert r.duplicates == 6
