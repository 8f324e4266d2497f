//! The documents that readers start from exist, and no link between documents leads nowhere.

use super::{File, Finding, Tree};
use anyhow::Result;

const REQUIRED: &[&str] = &["README.md", "ARCHITECTURE.md", "proto/PROTOCOL.md"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let missing = REQUIRED.iter().filter(|path| !tree.has(path));
    let mut findings: Vec<Finding> = missing
        .map(|path| Finding::in_file(path, "the document is missing"))
        .collect();
    for file in tree.files("", ".md") {
        for (line, target) in links(&file.text) {
            if let Some(message) = fault(tree, file, target) {
                findings.push(Finding::at(&file.path, line, message));
            }
        }
    }
    Ok(findings)
}

/// What is wrong with a link of `from`, if anything. Links to other sites are not followed.
fn fault(tree: &Tree, from: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        from.path.clone()
    } else {
        resolved(&from.path, path)
    };
    if !path.is_empty() && !tree.has(&path) {
        return Some(format!(
            "the link ({target}) leads to {path}, which does not exist"
        ));
    }
    if anchor.is_empty() || !path.ends_with(".md") {
        return None;
    }
    let text = tree.text(&path).ok()?;
    let found = headings(text).any(|heading| heading == anchor);
    (!found).then(|| format!("{path} has no heading for #{anchor}"))
}

/// `target`, as written in the file at `from`, from the top of the repository.
fn resolved(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The targets of `[text](target)` outside code, with their lines from 1.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (i, line) in prose(text) {
        // Every other piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            let targets = piece
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(targets.map(|target| (i, target)));
        }
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The lines outside fenced code, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push((i + 1, line));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let readme = "# A title\n[a](proto/PROTOCOL.md#the-wire) [b](server) [c](https://example.org/x)\n\
                      [d](nowhere.md) and [e](proto/PROTOCOL.md#gone)\n```\n[f](code.md)\n```\n`[g](code.md)`\n[h](#a-title)\n";
        let tree = Tree::of(&[
            ("README.md", readme),
            ("ARCHITECTURE.md", ""),
            (
                "proto/PROTOCOL.md",
                "## The wire\n[up](../README.md) [off](../../x.md)",
            ),
            ("server/lib.rs", ""),
        ]);
        let found: Vec<_> = check(&tree)
            .unwrap()
            .into_iter()
            .map(|f| (f.path, f.line))
            .collect();
        let expected = [("README.md", 3), ("README.md", 3), ("proto/PROTOCOL.md", 2)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), Some(line))));
    }

    #[test]
    fn a_missing_document_is_found() {
        let findings = check(&Tree::of(&[("README.md", "")])).unwrap();
        assert_eq!(findings.len(), 2);
    }
}
