//! Every message has golden bytes: each type of `proto/wire` that can be encoded is named, and each variant of
//! such an enum is made, in the crate's `tests` or in the tests of its own file.

use super::{Finding, Tree, says};
use anyhow::Result;

const SOURCES: &str = "proto/wire/src/";
const TESTS: &str = "proto/wire/tests/";

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let tests: String = tree.files(TESTS, ".rs").map(|file| file.text.as_str()).collect();
    let mut findings = Vec::new();
    for file in tree.files(SOURCES, ".rs") {
        let (code, own_tests) = file.text.split_once("#[cfg(test)]").unwrap_or((&file.text, ""));
        for (line, name) in encoded(code) {
            if !says(&tests, &name) && !says(own_tests, &name) {
                findings.push(Finding::at(
                    &file.path,
                    line,
                    format!("{name} has no golden bytes in {TESTS}"),
                ));
            }
        }
    }
    Ok(findings)
}

/// The types that derive `Encode`, and the variants of enums as `Type::Variant`, with their lines from 1.
fn encoded(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut derived = false;
    let mut variants_of = None;
    for (i, line) in code.lines().enumerate() {
        if line.starts_with("#[derive(") {
            derived = line.contains("Encode");
        }
        if let Some(name) = line
            .strip_prefix("pub struct ")
            .or(line.strip_prefix("pub enum "))
        {
            let name = first_name(name);
            if std::mem::take(&mut derived) {
                found.push((i + 1, name.to_owned()));
                variants_of = line.starts_with("pub enum ").then_some(name);
            }
        } else if line.starts_with('}') {
            variants_of = None;
        } else if let (Some(of), Some(inside)) = (variants_of, line.strip_prefix("    ")) {
            let variant = first_name(inside);
            if variant.starts_with(char::is_uppercase) {
                found.push((i + 1, format!("{of}::{variant}")));
            }
        }
    }
    found
}

fn first_name(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
/// Not sent.
#[derive(Clone)]
pub struct Local(u8);

/// Sent.
#[derive(Clone, Encode, Decode)]
pub enum Message {
    /// Doc.
    Hello(Hello),
    Leave,
}

#[derive(Encode, Decode)]
pub struct Hello {
    pub version: u16,
}
";

    #[test]
    fn encoded_types_and_variants_are_found_with_their_lines() {
        let expected = [
            (7, "Message"),
            (9, "Message::Hello"),
            (10, "Message::Leave"),
            (14, "Hello"),
        ];
        assert_eq!(
            encoded(SOURCE),
            expected.map(|(line, name)| (line, name.to_owned()))
        );
    }

    #[test]
    fn a_variant_that_no_test_makes_is_reported() {
        let tests = "check(Message::Hello(Hello { version: 1 })); check(Message::Leaves);";
        let tree = Tree::of(&[("proto/wire/src/a.rs", SOURCE), ("proto/wire/tests/b.rs", tests)]);
        let findings = check(&tree).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, Some(10));
    }
}
