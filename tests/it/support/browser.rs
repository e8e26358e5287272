//! A real browser, headless Chromium, with a page that calls a proxy and reports what it could read.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::{find::neighbour, leash::Leashed};

const PATIENCE: Duration = Duration::from_secs(60);

/// Sends each request and reports. `TypeError: Failed to fetch` is all that a page learns where it may not read.
const PAGE: &str = r#"<!doctype html><title>page</title><script>
(async () => {
  const reported = [];
  for (const [url, init] of ASKS) {
    try {
      const answer = await fetch(url, init);
      const [wait, challenge] = ["retry-after", "www-authenticate"].map((name) => answer.headers.get(name));
      reported.push({ status: answer.status, wait, challenge, text: await answer.text() });
    } catch (error) {
      reported.push({ status: 0, wait: null, challenge: null, text: String(error) });
    }
  }
  await fetch("/reported", { method: "POST", body: JSON.stringify(reported) });
})();
</script>"#;

/// What a page could read of an answer.
#[derive(Debug, Deserialize)]
pub struct Seen {
    pub status: u16,
    /// `Retry-After`
    pub wait: Option<String>,
    /// `WWW-Authenticate`
    pub challenge: Option<String>,
    pub text: String,
}

/// A site with that page, before it is visited.
pub struct Site {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Site {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        Self { listener, address }
    }

    /// Its origin under one of the names of this machine.
    pub fn origin(&self, name: &str) -> String {
        format!("http://{name}:{}", self.address.port())
    }

    /// Opens the page at this origin, which sends these requests: URLs, and the second argument of `fetch`.
    pub fn visit(self, origin: &str, asks: &[(String, Value)]) -> Vec<Seen> {
        let page = PAGE.replace("ASKS", &serde_json::to_string(asks).expect("JSON"));
        let (reported, report) = mpsc::channel();
        thread::spawn(move || {
            for stream in self.listener.incoming().flatten() {
                serve(stream, &page, &reported);
            }
        });
        let folder = tempfile::tempdir().expect("a folder").keep();
        let profile = format!("--user-data-dir={}", folder.join("profile").display());
        let args = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0", &profile, &format!("{origin}/")];
        let browser = Leashed::start(&folder, &neighbour("chromium-headless-shell"), &args.map(str::to_owned));
        let reported = report.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the page says nothing: {}", browser.log_tail()));
        serde_json::from_slice(&reported).expect("what the page says")
    }
}

fn serve(mut stream: TcpStream, page: &str, reported: &mpsc::Sender<Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut first, mut length) = (String::new(), 0);
    let _ = reader.read_line(&mut first);
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().unwrap_or_else(|_| panic!("{name}: {value}"));
        }
    }
    let answer = if first.starts_with("POST /reported ") {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the whole report");
        let _ = reported.send(body);
        ""
    } else {
        page
    };
    let length = answer.len();
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}");
}
