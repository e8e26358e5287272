//! What the largest objects cost: tools that all say `shared`, and entries of `managedFields` that own them.
//!
//! One `/mutate` and one `/validate` of a `kubectl create`, in this process, beside decoding the same bytes to a `serde_json::Value` twice.
//! The cost of a tool has to be the same in every row of as many owners.

use std::{
    fmt,
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use tollgate::{
    admission::{Facts, Hook, review},
    model::{alias::Mode, schema::Schema},
};

use super::{
    reviews,
    shared::figures::{median, micros},
};

/// Tools and owners.
const SHAPES: [(usize, usize); 9] =
    [(10, 1), (100, 1), (1_000, 1), (4_000, 1), (10, 100), (100, 100), (1_000, 100), (4_000, 100), (2_000, 400)];

/// One shape's figures.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    tools: usize,
    owned: usize,
    bytes: usize,
    /// Of both reviews, and of decoding as often.
    reviews: Duration,
    decoding: Duration,
}

/// Measures every shape that is asked for.
pub(super) fn measure(rounds: usize, wants: impl Fn(&str) -> bool) -> Vec<Row> {
    let shapes = SHAPES.into_iter().map(|(tools, owners)| (format!("worst/{tools}x{owners}"), tools, owners));
    shapes.filter(|(name, ..)| wants(name)).map(|(name, tools, owners)| row(name, tools, owners, rounds)).collect()
}

fn row(name: String, tools: usize, owners: usize, rounds: usize) -> Row {
    // An owner has up to forty tools of its own, as when each belongs to another team.
    let share = if owners == 1 { tools } else { tools.min(40) };
    let body = reviews::create(&object(tools, owners, share));
    let schema = Schema::assuming(true);
    let facts = Facts { policy: Mode::Rename.into(), schema: &schema, references: None };
    let timed = |work: &dyn Fn()| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    let mut times = Vec::new();
    for _ in 0..=rounds {
        let reviewed = timed(&|| {
            for hook in [Hook::Mutate, Hook::Validate] {
                black_box(review(hook, &body, &facts));
            }
        });
        let decoded = timed(&|| {
            for _ in 0..2 {
                black_box(serde_json::from_slice::<Value>(&body).ok());
            }
        });
        times.push((reviewed, decoded));
    }
    // The first round warms up.
    let of = |figure: fn(&(Duration, Duration)) -> Duration| {
        Duration::from_secs_f64(median(times.iter().skip(1).map(|pair| figure(pair).as_secs_f64())))
    };
    Row { name, tools, owned: owners * share, bytes: body.len(), reviews: of(|pair| pair.0), decoding: of(|pair| pair.1) }
}

fn object(tools: usize, owners: usize, share: usize) -> Value {
    let bucket = json!({"maxTokens": 5, "refillPeriod": "1m0s"});
    let name = |at: usize| format!("a-{}", at % tools);
    let entry = |owner: usize| {
        let items: Map<_, _> = (0..share)
            .map(|at| {
                let item = json!({".": {}, "f:name": {}, "f:shared": {".": {}, "f:maxTokens": {}, "f:refillPeriod": {}}});
                (format!(r#"k:{{"name":"{}"}}"#, name(owner * share + at)), item)
            })
            .collect();
        json!({
            "manager": format!("team-{owner}"), "operation": "Apply", "apiVersion": "toolhive.stacklok.dev/v1beta1",
            "time": "2026-11-20T09:12:44Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:rateLimiting": {"f:tools": items}}},
        })
    };
    let tools: Vec<_> = (0..tools).map(|at| json!({"name": name(at), "shared": bucket})).collect();
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer",
        "metadata": {"name": "fetch", "namespace": "team-a", "managedFields": (0..owners).map(entry).collect::<Vec<_>>()},
        "spec": {"sessionStorage": {"provider": "redis", "address": "redis.team-a:6379"}, "rateLimiting": {"tools": tools}},
    })
}

impl Row {
    fn us_per_field(&self) -> f64 {
        micros(self.reviews) / (self.tools + self.owned) as f64
    }

    fn beside_decoding(&self) -> f64 {
        self.reviews.as_secs_f64() / self.decoding.as_secs_f64()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "scenario": self.name, "bytes": self.bytes, "reviewsMs": micros(self.reviews) / 1000.0,
            "usPerToolAndOwnedBucket": self.us_per_field(), "besideDecoding": self.beside_decoding(),
        })
    }
}

/// The table's head.
pub(super) const HEAD: &str = "/mutate + /validate, tools x owners       kB        ms   us per tool and owned bucket   beside decoding";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bytes, reviews, .. } = self;
        let (ms, us, beside) = (micros(*reviews) / 1000.0, self.us_per_field(), self.beside_decoding());
        write!(f, "{name:<36} {:>8} {ms:>9.2} {us:>30.2} {beside:>16.1}x", bytes / 1000)
    }
}
