//! The data directory belongs to one process at a time.
//!
//! The lock is the kernel's, on an open file: it ends with the process, however that ends, so a stale lock file
//! never keeps a server from starting. The holder's process number is written into it for the message only.

use crate::StorageError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The lock's file in the data directory.
const FILE_NAME: &str = "lock";

/// Holds a data directory until dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes `directory`, creating it where it does not exist.
    ///
    /// # Errors
    /// [`StorageError::Locked`] if somebody holds it, [`StorageError::File`] if it can't be created or used.
    pub fn acquire(directory: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(directory)
            .map_err(|source| file_error("create the data directory", directory, source))?;
        let path = directory.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| file_error("open the lock file", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::Locked {
                    path: directory.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &path, source)),
        }
        write_holder(&mut file).map_err(|source| file_error("write the lock file", &path, source))?;
        Ok(Self { _file: file })
    }
}

pub(crate) fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> StorageError {
    StorageError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).map(|_| text.trim().parse::<u32>()) {
        Ok(Ok(process)) => format!("process {process}"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_and_the_second_is_told_who() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let data = home.path().join("a/b");
        let first = DirectoryLock::acquire(&data).expect("it is free");
        let message = DirectoryLock::acquire(&data).expect_err("it is held").to_string();
        assert!(
            message.contains(&format!("in use by process {}", std::process::id())),
            "{message}"
        );
        assert!(message.contains("a/b"), "{message}");
        drop(first);
        DirectoryLock::acquire(&data).expect("it is free again");
    }

    #[test]
    fn a_path_that_is_no_directory_is_named() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = home.path().join("file");
        fs::write(&file, b"x").expect("writable");
        let message = DirectoryLock::acquire(&file).expect_err("a file").to_string();
        assert!(message.contains("can't create the data directory"), "{message}");
    }
}
