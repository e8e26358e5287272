//! The official SDKs through Envoy: each lists, calls, is denied, reads the wait, waits and calls again, as at the proxy.

use std::thread;

use serde_json::json;

use crate::{
    proxy::resource,
    support::{
        authz::Authz,
        envoy::Envoy,
        pages::Page,
        sdks::{Client, Server},
    },
};

#[test]
fn every_client_sees_what_the_table_of_the_proxy_says() {
    let table = Page::read("docs/proxy.md").text;
    for server in [Server::Python1Sse, Server::Python2Sse] {
        let server = server.start();
        let address = server.url.strip_prefix("http://").and_then(|url| url.split('/').next()).expect("its address");
        let address = address.parse().expect("an address");
        for (column, mode) in ["auto", "200", "429", "tool-result"].into_iter().enumerate() {
            thread::scope(|scope| {
                for client in Client::ALL {
                    let (server, table) = (&server, &table);
                    scope.spawn(move || {
                        let limits = resource(json!({"global": {"maxTokens": 2, "refillPeriod": "4s"}}));
                        let authz = Authz::start(&[&limits], &["--store", "memory", "--reject-status", mode]);
                        let envoy = Envoy::start(address, authz.address);
                        let report = client.run(&server.url.replace(&address.to_string(), &envoy.address.to_string()));
                        let revision = report.revision.clone().expect("every session has one");
                        let row = format!("| {}, {revision} | ", client.title());
                        let row = table.lines().find_map(|line| line.strip_prefix(&row)).expect("docs/proxy.md has a row");
                        let cell = row.trim_end_matches(" |").split(" | ").nth(column).expect("a cell for the mode");
                        assert!(report.calls >= 2, "{client:?} {mode}: {report:?}");
                        assert!(cell.starts_with(report.error.as_deref().unwrap_or_default()), "{client:?} {mode}: {report:?}, not {cell}");
                        assert_eq!(report.alive, !cell.contains("session lost"), "{client:?} {mode}: {report:?}, not {cell}");
                        assert_eq!(report.wait.is_some(), !cell.contains("no wait"), "{client:?} {mode}: {report:?}, not {cell}");
                        assert!(!report.alive || report.again, "{client:?} {mode}: it waited as told: {report:?}");
                        assert!(!authz.log().contains("panicked"), "{}", authz.log());
                    });
                }
            });
        }
    }
}
