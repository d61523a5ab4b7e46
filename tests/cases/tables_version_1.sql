-- Every table as creator-earnings 0.1.0 made it, before versions of the tables were recorded. Never edited: warehouses out there have these.
CREATE TABLE viewers (
    day DATE NOT NULL,
    viewer_id VARCHAR NOT NULL,
    verified BOOLEAN NOT NULL,
    trust DOUBLE NOT NULL,
    region VARCHAR,
    device VARCHAR,
    activity VARCHAR,
    tenure_days BIGINT,
    source VARCHAR NOT NULL
);

CREATE TABLE creators (
    day DATE NOT NULL,
    creator_id VARCHAR NOT NULL,
    identity_id VARCHAR,
    followers BIGINT,
    source VARCHAR NOT NULL
);

CREATE TABLE videos (
    day DATE NOT NULL,
    video_id VARCHAR NOT NULL,
    creator_id VARCHAR NOT NULL,
    length_ms BIGINT NOT NULL,
    categories VARCHAR[] NOT NULL,
    compliant BOOLEAN NOT NULL,
    s_plus DOUBLE,
    s_tox DOUBLE,
    source VARCHAR NOT NULL
);

CREATE TABLE viewer_events (
    day DATE NOT NULL,
    event_id VARCHAR NOT NULL,
    ts TIMESTAMP NOT NULL,
    viewer_id VARCHAR NOT NULL,
    video_id VARCHAR NOT NULL,
    watch_ms BIGINT NOT NULL,
    liked BOOLEAN NOT NULL,
    commented BOOLEAN NOT NULL,
    shared BOOLEAN NOT NULL,
    followed BOOLEAN NOT NULL,
    length_ms BIGINT,
    source VARCHAR NOT NULL,
    repeated BOOLEAN
);

CREATE TABLE gifts (
    day DATE NOT NULL,
    gift_id VARCHAR NOT NULL,
    ts TIMESTAMP NOT NULL,
    viewer_id VARCHAR NOT NULL,
    video_id VARCHAR NOT NULL,
    coins BIGINT NOT NULL,
    premium BOOLEAN NOT NULL,
    source VARCHAR NOT NULL
);

CREATE TABLE ad_revenue (
    day DATE NOT NULL,
    ad_id VARCHAR NOT NULL,
    ts TIMESTAMP NOT NULL,
    category VARCHAR NOT NULL,
    video_id VARCHAR,
    amount_micros BIGINT NOT NULL,
    source VARCHAR NOT NULL
);

CREATE TABLE viewer_groups (
    day DATE NOT NULL,
    viewer_id VARCHAR NOT NULL,
    group_id VARCHAR NOT NULL,
    version DATE NOT NULL,
    arm VARCHAR NOT NULL
);

CREATE TABLE group_centres (
    day DATE NOT NULL,
    group_id VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    inertia DOUBLE NOT NULL,
    centre DOUBLE[] NOT NULL,
    coordinates VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL
);

