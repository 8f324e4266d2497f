//! Where dependencies come from and under which licence, by the lists of `deny.toml`. cargo-deny knows more (the
//! advisory database above all); this is what needs neither it nor the network.

use super::{Finding, Tree};
use crate::command::cargo;
use anyhow::{Context, Result};

const DENY: &str = "deny.toml";
const LOCK: &str = "Cargo.lock";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The lock file names no banned crate and no source but crates.io, every licence is allowed, and every exception
/// has its reason.
pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let deny = tree.text(DENY)?;
    let mut findings = locked(tree.text(LOCK)?, &banned(deny));
    findings.extend(exceptions_without_reason(deny));
    let licences = cargo([
        "tree",
        "--locked",
        "--workspace",
        "-e",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}\t{l}",
    ]);
    findings.extend(unlicensed(&licences.output()?, &allowed(deny)?));
    Ok(findings)
}

fn locked(lock: &str, banned: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (i, line) in lock.lines().enumerate() {
        if let Some(name) = value_of(line, "name").filter(|name| banned.contains(name)) {
            let message =
                format!("{name} is banned by {DENY}; see `cargo tree -i {name} --workspace -e all`");
            findings.push(Finding::at(LOCK, i + 1, message));
        }
        if let Some(source) = value_of(line, "source").filter(|source| *source != CRATES_IO) {
            findings.push(Finding::at(LOCK, i + 1, format!("{source} is not crates.io")));
        }
    }
    findings
}

/// The value of `key = "value"`, at the start of a line or anywhere in a table on one line.
fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (before, rest) = line.split_once(&format!("{key} = \""))?;
    let whole_key = before.is_empty() || before.ends_with(['{', ' ']);
    rest.split('"').next().filter(|_| whole_key)
}

fn banned(deny: &str) -> Vec<&str> {
    deny.lines().filter_map(|line| value_of(line, "crate")).collect()
}

fn exceptions_without_reason(deny: &str) -> Vec<Finding> {
    let exceptions = deny.lines().enumerate().filter_map(|(i, line)| {
        let id = line.contains("RUSTSEC-") && !line.trim_start().starts_with('#');
        id.then_some((i, line))
    });
    exceptions
        .filter(|(_, line)| value_of(line, "reason").is_none_or(str::is_empty))
        .map(|(i, _)| Finding::at(DENY, i + 1, "an exception needs `reason = \"...\"` on its line"))
        .collect()
}

fn allowed(deny: &str) -> Result<Vec<&str>> {
    let (_, licences) = deny
        .split_once("\nallow = [")
        .context("deny.toml has no `allow` list of licences")?;
    let (list, _) = licences
        .split_once(']')
        .context("the list of licences does not end")?;
    Ok(list.split('"').skip(1).step_by(2).collect())
}

/// Findings for the packages, one `name version<tab>licence` a line, whose licence is not met by `allowed`.
fn unlicensed(listed: &str, allowed: &[&str]) -> Vec<Finding> {
    let mut lines: Vec<&str> = listed.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines.sort_unstable();
    lines.dedup();
    let packages = lines.into_iter().filter_map(|line| line.split_once('\t'));
    packages
        .filter(|(_, licence)| !is_allowed(licence, allowed))
        .map(|(package, licence)| Finding::in_file(LOCK, format!("{package} has the licence \"{licence}\"")))
        .collect()
}

/// Whether an SPDX expression is met by the `allowed` licences. Old packages write `/` for `OR`.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any_of(words, allowed);
        return met & words.next_if_eq(&")").is_some();
    }
    let Some(licence) = words.next() else { return false };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => allowed.contains(&format!("{licence} WITH {exception}").as_str()),
        None => allowed.contains(&licence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_met_by_any_or_all_of_their_parts() {
        let check = |expression: &str, expected: bool| {
            assert_eq!(is_allowed(expression, &["MIT", "ISC"]), expected, "{expression}");
        };
        check("MIT", true);
        check("GPL-3.0", false);
        check("", false);
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0/MIT", true);
        check("MIT AND GPL-3.0", false);
        check("MIT AND ISC", true);
        check("GPL-3.0 OR MIT AND ISC", true);
        check("(MIT OR GPL-3.0) AND GPL-2.0", false);
        check("(MIT OR GPL-3.0) AND ISC", true);
        check("Apache-2.0 WITH LLVM-exception", false);
        check("Apache-2.0 WITH LLVM-exception OR MIT", true);
        check("MIT ISC", false);
        check("(MIT", false);
    }

    #[test]
    fn a_banned_crate_and_a_foreign_source_are_found_in_the_lock_file() {
        let lock = "name = \"openssl\"\nsource = \"git+https://example.org\"\nname = \"openssl-probe\"\n";
        let deny = "deny = [\n    { crate = \"openssl\", reason = \"x\" },\n]\n";
        let lines: Vec<_> = locked(lock, &banned(deny)).into_iter().map(|f| f.line).collect();
        assert_eq!(lines, [Some(1), Some(2)]);
    }

    #[test]
    fn an_exception_without_a_reason_is_found() {
        let deny = "# RUSTSEC-1\n{ id = \"RUSTSEC-2\", reason = \"why\" },\n\"RUSTSEC-3\",\n";
        let lines: Vec<_> = exceptions_without_reason(deny)
            .into_iter()
            .map(|f| f.line)
            .collect();
        assert_eq!(lines, [Some(3)]);
    }
}
