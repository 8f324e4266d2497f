//! Nothing in the repository names a place that only one machine has.

use super::{Finding, Tree};
use anyhow::Result;

/// Beginnings of such paths, in two parts so that this file does not hold them.
const BEGINNINGS: &[(&str, &str)] = &[
    ("/ho", "me/"),
    ("/ro", "ot/"),
    ("/wo", "rk/"),
    ("/Us", "ers/"),
    ("C:\\Us", "ers\\"),
];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in tree.files("", "") {
        for (i, line) in file.text.lines().enumerate() {
            for (a, b) in BEGINNINGS {
                if is_in(line, &format!("{a}{b}")) {
                    findings.push(Finding::at(
                        &file.path,
                        i + 1,
                        format!("{a}{b}... is a place on one machine"),
                    ));
                }
            }
        }
    }
    Ok(findings)
}

/// Whether a path in `line` begins so; a folder of that name inside a relative path is no fault.
fn is_in(line: &str, beginning: &str) -> bool {
    line.match_indices(beginning).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found_and_relative_ones_are_not() {
        let text = format!("cd /ho{0}/me\nsee src/ho{0}/lib.rs\n", "me");
        let findings = check(&Tree::of(&[("a.sh", &text)])).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, Some(1));
    }
}
