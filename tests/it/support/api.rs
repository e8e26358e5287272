//! A minimal API server: lists of objects that a test sets, over plain HTTP.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The status and the body of an answer to a GET of a path with its query.
type Answers = dyn Fn(&str) -> (u16, Value) + Send + Sync;

/// A server that answers until the test process ends.
#[derive(Debug)]
pub struct Api {
    folder: TempDir,
    pub address: SocketAddr,
}

/// A kubeconfig in JSON, which is YAML: a context of this name for an API server, and nobody signs in.
pub fn kubeconfig(context: &str, server: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": server}}],
        "users": [{"name": context, "user": {}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
    })
}

impl Api {
    pub fn start(answers: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = kubeconfig("test", &format!("http://{address}"));
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).expect("written");
        let answers: Arc<Answers> = Arc::new(answers);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = answers.clone();
                thread::spawn(move || serve(stream, &*answers));
            }
        });
        Self { folder, address }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

fn serve(mut stream: TcpStream, answers: &Answers) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line).ok()?;
        }
        let (status, body) = answers(&path);
        let body = body.to_string();
        write!(stream, "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
}
