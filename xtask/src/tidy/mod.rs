//! The rules that no linter knows. Each is a function from the repository's files to what is wrong with them, so
//! that all mistakes are reported together; what a rule means stands at its function.

mod golden;
mod links;
mod paths;
mod purity;
mod sizes;
mod supply;

use crate::command::{git, root};
use anyhow::{Context, Result, ensure};
use std::fmt;

/// One mistake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, from the top of the repository.
    pub(crate) path: String,
    /// The line, if the mistake is in one. From 1.
    pub(crate) line: Option<usize>,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl Finding {
    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            message: message.into(),
        }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::in_file(path, message)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A text file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// From the top of the repository, with forward slashes.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

/// All text files that git has or would take, in the order of their paths.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<File>,
    /// Those that are not text: known to exist, no more.
    others: Vec<String>,
}

impl Tree {
    fn read() -> Result<Self> {
        let listed = git(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output()?;
        let mut paths: Vec<&str> = listed.split_terminator('\0').collect();
        paths.sort_unstable();
        paths.dedup();
        let mut tree = Self::default();
        for path in paths {
            let place = root().join(path);
            if !place.is_file() {
                // Deleted, but not yet from the index.
                continue;
            }
            let bytes = std::fs::read(&place).with_context(|| format!("can't read {path}"))?;
            match String::from_utf8(bytes) {
                Ok(text) => tree.files.push(File {
                    path: path.to_owned(),
                    text,
                }),
                Err(_) => tree.others.push(path.to_owned()),
            }
        }
        Ok(tree)
    }

    /// The text files below `folder` (all if it is empty) whose names end with `end`.
    fn files<'a>(&'a self, folder: &'a str, end: &'a str) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(folder) && file.path.ends_with(end))
    }

    /// The text of the file at `path`.
    fn text(&self, path: &str) -> Result<&str> {
        let file = self.files.iter().find(|file| file.path == path);
        Ok(&file.with_context(|| format!("{path} is missing"))?.text)
    }

    /// Whether there is a file or a folder at `path`.
    fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        let paths = self.files.iter().map(|file| &file.path).chain(&self.others);
        paths.into_iter().any(|p| p == path || p.starts_with(&folder))
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        });
        Self {
            files: files.collect(),
            others: Vec::new(),
        }
    }
}

/// Whether `text` holds `word`, not as a part of a longer name.
fn says(text: &str, word: &str) -> bool {
    let in_names = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let goes_on_before = text[..at].ends_with(in_names);
        let goes_on_behind = word.ends_with(in_names) && text[at + word.len()..].starts_with(in_names);
        !goes_on_before && !goes_on_behind
    })
}

/// A rule: its name in the output, and its check.
type Rule = (&'static str, fn(&Tree) -> Result<Vec<Finding>>);

const RULES: &[Rule] = &[
    ("pure crates depend on nothing impure", purity::dependencies),
    ("pure crates use no clock, socket, thread or log", purity::sources),
    (
        "no banned crate, no foreign source, every licence allowed",
        supply::check,
    ),
    ("every message has golden bytes", golden::check),
    ("documents exist and their links lead somewhere", links::check),
    ("no file is too long without a reason", sizes::check),
    ("no path of somebody's machine", paths::check),
];

/// Checks every rule.
pub(crate) fn run() -> Result<()> {
    eprintln!("\ntidy:");
    let tree = Tree::read()?;
    let mut count = 0;
    for (name, check) in RULES {
        let findings = check(&tree).with_context(|| format!("the rule \"{name}\" could not be checked"))?;
        eprintln!("  {} {name}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for finding in &findings {
            eprintln!("       {finding}");
        }
        count += findings.len();
    }
    ensure!(
        count == 0,
        "tidy found {count} mistake{}",
        if count == 1 { "" } else { "s" }
    );
    Ok(())
}
