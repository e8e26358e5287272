//! Puts a file in another's place in one step: readers see the old one or the new one, whole. Only a file with several names, or one
//! whose owner cannot be kept, is written itself.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use tempfile::NamedTempFile;

/// Replaces the content of a file that had `old`. Its mode and owner stay; a symlink stays one, and what it leads to is replaced.
///
/// # Errors
/// When that cannot be done, or the file has changed since it was read; it is then as it was.
pub fn replace(path: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path)?;
    let metadata = fs::metadata(&target)?;
    if metadata.permissions().readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
    }
    let folder = target.parent().ok_or(io::ErrorKind::NotFound)?;
    if metadata.nlink() > 1 {
        // Another file in its place would leave the other names with the old one.
        return in_place(&target, old, new);
    }
    let mut file = tempfile::Builder::new().prefix(".tollgate-").tempfile_in(folder)?;
    file.write_all(new)?;
    if keep(&file, &metadata).is_err() {
        // A process that may write another owner's file may not give one away.
        return in_place(&target, old, new);
    }
    file.as_file().sync_all()?;
    if fs::read(&target)? != old {
        return Err(io::Error::other("the file changed while it was read: try again"));
    }
    file.persist(&target).map_err(|error| error.error)?;
    // The new name lasts once its folder is on the disk.
    File::open(folder)?.sync_all()
}

/// Writes the file itself: not in one step, but what it is besides its content stays.
fn in_place(target: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).open(target)?;
    if fs::read(target)? != old {
        return Err(io::Error::other("the file changed while it was read: try again"));
    }
    file.write_all(new)?;
    file.set_len(new.len() as u64)?;
    file.sync_all()
}

fn keep(file: &NamedTempFile, metadata: &Metadata) -> io::Result<()> {
    let ours = file.as_file().metadata()?;
    if (ours.uid(), ours.gid()) != (metadata.uid(), metadata.gid()) {
        std::os::unix::fs::fchown(file.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
    }
    file.as_file().set_permissions(metadata.permissions())
}
