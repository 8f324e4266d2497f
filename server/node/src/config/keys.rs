//! Configuration keys: each is named, typed, bounded and documented in one place, where it is read.
//!
//! A key's value comes from the environment (`MYRIAD_SPACE__HZ=20`), else from the file, else its default. All
//! mistakes are gathered, each with its file and line or its variable. The same calls write the reference that
//! `myriad config` prints, so no key can be read without being documented.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// Environment variables with this prefix override keys; `__` stands for the dot.
pub(crate) const ENVIRONMENT_PREFIX: &str = "MYRIAD_";

/// Where a value was found, for messages.
#[derive(Clone, Debug)]
enum Origin {
    File { line: usize },
    Environment { variable: String },
}

#[derive(Debug)]
struct Found {
    value: Value,
    origin: Origin,
    used: bool,
}

struct Documented {
    key: String,
    default: String,
    doc: &'static str,
}

/// The keys of one configuration, being read.
pub(crate) struct Keys {
    file: String,
    found: BTreeMap<String, Found>,
    mistakes: Vec<String>,
    documented: Vec<Documented>,
}

impl Keys {
    /// Takes the text of a configuration file (`file` names it in messages) and environment variables.
    pub(crate) fn new(
        file: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut keys = Self {
            file: file.into(),
            found: BTreeMap::new(),
            mistakes: Vec::new(),
            documented: Vec::new(),
        };
        match (DeTable::parse(text), text.parse::<toml::Table>()) {
            (Ok(spans), Ok(values)) => keys.flatten("", spans.get_ref(), &values, text),
            (Err(error), _) | (_, Err(error)) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                keys.mistakes.push(format!("{file}:{line}: {}", error.message()));
            }
        }
        for (variable, text) in environment {
            if let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) {
                let key = name.to_ascii_lowercase().replace("__", ".");
                let value = format!("v = {text}")
                    .parse::<toml::Table>()
                    .ok()
                    .and_then(|mut table| table.remove("v"))
                    .unwrap_or(Value::String(text));
                keys.found.insert(
                    key,
                    Found {
                        value,
                        origin: Origin::Environment { variable },
                        used: false,
                    },
                );
            }
        }
        keys
    }

    fn flatten(&mut self, prefix: &str, spans: &DeTable<'_>, values: &toml::Table, text: &str) {
        for (name, value) in values {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let span = spans.iter().find(|(spanned, _)| spanned.get_ref() == name);
            match (value, span.map(|(_, v)| v.get_ref())) {
                (Value::Table(inner), Some(DeValue::Table(inner_spans))) => {
                    self.flatten(&key, inner_spans, inner, text);
                }
                _ => {
                    let line = span.map_or(1, |(spanned, _)| line_of(text, spanned.span().start));
                    self.found.insert(
                        key,
                        Found {
                            value: value.clone(),
                            origin: Origin::File { line },
                            used: false,
                        },
                    );
                }
            }
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &str, default: &str, doc: &'static str) -> String {
        self.read(key, &Value::from(default), doc, "a text", |v| {
            v.as_str().map(String::from)
        })
        .unwrap_or_else(|| default.into())
    }

    /// A text that may be left out.
    pub(crate) fn optional_text(&mut self, key: &str, doc: &'static str) -> Option<String> {
        self.read(key, &Value::from(""), doc, "a text", |v| {
            v.as_str().map(String::from)
        })
        .filter(|text| !text.is_empty())
    }

    /// A path that may be left out.
    pub(crate) fn optional_path(&mut self, key: &str, doc: &'static str) -> Option<PathBuf> {
        self.optional_text(key, doc).map(PathBuf::from)
    }

    /// True or false.
    pub(crate) fn flag(&mut self, key: &str, default: bool, doc: &'static str) -> bool {
        self.read(key, &Value::from(default), doc, "true or false", Value::as_bool)
            .unwrap_or(default)
    }

    /// A number within a range. Say its unit in `doc`.
    pub(crate) fn number(
        &mut self,
        key: &str,
        default: f64,
        range: RangeInclusive<f64>,
        doc: &'static str,
    ) -> f64 {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.read(key, &Value::from(default), doc, &expected, |v| {
            let number = v.as_float().or_else(|| v.as_integer().map(|i| i as f64))?;
            range.contains(&number).then_some(number)
        })
        .unwrap_or(default)
    }

    /// A whole number within a range. Say its unit in `doc`.
    pub(crate) fn count(
        &mut self,
        key: &str,
        default: u32,
        range: RangeInclusive<u32>,
        doc: &'static str,
    ) -> u32 {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, &Value::from(default), doc, &expected, |v| {
            let count = u32::try_from(v.as_integer()?).ok()?;
            range.contains(&count).then_some(count)
        })
        .unwrap_or(default)
    }

    /// An address with a port, such as `127.0.0.1:4433`.
    pub(crate) fn address(&mut self, key: &str, default: &str, doc: &'static str) -> std::net::SocketAddr {
        let parse = |v: &Value| v.as_str()?.parse().ok();
        self.read(
            key,
            &Value::from(default),
            doc,
            "an address such as \"127.0.0.1:4433\"",
            parse,
        )
        .unwrap_or_else(|| default.parse().expect("the default address is well-formed"))
    }

    /// One of a few words.
    pub(crate) fn choice(&mut self, key: &str, words: &[&'static str], doc: &'static str) -> &'static str {
        let expected = format!("one of {}", words.join(", "));
        let parse = |v: &Value| words.iter().copied().find(|word| Some(*word) == v.as_str());
        self.read(key, &Value::from(words[0]), doc, &expected, parse)
            .unwrap_or(words[0])
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &str, default: &[&str], doc: &'static str) -> Vec<String> {
        let default_value = Value::Array(default.iter().map(|text| Value::from(*text)).collect());
        self.read(key, &default_value, doc, "a list of texts", |v| {
            v.as_array()?
                .iter()
                .map(|item| item.as_str().map(String::from))
                .collect()
        })
        .unwrap_or_else(|| default.iter().map(ToString::to_string).collect())
    }

    /// All keys under `prefix`, whatever they are called: name and value.
    pub(crate) fn free(&mut self, prefix: &str, doc: &'static str) -> Vec<(String, Value)> {
        self.document(&format!("{prefix}.*"), String::new(), doc);
        let dotted = format!("{prefix}.");
        let mut free = Vec::new();
        for (key, found) in &mut self.found {
            if let Some(name) = key.strip_prefix(&dotted) {
                found.used = true;
                free.push((name.to_owned(), found.value.clone()));
            }
        }
        free
    }

    fn read<T>(
        &mut self,
        key: &str,
        default: &Value,
        doc: &'static str,
        expected: &str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.document(key, default.to_string(), doc);
        let found = self.found.get_mut(key)?;
        found.used = true;
        let parsed = parse(&found.value);
        if parsed.is_none() {
            let message = format!("{key} = {} is not {expected}", found.value);
            let origin = found.origin.clone();
            self.mistake_at(&origin, &message);
        }
        parsed
    }

    fn document(&mut self, key: &str, default: String, doc: &'static str) {
        self.documented.push(Documented {
            key: key.into(),
            default,
            doc,
        });
    }

    fn mistake_at(&mut self, origin: &Origin, message: &str) {
        let place = match origin {
            Origin::File { line } => format!("{}:{line}", self.file),
            Origin::Environment { variable } => format!("environment variable {variable}"),
        };
        self.mistakes.push(format!("{place}: {message}"));
    }

    /// Notes a mistake about `key` that only the combination of keys shows.
    pub(crate) fn mistake(&mut self, key: &str, message: &str) {
        let message = format!("{key}: {message}");
        match self.found.get(key).map(|found| found.origin.clone()) {
            Some(origin) => self.mistake_at(&origin, &message),
            None => self.mistakes.push(format!("{}: {message}", self.file)),
        }
    }

    /// All mistakes, those about keys that nobody asked for included.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let unknown: Vec<(String, Origin)> = self
            .found
            .iter()
            .filter(|(_, found)| !found.used)
            .map(|(key, found)| (key.clone(), found.origin.clone()))
            .collect();
        for (key, origin) in unknown {
            let known = self.documented.iter().map(|d| d.key.as_str());
            let hint = nearest(&key, known).map_or(String::new(), |near| format!("; did you mean {near}?"));
            self.mistake_at(&origin, &format!("there is no key {key}{hint}"));
        }
        self.mistakes
    }

    /// The reference: a configuration file with every key, its default and its meaning.
    pub(crate) fn reference(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for Documented { key, default, doc } in &self.documented {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
            if table != section {
                section = table;
                let _ = write!(text, "\n[{table}]\n");
            }
            for line in doc.lines() {
                let _ = writeln!(text, "# {}", line.trim());
            }
            let _ = if name == "*" {
                writeln!(text)
            } else {
                writeln!(text, "{name} = {default}\n")
            };
        }
        text.trim_start().into()
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The known key most like `key`, if one is like it at all.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(key, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 1 + key.len() / 4)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's edit distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, byte_b) in b.bytes().enumerate() {
            let substitution = diagonal + usize::from(byte_a != byte_b);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::new("test.toml", text, [])
    }

    #[test]
    fn all_mistakes_are_reported_together_with_their_lines() {
        let mut keys = keys("[space]\nhz = 5000\nrdaius = 3\n\n[client]\nlisten = \"nowhere\"\n");
        let hz = keys.number("space.hz", 10.0, 0.1..=1000.0, "");
        keys.number("space.radius", 100.0, 1.0..=4000.0, "");
        keys.address("client.listen", "127.0.0.1:4433", "");
        assert_eq!(hz, 10.0);
        assert_eq!(
            keys.finish(),
            [
                "test.toml:2: space.hz = 5000 is not a number from 0.1 to 1000",
                "test.toml:6: client.listen = \"nowhere\" is not an address such as \"127.0.0.1:4433\"",
                "test.toml:3: there is no key space.rdaius; did you mean space.radius?",
            ]
        );
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = [
            ("MYRIAD_SPACE__HZ".into(), "20".into()),
            ("HOME".into(), "/".into()),
        ];
        let mut keys = Keys::new("test.toml", "[space]\nhz = 5\n", environment);
        assert_eq!(keys.number("space.hz", 10.0, 0.1..=1000.0, ""), 20.0);
        assert!(keys.finish().is_empty());
    }

    #[test]
    fn broken_toml_names_its_line() {
        let mistakes = keys("[space]\nhz = = 3\n").finish();
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].starts_with("test.toml:2: "), "{mistakes:?}");
    }

    #[test]
    fn the_reference_is_itself_a_configuration() {
        let mut first = keys("");
        first.number("space.hz", 10.0, 0.1..=1000.0, "Ticks per second.");
        first.texts("node.roles", &["lane", "gateway"], "Roles.");
        let reference = first.reference();
        let mut second = keys(&reference);
        second.number("space.hz", 10.0, 0.1..=1000.0, "");
        second.texts("node.roles", &[], "");
        assert!(second.finish().is_empty(), "{reference}");
    }
}
