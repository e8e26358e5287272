//! The servers of files and folders, read again whenever a text changes.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    authz::follow::{InForce, Outfit, Unit},
    cli::inputs::{Input, expand},
    manifest::server::LimitedServer,
};

/// Contents are compared, since kubelet swaps a symlink under mounted files.
const POLL: Duration = Duration::from_secs(1);

/// Files and folders, and their texts when last read.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    namespace: String,
    texts: Vec<Text>,
}

/// A file's name and text.
type Text = (String, Vec<u8>);

impl Files {
    /// Reads all of them.
    pub(super) fn open(paths: Vec<PathBuf>, namespace: String) -> anyhow::Result<Self> {
        let texts = read(&paths).map_err(|(name, error)| anyhow::anyhow!("cannot read {name}: {error}"))?;
        Ok(Self { paths, namespace, texts })
    }

    /// The servers in them, file by file.
    pub(super) fn units(&self) -> Vec<Unit> {
        let texts: Vec<_> = self.texts.iter().map(|(_, text)| text).collect();
        let servers = LimitedServer::read_all(&texts, &self.namespace);
        self.texts.iter().zip(servers).map(|((label, _), servers)| Unit { label: label.clone(), servers }).collect()
    }

    /// Follows them; never returns.
    pub(super) async fn follow<O: Outfit>(mut self, mut in_force: InForce<O>) {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures: u32 = 0;
        loop {
            ticks.tick().await;
            let paths = self.paths.clone();
            let Ok(read) = spawn_blocking(move || read(&paths)).await else { continue };
            match read {
                Ok(texts) if texts != self.texts => {
                    self.texts = texts;
                    in_force.read_again(self.units()).await;
                    failures = 0;
                }
                Ok(_) => failures = 0,
                Err((file, error)) => {
                    failures = failures.saturating_add(1);
                    // A file that is missing for a moment is being replaced.
                    if failures == 2 {
                        tracing::warn!(file, %error, "cannot read the files; keeping the current limits");
                    }
                }
            }
        }
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Text>, (String, io::Error)> {
    let skips_none = |_: &std::path::Path| false;
    let inputs = expand(paths, &skips_none).map(|input| {
        let input = input.map_err(|missing| (missing.name, io::Error::other(missing.message)))?;
        let name = input.name();
        match input {
            Input::Stdin => Err((name, io::Error::other("it cannot be followed: name a file"))),
            Input::File(path) => std::fs::read(path).map(|text| (name.clone(), text)).map_err(|error| (name, error)),
        }
    });
    inputs.collect()
}
