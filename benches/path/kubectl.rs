//! `kubectl apply -f` of files with many objects, as a person waits for it.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    parties::{Key, Parties, Party},
    report::OPERATIONS,
};

/// Seconds by operation and party, in all files together: each file for all parties one after the other, before the next one.
pub(super) fn measure(parties: &Parties, folder: &Path, key: Key, objects: usize, files: usize) -> anyhow::Result<[[f64; 4]; 2]> {
    for party in Party::ALL {
        // kubectl finds out once what a group has, and remembers it.
        seconds(parties, &file(folder, party, key, 0..1)?)?;
    }
    let starts = |nth: usize| 1 + objects * nth / files;
    let mut all = [[0.0; 4]; OPERATIONS.len()];
    for operation in &mut all {
        for nth in 0..files {
            for (party, sum) in Party::ALL.into_iter().zip(&mut *operation) {
                *sum += seconds(parties, &file(folder, party, key, starts(nth)..starts(nth + 1))?)?;
            }
        }
    }
    Ok(all)
}

/// A file of MCPServers.
fn file(folder: &Path, party: Party, key: Key, numbers: Range<usize>) -> anyhow::Result<PathBuf> {
    let mut text = String::new();
    for number in numbers {
        let object = party.object(key, &format!("kubectl-{}-{number}", key.name()))?;
        text += &format!("---\n{}", serde_saphyr::to_string(&object)?);
    }
    let path = folder.join(party.name()).with_extension("yaml");
    fs::write(&path, text)?;
    Ok(path)
}

fn seconds(parties: &Parties, file: &Path) -> anyhow::Result<f64> {
    let mut command = parties.cluster.kubectl_command();
    let began = Instant::now();
    parties.cluster.run(command.args(["apply", "-f"]).arg(file), "").expect_ok();
    Ok(began.elapsed().as_secs_f64())
}
