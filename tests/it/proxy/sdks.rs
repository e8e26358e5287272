//! The official SDKs on both sides of the proxy: each client lists, calls, is denied, reads the wait, waits, and calls again, in one session.
//! What they see under each `--reject-status` is the table in docs/proxy.md.

use std::thread;

use serde_json::json;

use super::resource;
use crate::support::{
    outage::{Outage, relay},
    pages::Page,
    port::free_port,
    proxy::Proxy,
    sdks::{Client, Report, Running, Server, run_oauth, start_oauth},
};

const MODES: [&str; 4] = ["auto", "200", "429", "tool-result"];
/// Up to this revision, `auto` is HTTP 200.
const LAST_WITH_200: &str = "2025-11-25";
/// Two calls at once, then one every two seconds.
const LONGEST_WAIT: f64 = 2.0;

/// One run: a proxy of its own, one session.
fn run(client: Client, server: &Running, mode: &str) -> Report {
    let limits = resource(json!({"global": {"maxTokens": 2, "refillPeriod": "4s"}}));
    let proxy = Proxy::start(&server.url, &limits, &["--store", "memory", "--reject-status", mode]);
    let path = server.url.rsplit('/').next().unwrap_or_default();
    let report = client.run(&format!("http://{}/{path}", proxy.address));
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
    report
}

/// All clients at once, in their order.
fn run_all(server: &Running, mode: &str) -> Vec<(Client, Report)> {
    thread::scope(|scope| {
        let runs = Client::ALL.map(|client| (client, scope.spawn(move || run(client, server, mode))));
        runs.map(|(client, run)| (client, run.join().expect("its panic is told above"))).into_iter().collect()
    })
}

/// What holds under any mode.
fn assert_was_denied(client: Client, report: &Report) {
    assert_eq!(report.tools, ["search"], "{client:?}: {report:?}");
    assert!(report.calls >= 2 && report.error.is_some(), "{client:?}: {report:?}");
    assert!(report.wait.is_none_or(|wait| wait > 0.0 && wait <= LONGEST_WAIT), "{client:?}: {report:?}");
}

/// The session goes on, and who waits as told is let through.
fn assert_lives(client: Client, report: &Report) {
    assert!(report.alive && report.again, "{client:?}: {report:?}");
}

fn assert_reads_the_wait(client: Client, report: &Report) {
    assert!(report.wait.is_some(), "{client:?}: {report:?}");
}

/// The one combination in which `auto` does not tell the wait: Go's SDK drops the body and the headers of an HTTP 429.
fn drops_the_wait(client: Client, revision: &str) -> bool {
    client == Client::Go && revision > LAST_WITH_200
}

/// A cell of the table.
fn cell(report: &Report) -> String {
    let error = report.error.as_deref().unwrap_or_default();
    let wait = match report.place.as_deref() {
        Some("data") => "wait in its data",
        Some(_) => "wait in its text",
        None => "no wait",
    };
    let end = if report.alive { "" } else { ", **session lost**" };
    format!("{error}, {wait}{end}")
}

#[test]
fn every_client_lives_under_auto_and_the_table_in_the_docs_is_what_was_seen() {
    let mut rows: Vec<(Client, String, Vec<String>)> = Vec::new();
    for server in [Server::Python1Sse, Server::Python2Sse] {
        let server = server.start();
        for mode in MODES {
            for (client, report) in run_all(&server, mode) {
                let revision = report.revision.clone().expect("every session has one");
                assert_was_denied(client, &report);
                if mode != "429" {
                    assert_lives(client, &report);
                }
                if mode != "429" && !(mode == "auto" && drops_the_wait(client, &revision)) {
                    assert_reads_the_wait(client, &report);
                }
                let place = rows.iter().position(|(known, spoken, _)| (*known, spoken) == (client, &revision)).unwrap_or(rows.len());
                if place == rows.len() {
                    rows.push((client, revision, Vec::new()));
                }
                // A client that does not speak the newer revision goes through the same twice.
                if rows[place].2.len() < MODES.len() {
                    rows[place].2.push(cell(&report));
                }
            }
        }
    }
    let spoken = |revision: &str| rows.iter().filter(|(_, spoken, _)| spoken == revision).count();
    assert_eq!((spoken(LAST_WITH_200), spoken("2026-07-28")), (6, 4), "{rows:?}");
    let table: String =
        rows.iter().map(|(client, revision, cells)| format!("| {}, {revision} | {} |\n", client.title(), cells.join(" | "))).collect();
    assert!(Page::read("docs/proxy.md").text.contains(&table), "docs/proxy.md should say\n{table}");
}

