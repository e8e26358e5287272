//! Redis, or the network path to it, is down.

use std::time::Duration;

use tollgate::stores::guard::DEADLINE;

use super::harness::{CALLERS, Kept, Load, lasts};
use crate::{
    limiter::redis::places::at,
    support::{
        link::{Flow, Link},
        port::free_port,
        redis::{Brand, on_both},
    },
};

on_both! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]:
    killed_and_restarted,
    killed_and_restarted_empty,
    connections_cut_all_the_time,
    connections_refused,
    not_there_at_the_start,
}

async fn killed_and_restarted(brand: Brand) {
    let server = brand.setup().line("appendonly yes").line("appendfsync no").start().await;
    let kill = async |_: &Load| {
        server.kill();
        lasts(Duration::from_secs(1)).await;
        server.restart().await;
    };
    let figures = Load::start(&at(&server.url())).await.under("kill -9, restarted after 1 s, with its data", kill).await;
    assert!(figures.waited() <= CALLERS, "a refused connection is known at once: {} waited", figures.waited());
    figures.check_tokens(&server, Kept::All).await;
}

/// Without persistence every bucket is full again: calls go on, and no more is missing than was taken since.
async fn killed_and_restarted_empty(brand: Brand) {
    let server = brand.start().await;
    let kill = async |_: &Load| {
        server.kill();
        server.restart().await;
    };
    let figures = Load::start(&at(&server.url())).await.under("kill -9, restarted at once, empty", kill).await;
    figures.check_tokens(&server, Kept::Most).await;
}

async fn connections_cut_all_the_time(brand: Brand) {
    let server = brand.start().await;
    let link = Link::to(server.address()).await;
    let cut = async |_: &Load| {
        for _ in 0..20 {
            link.cut();
            lasts(Duration::from_millis(50)).await;
        }
    };
    let figures = Load::start(&at(&format!("redis://{}", link.address))).await.under("connections cut every 50 ms for 1 s", cut).await;
    figures.check_tokens(&server, Kept::All).await;
}

async fn connections_refused(brand: Brand) {
    let server = brand.start().await;
    let link = Link::to(server.address()).await;
    let refuse = async |_: &Load| {
        link.set(Flow::Refused);
        link.cut();
        lasts(Duration::from_secs(1)).await;
        link.set(Flow::Free);
    };
    let figures = Load::start(&at(&format!("redis://{}", link.address))).await.under("connections refused for 1 s", refuse).await;
    figures.check_tokens(&server, Kept::All).await;
}

async fn not_there_at_the_start(brand: Brand) {
    let port = free_port();
    let load = Load::start_without(&at(&format!("redis://127.0.0.1:{port}")), DEADLINE);
    let mut server = None;
    let start = async |_: &Load| {
        lasts(Duration::from_secs(1)).await;
        server = Some(brand.setup().port(port).start().await);
    };
    let figures = load.under("no Redis for the first second", start).await;
    assert!(figures.causes.contains("connection"), "{:?}", figures.causes);
    figures.check_tokens(&server.expect("it was started"), Kept::All).await;
}