CREATE TABLE group_utility (
    day DATE NOT NULL,
    group_id VARCHAR NOT NULL,
    arm VARCHAR NOT NULL,
    steers BOOLEAN NOT NULL,
    metric VARCHAR NOT NULL,
    viewers BIGINT NOT NULL,
    impressions BIGINT NOT NULL,
    share DOUBLE NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    baseline DOUBLE,
    utility DOUBLE,
    enough BOOLEAN NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE group_weights (
    day DATE NOT NULL,
    group_id VARCHAR NOT NULL,
    version DATE NOT NULL,
    weight DOUBLE NOT NULL,
    observed BOOLEAN NOT NULL,
    utility DOUBLE,
    epoch BIGINT NOT NULL,
    rate DOUBLE NOT NULL,
    clipped_days BIGINT NOT NULL,
    stuck BOOLEAN NOT NULL,
    made_from VARCHAR NOT NULL,
    state_hash VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE matching_policy (
    day DATE NOT NULL,
    group_id VARCHAR NOT NULL,
    arm VARCHAR NOT NULL,
    mechanism VARCHAR NOT NULL,
    weight DOUBLE NOT NULL,
    temperature DOUBLE NOT NULL,
    candidates BIGINT NOT NULL,
    cold_start_percentile DOUBLE,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE video_quality (
    day DATE NOT NULL,
    video_id VARCHAR NOT NULL,
    creator_id VARCHAR NOT NULL,
    compliant BOOLEAN NOT NULL,
    viewers BIGINT NOT NULL,
    qualified_views DOUBLE NOT NULL,
    trust_mass DOUBLE NOT NULL,
    unverified_scale DOUBLE NOT NULL,
    group_weight DOUBLE NOT NULL,
    watch DOUBLE NOT NULL,
    engagement DOUBLE NOT NULL,
    diversity DOUBLE NOT NULL,
    rewatch DOUBLE NOT NULL,
    safety DOUBLE NOT NULL,
    quality DOUBLE NOT NULL,
    effective_views DOUBLE NOT NULL,
    safety_source VARCHAR NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE pulse_payouts (
    day DATE NOT NULL,
    video_id VARCHAR NOT NULL,
    creator_id VARCHAR NOT NULL,
    quality DOUBLE NOT NULL,
    safety DOUBLE NOT NULL,
    revenue_micros BIGINT NOT NULL,
    payout_micros BIGINT NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE ad_pools (
    day DATE NOT NULL,
    category VARCHAR NOT NULL,
    revenue_micros BIGINT NOT NULL,
    platform_micros BIGINT NOT NULL,
    carry_in_micros BIGINT NOT NULL,
    spread_micros BIGINT NOT NULL,
    pool_micros BIGINT NOT NULL,
    carry_out_micros BIGINT NOT NULL,
    videos BIGINT NOT NULL,
    units BIGINT NOT NULL,
    rule VARCHAR NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE ad_payouts (
    day DATE NOT NULL,
    category VARCHAR NOT NULL,
    video_id VARCHAR NOT NULL,
    creator_id VARCHAR NOT NULL,
    unit_id VARCHAR NOT NULL,
    share DOUBLE NOT NULL,
    payout_micros BIGINT NOT NULL,
    carried_micros BIGINT NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE ad_solutions (
    day DATE NOT NULL,
    category VARCHAR NOT NULL,
    objective VARCHAR NOT NULL,
    units BIGINT NOT NULL,
    multiplier DOUBLE NOT NULL,
    residual DOUBLE NOT NULL,
    passes BIGINT NOT NULL,
    floor_micros BIGINT NOT NULL,
    cap_micros BIGINT,
    least_micros BIGINT NOT NULL,
    most_micros BIGINT NOT NULL,
    solver VARCHAR NOT NULL,
    primal_residual DOUBLE NOT NULL,
    stationarity_residual DOUBLE NOT NULL,
    complementarity_residual DOUBLE NOT NULL,
    gap DOUBLE NOT NULL,
    value DOUBLE NOT NULL,
    upper_bound DOUBLE NOT NULL,
    rounding_micros DOUBLE NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE ad_rules (
    day DATE NOT NULL,
    category VARCHAR NOT NULL,
    rule VARCHAR NOT NULL,
    members BIGINT NOT NULL,
    minimum_micros BIGINT,
    maximum_micros BIGINT,
    paid_micros BIGINT NOT NULL,
    multiplier DOUBLE NOT NULL,
    note VARCHAR NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE donation_splits (
    day DATE NOT NULL,
    video_id VARCHAR NOT NULL,
    creator_id VARCHAR NOT NULL,
    compliant BOOLEAN NOT NULL,
    normal_coins BIGINT NOT NULL,
    premium_coins BIGINT NOT NULL,
    quality DOUBLE NOT NULL,
    normal_share DOUBLE NOT NULL,
    premium_share DOUBLE NOT NULL,
    revenue_micros BIGINT NOT NULL,
    payout_micros BIGINT NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE coin_solutions (
    day DATE NOT NULL,
    scope VARCHAR NOT NULL,
    videos BIGINT NOT NULL,
    coins DOUBLE NOT NULL,
    total DOUBLE NOT NULL,
    multiplier DOUBLE NOT NULL,
    local_maxima BIGINT NOT NULL,
    primal_residual DOUBLE NOT NULL,
    gap DOUBLE NOT NULL,
    value DOUBLE NOT NULL,
    upper_bound DOUBLE NOT NULL,
    rounding_micros DOUBLE NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE creator_earnings (
    day DATE NOT NULL,
    creator_id VARCHAR NOT NULL,
    pulse_micros BIGINT NOT NULL,
    ads_micros BIGINT NOT NULL,
    carry_micros BIGINT NOT NULL,
    coins_micros BIGINT NOT NULL,
    adjustment_micros BIGINT NOT NULL,
    total_micros BIGINT NOT NULL,
    ads_by_category MAP(VARCHAR, BIGINT) NOT NULL,
    policy_hash VARCHAR NOT NULL
);

CREATE TABLE quarantine (
    table_name VARCHAR NOT NULL,
    day DATE NOT NULL,
    file VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    raw VARCHAR NOT NULL
);

CREATE TABLE landing_files (
    table_name VARCHAR NOT NULL,
    day DATE NOT NULL,
    file VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    bytes BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    loaded BIGINT NOT NULL,
    duplicates BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    ignored_columns VARCHAR[] NOT NULL
);

CREATE TABLE written_days (
    table_name VARCHAR NOT NULL,
    day DATE NOT NULL,
    rows BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    made BIGINT NOT NULL,
    made_at TIMESTAMP NOT NULL,
    code_version VARCHAR NOT NULL
);

CREATE TABLE weight_commits (
    day DATE NOT NULL,
    revision BIGINT NOT NULL,
    weights MAP(VARCHAR, DOUBLE) NOT NULL,
    state_hash VARCHAR NOT NULL,
    replaced VARCHAR,
    reason VARCHAR NOT NULL,
    policy_hash VARCHAR NOT NULL,
    code_version VARCHAR NOT NULL,
    committed_at TIMESTAMP NOT NULL,
    PRIMARY KEY (day, revision),
    CHECK ((replaced IS NULL) = (revision = 1))
);

CREATE TABLE policies (
    policy_hash VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    effective_from DATE NOT NULL,
    content VARCHAR NOT NULL,
    PRIMARY KEY (policy_hash)
);

CREATE TABLE adjustments (
    day DATE NOT NULL,
    creator_id VARCHAR NOT NULL,
    amount_micros BIGINT NOT NULL,
    CHECK (amount_micros <> 0)
);

CREATE TABLE ledger_transactions (
    seq BIGINT NOT NULL,
    txn_id VARCHAR NOT NULL,
    day DATE NOT NULL,
    kind VARCHAR NOT NULL,
    revision BIGINT NOT NULL,
    booked_day DATE NOT NULL,
    reason VARCHAR NOT NULL,
    link VARCHAR,
    input_hash VARCHAR NOT NULL,
    policy_hash VARCHAR NOT NULL,
    code_version VARCHAR NOT NULL,
    entries_hash VARCHAR NOT NULL,
    prev_hash VARCHAR NOT NULL,
    hash VARCHAR NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (txn_id),
    CHECK (kind IN ('payout', 'reversal', 'statement')),
    CHECK (revision >= 1 AND booked_day >= day),
    CHECK ((link IS NULL) = (kind = 'statement' OR (kind = 'payout' AND revision = 1)))
);

CREATE TABLE ledger_entries (
    txn_id VARCHAR NOT NULL,
    day DATE NOT NULL,
    account VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    amount_micros BIGINT NOT NULL,
    CHECK (amount_micros <> 0)
);

CREATE TABLE statements (
    day DATE NOT NULL,
    first_day DATE NOT NULL,
    creator_id VARCHAR NOT NULL,
    brought_forward_micros BIGINT NOT NULL,
    earned_micros BIGINT NOT NULL,
    restated_micros BIGINT NOT NULL,
    paid_cents BIGINT NOT NULL,
    carried_forward_micros BIGINT NOT NULL,
    CHECK (paid_cents >= 0),
    CHECK (brought_forward_micros + earned_micros + restated_micros = 10000 * paid_cents + carried_forward_micros)
);
