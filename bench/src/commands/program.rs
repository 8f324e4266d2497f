//! Which executable is the server, and whether it goes with this one.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Environment variables of this form are configuration keys: a measurement is what its command line says.
const CONFIGURATION_PREFIX: &str = "MYRIAD_";

/// The server's executable.
#[derive(Debug)]
pub(super) struct Program(PathBuf);

/// The server's executable: `asked`, else `myriad` beside this program. Warnings go to the error stream.
///
/// # Errors
/// If there is none.
pub(super) fn server(asked: Option<&Path>) -> Result<Program> {
    let own = std::env::current_exe()?;
    let server = match asked {
        Some(path) => path.to_owned(),
        None => beside(&own),
    };
    if !server.is_file() {
        bail!(
            "there is no server {}; `cargo build --release --workspace --bins` builds it beside this program, \
             --server names another",
            server.display()
        );
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build; its figures say nothing about speed");
    }
    for warning in warnings(&own, &server) {
        eprintln!("warning: {warning}");
    }
    Ok(Program(server))
}

impl Program {
    /// A command that runs it, without configuration from this program's environment.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(CONFIGURATION_PREFIX) {
                command.env_remove(name);
            }
        }
        command
    }
}

fn beside(own: &Path) -> PathBuf {
    own.with_file_name(format!("myriad{}", std::env::consts::EXE_SUFFIX))
}

/// What makes it doubtful that two executables were built alike.
fn warnings(own: &Path, server: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let folder = |path: &Path| path.canonicalize().ok()?.parent().map(Path::to_owned);
    let profile = |path: &Path| Some(folder(path)?.file_name()?.to_string_lossy().into_owned());
    if let (Some(own), Some(server)) = (profile(own), profile(server))
        && own != server
    {
        warnings.push(format!("this program was built as {own}, the server as {server}"));
    }
    let built = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    if let (Some(own), Some(server)) = (built(own), built(server))
        && let Ok(older) = own.duration_since(server)
        && older.as_secs() >= 60
    {
        warnings.push(format!(
            "the server is {} minutes older than this program; does it hold what is to be measured?",
            older.as_secs() / 60
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Duration;

    #[test]
    fn a_server_that_is_absent_says_how_to_build_it() {
        let error = server(Some(Path::new("/nowhere/myriad"))).expect_err("there is none");
        let text = error.to_string();
        assert!(
            text.contains("cargo build --release") && text.contains("/nowhere/myriad"),
            "{text}"
        );
    }

    #[test]
    fn an_old_server_and_one_of_another_profile_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |profile: &str, name: &str, age_s: u64| {
            let folder = folder.path().join(profile);
            std::fs::create_dir_all(&folder).expect("a folder");
            let file = File::create(folder.join(name)).expect("a file");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age_s);
            file.set_modified(time).expect("a time");
            folder.join(name)
        };
        let own = place("release", "myriad-bench", 0);
        assert!(warnings(&own, &place("release", "a", 59)).is_empty());
        assert!(warnings(&own, &place("release", "b", 0)).is_empty());
        let old = warnings(&own, &place("release", "c", 180));
        assert!(old.len() == 1 && old[0].contains("3 minutes older"), "{old:?}");
        let other = warnings(&own, &place("debug", "d", 0));
        assert!(other.len() == 1 && other[0].contains("debug"), "{other:?}");
    }
}
