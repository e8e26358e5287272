//! Small files: read up to a bound, and without holding up whoever else runs on the thread.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use tokio::task::spawn_blocking;

use super::settings::SettingsError;

/// The largest document that is read, in bytes; of a larger one, the beginning.
pub(super) const LARGEST: usize = 256 * 1024;

/// What is in a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    contents(path).map_err(|error| SettingsError::File { path: path.to_owned(), error })
}

/// The same, on another thread.
pub(super) async fn read_aside(path: &Path) -> Result<Vec<u8>, SettingsError> {
    let owned = path.to_owned();
    let read = spawn_blocking(move || contents(&owned)).await.unwrap_or_else(|ended| Err(io::Error::other(ended)));
    read.map_err(|error| SettingsError::File { path: path.to_owned(), error })
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)?.take(LARGEST as u64).read_to_end(&mut contents)?;
    Ok(contents)
}
