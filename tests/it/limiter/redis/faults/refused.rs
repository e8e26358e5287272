//! Redis responds with an error.

use std::time::Duration;

use tollgate::limiter::Cause;

use super::harness::{CALLERS, Kept, Load, PATIENCE, lasts};
use crate::{
    limiter::redis::places::at,
    support::{
        redis::{Brand, on_both},
        time::eventually,
    },
};

on_both! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]:
    scripts_flushed_in_a_loop,
    out_of_memory,
    password_changed_and_changed_back,
    a_right_withdrawn,
    busy_with_another_script,
}

/// Not a fault to anybody: the script is sent whole again.
async fn scripts_flushed_in_a_loop(brand: Brand) {
    let server = brand.start().await;
    let load = Load::start_with(&at(&server.url()).response_timeout(PATIENCE), PATIENCE).await;
    let mut connection = server.connect().await;
    let flush = async |_: &Load| {
        for _ in 0..500 {
            redis::cmd("SCRIPT").arg("FLUSH").query_async::<()>(&mut connection).await.expect("it flushes");
            lasts(Duration::from_millis(2)).await;
        }
    };
    let figures = load.under("SCRIPT FLUSH 500 times", flush).await;
    assert_eq!(figures.without(), 0, "{:?}", figures.errors);
    figures.check_tokens(&server, Kept::All).await;
}

async fn out_of_memory(brand: Brand) {
    let server = brand.start().await;
    let fill = async |_: &Load| {
        server.ask::<()>("CONFIG SET maxmemory 1").await;
        lasts(Duration::from_secs(1)).await;
        server.ask::<()>("CONFIG SET maxmemory 0").await;
    };
    let figures = Load::start(&at(&server.url())).await.under("maxmemory reached for 1 s", fill).await;
    assert!(figures.waited() <= CALLERS, "a refusal is known at once: {} waited", figures.waited());
    figures.check_tokens(&server, Kept::All).await;
}

/// As when a Secret is replaced: new connections are refused, and the old ones end.
async fn password_changed_and_changed_back(brand: Brand) {
    let server = brand.setup().password("administrator").line("user tollgate on >old ~thv:rl:* +@all").start().await;
    let load = Load::start(&at(&server.url()).username("tollgate").password("old")).await;
    let change = async |load: &Load| {
        server.ask::<()>("ACL SETUSER tollgate resetpass >new").await;
        server.ask::<u32>("CLIENT KILL USER tollgate").await;
        eventually("the old password to be refused", async || load.probe().await.is_some_and(|error| error.cause() == Cause::Auth)).await;
        let error = load.probe().await.expect("the old password is good for nothing");
        assert!(error.cause() == Cause::Auth && !error.to_string().contains("old"), "{error}");
        lasts(Duration::from_secs(1)).await;
        server.ask::<()>("ACL SETUSER tollgate >old").await;
    };
    let figures = load.under("password changed for 1 s", change).await;
    figures.check_tokens(&server, Kept::All).await;
}

async fn a_right_withdrawn(brand: Brand) {
    let server = brand.setup().password("administrator").line("user tollgate on >secret ~thv:rl:* +@all").start().await;
    let load = Load::start(&at(&server.url()).username("tollgate").password("secret")).await;
    let withdraw = async |_: &Load| {
        server.ask::<()>("ACL SETUSER tollgate -hset").await;
        lasts(Duration::from_secs(1)).await;
        server.ask::<()>("ACL SETUSER tollgate +hset").await;
    };
    let figures = load.under("HSET forbidden for 1 s", withdraw).await;
    assert!(figures.causes.contains("auth") && !figures.causes.contains("other"), "{:?}", figures.errors);
    figures.check_tokens(&server, Kept::All).await;
}

/// Somebody else's script runs for ever: Redis answers `BUSY` to everyone, after a while of silence.
async fn busy_with_another_script(brand: Brand) {
    let server = brand.setup().line("lua-time-limit 200").start().await;
    let load = Load::start(&at(&server.url())).await;
    let mut connection = server.connect().await;
    let hog = async |_: &Load| {
        let endless =
            tokio::spawn(async move { redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<()>(&mut connection).await });
        lasts(Duration::from_millis(1500)).await;
        server.ask::<()>("SCRIPT KILL").await;
        let error = endless.await.expect("no panic").expect_err("it was killed").to_string();
        assert!(error.contains("SCRIPT KILL"), "{error}");
    };
    let figures = load.under("BUSY with another's script for 1.5 s", hog).await;
    figures.check_tokens(&server, Kept::All).await;
}
