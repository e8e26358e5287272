//! Small files: bounded reads that do not block the async runtime's threads.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use tokio::task::spawn_blocking;

use super::settings_error::VerifierSettingsError;

/// The largest document that is read, in bytes.
pub(super) const LARGEST: usize = 256 * 1024;
/// The same for CA bundles: the system's bundles come close to the other limit, and companies add their own CAs.
pub(super) const LARGEST_CA: usize = 16 * 1024 * 1024;

/// Reads a file of at most `most` bytes. A larger file is an error, since its beginning alone would be misread.
pub(super) fn read(path: &Path, most: usize) -> Result<Vec<u8>, VerifierSettingsError> {
    contents(path, most).map_err(|error| VerifierSettingsError::File { path: path.to_owned(), error })
}

/// The same for up to [`LARGEST`] bytes, on a blocking thread.
pub(super) async fn read_aside(path: &Path) -> Result<Vec<u8>, VerifierSettingsError> {
    let owned = path.to_owned();
    let read = spawn_blocking(move || contents(&owned, LARGEST)).await.unwrap_or_else(|ended| Err(io::Error::other(ended)));
    read.map_err(|error| VerifierSettingsError::File { path: path.to_owned(), error })
}

fn contents(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut contents)?;
    if contents.len() > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("the file is larger than {most} bytes")));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [b'x'; 10]).expect("written");
        assert_eq!(read(&path, 10).map(|read| read.len()), Ok(10));
        let error = read(&path, 9).expect_err("too large").to_string();
        assert!(error.starts_with("cannot read ") && error.ends_with("/file: the file is larger than 9 bytes"), "{error}");
        std::fs::write(&path, vec![b'x'; LARGEST]).expect("written");
        assert_eq!(read_aside(&path).await.map(|read| read.len()), Ok(LARGEST));
        std::fs::write(&path, vec![b'x'; LARGEST + 1]).expect("written");
        let error = read_aside(&path).await.expect_err("too large").to_string();
        assert!(error.ends_with(&format!("/file: the file is larger than {LARGEST} bytes")), "{error}");
    }
}
