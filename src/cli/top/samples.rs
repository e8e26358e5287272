//! Samples for tests: buckets, totals, and what a proxy reports.

use crate::{
    inspect::report::{BucketReport, BucketsReport, LevelReport, LimitTotals, StatusReport, Totals},
    limiter::ServerId,
    proxy::live::Live,
};

/// One token comes back each second.
pub(super) fn bucket(limit: &str, user: Option<&str>, tokens: f64, max_tokens: u32) -> BucketReport {
    let level = LevelReport {
        tokens,
        max_tokens,
        wait_seconds: Some((1.0 - tokens).max(0.0)),
        full_in_seconds: f64::from(max_tokens) - tokens,
        ttl_seconds: None,
    };
    BucketReport { limit: limit.to_owned(), user: user.map(str::to_owned), key: None, status: StatusReport::Level(level) }
}

pub(super) fn live(buckets: Vec<BucketReport>, totals: Option<Totals>) -> Live {
    Live {
        server: ServerId::new("ns", "search"),
        store: "memory".to_owned(),
        shadow: false,
        age_seconds: 0.0,
        error: None,
        report: BucketsReport { buckets, foreign_keys: Vec::new(), complete: true },
        totals,
    }
}

/// All calls are counted, and denied, by `global`.
pub(super) fn totals(up_seconds: f64, allowed: u64, denied: u64) -> Totals {
    let limits = vec![LimitTotals { limit: "global".to_owned(), allowed, denied }];
    Totals { up_seconds, allowed, denied, limits, ..Totals::default() }
}
