//! The README's first try of the proxy, with the files that it names.

use std::{net::TcpStream, path::Path, process::Command};

use crate::support::{leash::Leashed, pages::Page, port::free_port, process::wait_until, proxy::Proxy, sdks::python};

#[test]
fn the_files_in_the_readme_do_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = |name: &str| root.join("examples/quickstart").join(name).display().to_string();
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let _server = Leashed::start(folder.path(), &python("2"), &[script("server.py"), port.to_string()]);
    wait_until("the server to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let resource = std::fs::read_to_string(script("mcpserver.yaml")).expect("it is there");
    let proxy = Proxy::start(&format!("http://127.0.0.1:{port}/mcp"), &resource, &["--store", "memory"]);
    let client = Command::new(python("2")).args([script("client.py"), proxy.url()]).output().expect("it starts");
    let (printed, failed) = (String::from_utf8_lossy(&client.stdout), String::from_utf8_lossy(&client.stderr));
    // A slow machine has waited a part of it before it is told.
    let printed = (1..5).fold(printed.into_owned(), |text, wait| text.replace(&format!("again in {wait} s"), "again in 5 s"));
    assert!(!printed.is_empty() && Page::read("README.md").text.contains(&format!("```text\n{printed}```")), "{printed}{failed}");
}
