//! No source file is longer than a reader can hold, unless the reason stands here.

use super::{Finding, Tree};
use anyhow::Result;

/// Lines of a file, its tests included.
const LINES_MAX: usize = 600;

/// Files that may be longer, and why.
const REASONS: &[(&str, &str)] = &[(
    "server/lane/src/crowd/tests.rs",
    "one model of a lane's tracks and its readers, and all that is held against it",
)];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = too_long(tree, REASONS);
    let stale = REASONS.iter().filter(|(path, _)| !tree.has(path));
    findings.extend(stale.map(|(path, _)| Finding::in_file(path, "has a reason to be long, but is gone")));
    Ok(findings)
}

fn too_long(tree: &Tree, reasons: &[(&str, &str)]) -> Vec<Finding> {
    let sources = [".rs", ".luau", ".lua"]
        .into_iter()
        .flat_map(|end| tree.files("", end));
    sources
        .filter(|file| !reasons.iter().any(|(path, _)| *path == file.path))
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| {
            let message =
                format!("{lines} lines; split it by concept, or give a reason in xtask/src/tidy/sizes.rs");
            Finding::in_file(&file.path, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &long), ("b.rs", &long), ("c.rs", "x\n"), ("d.md", &long)]);
        let findings = too_long(&tree, &[("b.rs", "a closed state machine")]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "a.rs");
    }
}