#[test]
fn clients_of_the_older_transport_live_in_every_mode() {
    let server = Server::Python1Older.start();
    let mut table = String::new();
    for client in [Client::Python1, Client::TypeScript1, Client::TypeScript2] {
        let reports = thread::scope(|scope| {
            let server = &server;
            MODES.map(|mode| scope.spawn(move || run(client, server, mode))).map(|run| run.join().expect("its panic is told above"))
        });
        for report in &reports {
            assert_was_denied(client, report);
            assert_lives(client, report);
            assert_reads_the_wait(client, report);
        }
        let cells = reports.each_ref().map(cell).join(" | ");
        table.push_str(&format!("| {}, HTTP+SSE | {cells} |\n", client.title()));
    }
    assert!(Page::read("docs/proxy.md").text.contains(&table), "docs/proxy.md should say\n{table}");
}

/// FastMCP's own sign-in: the client finds it by what the server's 401 and metadata say, registers, is let in, and gets its token, all through
/// the proxy.
#[test]
fn a_client_signs_in_at_a_server_that_is_its_own_oauth_server() {
    let port = free_port();
    let limits = resource(json!({"global": {"maxTokens": 2, "refillPeriod": "4s"}}));
    let upstream = format!("http://127.0.0.1:{port}/mcp");
    let args = ["--store", "memory", "--pass-path", "/authorize,/token,/register"];
    let proxy = Proxy::start(&upstream, &limits, &args);
    let server = start_oauth(port, &format!("http://{}", proxy.address));
    let report = run_oauth(&proxy.url());
    assert_was_denied(Client::Python1, &report);
    assert_lives(Client::Python1, &report);
    assert_eq!(server.url, upstream);
}

/// One run in which the server fails the third call.
fn run_with_outage(client: Client, server: &Running, outage: Outage) -> Report {
    let server = server.url.strip_prefix("http://").and_then(|url| url.strip_suffix("/mcp")).expect("its URL");
    let limits = resource(json!({"global": {"maxTokens": 100, "refillPeriod": "1m0s"}}));
    let upstream = format!("http://{}/mcp", relay(server.parse().expect("an address"), outage));
    let proxy = Proxy::start(&upstream, &limits, &["--store", "memory", "--upstream-timeout", "1s"]);
    client.run(&proxy.url())
}

#[test]
fn every_session_up_to_2025_11_25_survives_a_server_that_is_down_or_slow() {
    let mut rows: Vec<(Client, String, Vec<String>)> = Vec::new();
    for server in [Server::Python1Sse, Server::Python2Sse] {
        let server = server.start();
        for outage in [Outage::Down, Outage::Slow] {
            let reports = thread::scope(|scope| {
                let server = &server;
                let runs = Client::ALL.map(|client| (client, scope.spawn(move || run_with_outage(client, server, outage))));
                runs.map(|(client, run)| (client, run.join().expect("its panic is told above")))
            });
            for (client, report) in reports {
                let revision = report.revision.clone().expect("every session has one");
                assert!(report.error.is_some() && report.calls == 2, "{client:?}, {outage:?}: {report:?}");
                if revision.as_str() <= LAST_WITH_200 {
                    assert_lives(client, &report);
                    assert!(report.error.as_deref().is_some_and(|error| error.contains("-32603")), "{client:?}, {outage:?}: {report:?}");
                }
                let place = rows.iter().position(|(known, spoken, _)| (*known, spoken) == (client, &revision)).unwrap_or(rows.len());
                if place == rows.len() {
                    rows.push((client, revision, Vec::new()));
                }
                if rows[place].2.len() < 2 {
                    let end = if report.alive && report.again { "" } else { ", **session lost**" };
                    rows[place].2.push(format!("{}{end}", report.error.as_deref().unwrap_or_default()));
                }
            }
        }
    }
    let table: String =
        rows.iter().map(|(client, revision, cells)| format!("| {}, {revision} | {} |\n", client.title(), cells.join(" | "))).collect();
    assert!(Page::read("docs/proxy.md").text.contains(&table), "docs/proxy.md should say\n{table}");
}

#[test]
fn every_client_lives_behind_servers_that_answer_in_other_ways() {
    for server in [Server::Python1Json, Server::Rust] {
        let running = server.start();
        for (client, report) in run_all(&running, "auto") {
            assert_was_denied(client, &report);
            assert_lives(client, &report);
            if !drops_the_wait(client, report.revision.as_deref().unwrap_or_default()) {
                assert_reads_the_wait(client, &report);
            }
        }
    }
}
