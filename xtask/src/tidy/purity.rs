//! The cores are pure: synchronous state machines that no socket, clock, thread or database can reach into. So a
//! whole cluster fits in one test thread, driven by a seed.

use super::{Finding, Tree, says};
use crate::command::cargo;
use anyhow::Result;

/// The pure crates: package and folder.
const PURE: &[(&str, &str)] = &[
    ("myriad-wire", "proto/wire"),
    ("myriad-aoi", "server/aoi"),
    ("myriad-world", "server/world"),
    ("myriad-cluster", "server/cluster"),
    ("myriad-gateway", "server/gateway"),
    ("myriad-lane", "server/lane"),
];

/// Packages that bring in I/O, a clock or a runtime.
const IMPURE: &[&str] = &[
    "axum",
    "hyper",
    "mio",
    "mongodb",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "redb",
    "rustls",
    "socket2",
    "tokio",
];

/// What the sources of a pure crate do not say. Threads of rayon's pool are allowed: what they compute does not
/// depend on their number.
const WORDS: &[&str] = &[
    "Instant",
    "SystemTime",
    "std::net",
    "std::thread",
    "std::fs",
    "std::process",
    "tracing::",
    "println!",
];

/// Their normal dependencies, all the way down, hold nothing of [`IMPURE`].
pub(super) fn dependencies(_: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (package, folder) in PURE {
        let tree = cargo([
            "tree", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}", "-p", package,
        ]);
        let manifest = format!("{folder}/Cargo.toml");
        for name in impure(&tree.output()?) {
            let message =
                format!("{package} is pure, but depends on {name}; see `cargo tree -p {package} -i {name}`");
            findings.push(Finding::in_file(&manifest, message));
        }
    }
    Ok(findings)
}

/// Those of the packages that `cargo tree` lists which are impure.
fn impure(listed: &str) -> Vec<&'static str> {
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    IMPURE
        .iter()
        .copied()
        .filter(|name| names.contains(name))
        .collect()
}

/// Their sources hold none of [`WORDS`] outside comments.
pub(super) fn sources(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (package, folder) in PURE {
        let sources = format!("{folder}/src/");
        for file in tree.files(&sources, ".rs") {
            for (i, line) in file.text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in WORDS.iter().filter(|word| says(code, word)) {
                    let message = format!("{package} is pure: no `{word}` in it");
                    findings.push(Finding::at(&file.path, i + 1, message));
                }
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_a_pure_crate_is_found_but_not_in_a_comment_or_a_longer_name() {
        let text = "use std::time::Instant;\n// An Instant.\nstruct InstantReplay;\nlet now = std::thread::spawn(f);\n";
        let tree = Tree::of(&[
            ("server/aoi/src/engine.rs", text),
            ("server/edge/src/lib.rs", text),
        ]);
        let findings: Vec<_> = sources(&tree)
            .unwrap()
            .into_iter()
            .map(|f| (f.path, f.line))
            .collect();
        let path = "server/aoi/src/engine.rs".to_owned();
        assert_eq!(findings, [(path.clone(), Some(1)), (path, Some(4))]);
    }

    #[test]
    fn an_impure_package_is_found_by_its_whole_name() {
        let listed = "myriad-lane v0.1.0\nredb v4.4.0\ntokio-util v0.7.0\n\nredb v4.4.0 (*)\n";
        assert_eq!(impure(listed), ["redb"]);
    }
}
