//! Redis is up and does not respond, or not in time.

use std::time::Duration;

use super::harness::{Kept, Load, MOST_WAITING, PATIENCE, lasts};
use crate::{
    limiter::redis::places::at,
    support::{
        link::{Flow, Link},
        redis::{Brand, on_both},
    },
};

on_both! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]:
    frozen_for_three_seconds,
    #[ignore = "half a minute, for figures"]
    frozen_for_thirty_seconds,
    clients_paused,
    writes_paused,
    answers_lost,
    requests_lost,
    answers_slower_than_the_deadline,
    answers_slower_but_in_time,
}

async fn frozen_for_three_seconds(brand: Brand) {
    frozen(brand, "SIGSTOP for 3 s", Duration::from_secs(3)).await;
}

async fn frozen_for_thirty_seconds(brand: Brand) {
    frozen(brand, "SIGSTOP for 30 s", Duration::from_secs(30)).await;
}

async fn frozen(brand: Brand, fault: &'static str, time: Duration) {
    let server = brand.start().await;
    let freeze = async |_: &Load| {
        server.freeze();
        lasts(time).await;
        server.thaw();
    };
    let figures = Load::start(&at(&server.url())).await.under(fault, freeze).await;
    assert!(figures.waited() <= MOST_WAITING, "the breaker opens: {} waited", figures.waited());
    assert!(figures.without() * 10 > figures.calls() * 9, "nobody is held up: {} of {}", figures.without(), figures.calls());
    figures.check_tokens(&server, Kept::All).await;
}

async fn clients_paused(brand: Brand) {
    let server = brand.start().await;
    let pause = async |_: &Load| {
        server.ask::<()>("CLIENT PAUSE 1000 ALL").await;
        lasts(Duration::from_secs(1)).await;
    };
    let figures = Load::start(&at(&server.url())).await.under("CLIENT PAUSE for 1 s", pause).await;
    assert!(figures.waited() <= MOST_WAITING, "the breaker opens: {} waited", figures.waited());
    figures.check_tokens(&server, Kept::All).await;
}

/// Writes only: a script that would deny could be answered, one that allows hangs.
async fn writes_paused(brand: Brand) {
    let server = brand.start().await;
    let pause = async |_: &Load| {
        server.ask::<()>("CLIENT PAUSE 1000 WRITE").await;
        lasts(Duration::from_secs(1)).await;
    };
    let figures = Load::start(&at(&server.url())).await.under("CLIENT PAUSE WRITE for 1 s", pause).await;
    figures.check_tokens(&server, Kept::All).await;
}

/// The script runs each time, and nobody hears of it: what would be sent again would take twice.
async fn answers_lost(brand: Brand) {
    let server = brand.start().await;
    let link = Link::to(server.address()).await;
    let lose = async |_: &Load| {
        link.set(Flow::NoAnswers);
        lasts(Duration::from_secs(1)).await;
        link.set(Flow::Free);
    };
    let figures = Load::start(&at(&format!("redis://{}", link.address))).await.under("answers lost for 1 s", lose).await;
    assert!(figures.causes.contains("timeout"), "{:?}", figures.causes);
    figures.check_tokens(&server, Kept::All).await;
}

async fn requests_lost(brand: Brand) {
    let server = brand.start().await;
    let link = Link::to(server.address()).await;
    let lose = async |_: &Load| {
        link.set(Flow::NoRequests);
        lasts(Duration::from_secs(1)).await;
        link.set(Flow::Free);
    };
    let figures = Load::start(&at(&format!("redis://{}", link.address))).await.under("requests lost for 1 s", lose).await;
    figures.check_tokens(&server, Kept::All).await;
}

async fn answers_slower_than_the_deadline(brand: Brand) {
    let server = brand.start().await;
    let link = Link::to(server.address()).await;
    let slow = async |_: &Load| {
        link.set(Flow::Slow(Duration::from_millis(200)));
        lasts(Duration::from_secs(3)).await;
        link.set(Flow::Free);
    };
    let figures = Load::start(&at(&format!("redis://{}", link.address))).await.under("200 ms latency, deadline 100 ms", slow).await;
    assert!(figures.waited() <= 2 * MOST_WAITING, "one call a probe waits: {} did", figures.waited());
    figures.check_tokens(&server, Kept::All).await;
}

async fn answers_slower_but_in_time(brand: Brand) {
    let server = brand.start().await;
    let link = Link::to(server.address()).await;
    let load = Load::start_with(&at(&format!("redis://{}", link.address)).response_timeout(PATIENCE), PATIENCE).await;
    let slow = async |_: &Load| {
        link.set(Flow::Slow(Duration::from_millis(200)));
        lasts(Duration::from_secs(2)).await;
        link.set(Flow::Free);
    };
    let figures = load.under("200 ms latency, deadline 3 s", slow).await;
    assert_eq!(figures.without(), 0, "{:?}", figures.errors);
    figures.check_tokens(&server, Kept::All).await;
}
