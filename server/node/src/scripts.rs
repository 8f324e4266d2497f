//! Where the game's scripts come from: a folder, or the plaza that is built in.

use anyhow::{Context as _, Result, bail};
use myriad_script::ScriptSources;
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// The example game.
const PLAZA: &[(&str, &str)] = &[
    ("main", include_str!("../../../scripts/plaza/main.luau")),
    ("avatar", include_str!("../../../scripts/plaza/avatar.luau")),
    ("greeter", include_str!("../../../scripts/plaza/greeter.luau")),
    ("moods", include_str!("../../../scripts/plaza/moods.luau")),
    ("npc", include_str!("../../../scripts/plaza/npc.luau")),
];

/// Most bytes of one script file: a mistaken path must not fill the memory.
const SCRIPT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The scripts of `directory`, or the built-in plaza.
pub(crate) fn load(directory: Option<&Path>) -> Result<ScriptSources> {
    let mut sources = ScriptSources::default();
    match directory {
        None => {
            for (path, text) in PLAZA {
                sources.insert(*path, *text);
            }
        }
        Some(directory) => {
            read_folder(directory, "", &mut sources)
                .with_context(|| format!("can't read the scripts in {}", directory.display()))?;
            if sources.get("main").is_none() {
                bail!(
                    "{} has no main.luau: that is the script which is run first",
                    directory.display()
                );
            }
        }
    }
    Ok(sources)
}

/// What tells these scripts from others: the nodes of a cluster must run the same.
pub(crate) fn fingerprint(sources: &ScriptSources) -> String {
    let mut hash = Sha256::new();
    for path in sources.paths() {
        let text = sources.get(path).expect("it is one of its paths");
        for part in [path, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let hash = hash.finalize();
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_folder(folder: &Path, prefix: &str, sources: &mut ScriptSources) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            read_folder(&path, &format!("{prefix}{stem}/"), sources)?;
        } else if path.extension().is_some_and(|extension| extension == "luau") {
            if entry.metadata()?.len() > SCRIPT_BYTES_MAX {
                bail!("{} is larger than {SCRIPT_BYTES_MAX} bytes", path.display());
            }
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            sources.insert(format!("{prefix}{stem}"), text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_plaza_is_the_one_in_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/plaza");
        let (read, built_in) = (
            load(Some(&folder)).expect("the plaza"),
            load(None).expect("built in"),
        );
        assert!(
            read.paths().eq(built_in.paths()),
            "a file is missing in PLAZA, or there is one too many"
        );
        for path in read.paths() {
            assert_eq!(read.get(path), built_in.get(path), "{path}");
        }
    }

    #[test]
    fn other_scripts_have_another_fingerprint() {
        let of = |modules: &[(&str, &str)]| fingerprint(&modules.iter().copied().collect());
        let one = of(&[("main", "return 1"), ("npc", "")]);
        assert_eq!(one.len(), 16);
        assert_eq!(one, of(&[("npc", ""), ("main", "return 1")]));
        for other in [
            of(&[("main", "return 2"), ("npc", "")]),
            of(&[("main", "return 1")]),
            of(&[("main", "return 1npc"), ("npc", "")]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_folder_without_an_entry_is_a_clear_error() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("other.luau"), "").expect("written");
        let error = load(Some(folder.path())).expect_err("nothing to run").to_string();
        assert!(error.contains("has no main.luau"), "{error}");
    }
}
