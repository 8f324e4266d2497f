//! A server in a process of its own, started for a measurement: its configuration, its start and its end.
//! [`crate::cluster`] makes a cluster of several.
//!
//! It uses what everybody can use: `myriad serve` and `myriad node` with a configuration file. Which program that is, the caller says,
//! so that nothing here knows the server's crates.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The configuration of a server to measure: by key, such as `space.hz`, each with its value as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration(BTreeMap<String, String>);

impl Configuration {
    /// A server on free ports of this machine that tells the truth and logs no more than warnings.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        let mut configuration = Self::default();
        configuration.set("storage.data", format!("{data:?}"));
        configuration.set("client.listen", "\"127.0.0.1:0\"");
        configuration.set("admin.listen", "\"127.0.0.1:0\"");
        configuration.set("admin.truth", true);
        configuration.set("log.filter", "\"warn\"");
        configuration
    }

    /// Sets a key to a value as TOML.
    pub fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.insert(key.to_owned(), value.to_string());
    }

    /// Sets what people write as `KEY=VALUE`. A value that is no number, flag, list or quoted text is a text.
    ///
    /// # Errors
    /// If it is not of this form.
    pub fn set_pair(&mut self, pair: &str) -> Result<()> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (key.trim(), value.trim());
        let named =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        ensure!(
            !value.is_empty() && key.contains('.') && key.split('.').all(named),
            "--config {pair}: expected KEY=VALUE, such as gateway.near_target=50; `myriad config` tells the keys"
        );
        let is_toml = value.starts_with(['"', '\'', '['])
            || matches!(value, "true" | "false")
            || value.parse::<f64>().is_ok_and(f64::is_finite);
        match is_toml {
            true => self.set(key, value),
            false => self.set(key, format!("{value:?}")),
        }
        Ok(())
    }

    /// The value of a key, as TOML.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.0 {
            writeln!(text, "{key} = {value}").expect("a String takes everything");
        }
        text
    }
}

/// What a node says once it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeSaid {
    /// Where clients connect, if they may.
    pub client: Option<SocketAddr>,
    /// Where its admin HTTP answers.
    pub admin: SocketAddr,
    /// Where other nodes connect, if they may.
    pub cluster: Option<SocketAddr>,
    /// SHA-256 of its certificate for clients, as hex.
    pub fingerprint: Option<String>,
}

/// A node in a process of its own. Killed if it is dropped before [`Self::stopped`].
#[derive(Debug)]
pub struct Node {
    child: Child,
    stdout: Option<ChildStdout>,
}

impl Node {
    /// Starts the executable `program` with `command` (`serve` or `node`). Its configuration is written to `file`.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(
        mut program: Command,
        command: &str,
        file: &Path,
        configuration: &Configuration,
    ) -> Result<Self> {
        std::fs::write(file, configuration.text()).with_context(|| format!("writing {}", file.display()))?;
        let mut child = program
            .args([command, "--announce", "--until-stdin-closes", "--config"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not interrupted by a terminal together with this process, which ends it in good order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start the server {}", program.get_program().display()))?;
        let stdout = child.stdout.take();
        Ok(Self { child, stdout })
    }

    /// Waits until it is ready, and answers what it says then. To be asked once.
    ///
    /// # Errors
    /// If it ends before.
    pub fn ready(&mut self) -> Result<NodeSaid> {
        let stdout = self.stdout.take().context("a node says once that it is ready")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let status = self.child.wait()?;
            bail!("the server ended before it was ready: {status}");
        }
        serde_json::from_str(&line).with_context(|| format!("the server announced {line:?}"))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets it drain, without waiting for its end.
    pub fn drain(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Lets it drain, and waits for its end.
    ///
    /// # Errors
    /// If it did not end well.
    pub fn stopped(mut self) -> Result<()> {
        self.drain();
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After `stopped` there is nothing left to kill, and the answer says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server says once it is ready.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Where clients connect.
    pub client: SocketAddr,
    /// Where its admin HTTP answers.
    pub admin: SocketAddr,
    /// SHA-256 of its certificate, as hex.
    pub fingerprint: String,
}

/// A server of all roles that was started for a measurement.
#[derive(Debug)]
pub struct Server {
    node: Node,
    /// What it said when it was ready.
    pub said: Announcement,
}

impl Server {
    /// Starts the server whose executable `program` is, and waits until it is ready. Its configuration is written
    /// to `folder`.
    ///
    /// # Errors
    /// If it can't be started, or ends before it is ready.
    pub fn start(program: Command, folder: &Path, configuration: &Configuration) -> Result<Self> {
        let mut node = Node::start(program, "serve", &folder.join("server.toml"), configuration)?;
        let said = node.ready()?;
        let said = Announcement {
            client: said.client.context("the server takes no clients")?,
            admin: said.admin,
            fingerprint: said.fingerprint.context("the server told no fingerprint")?,
        };
        Ok(Self { node, said })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.node.pid()
    }

    /// Lets the server drain, and waits for its end.
    ///
    /// # Errors
    /// If it did not end well.
    pub fn stop(self) -> Result<()> {
        self.node.stopped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_values_win_and_the_text_is_one_key_a_line() {
        let mut configuration = Configuration::new(Path::new("/tmp/a b"));
        configuration.set("space.hz", "5.0");
        configuration.set_pair("space.hz=2.5").expect("a pair");
        configuration.set_pair("log.filter = debug").expect("a pair");
        assert_eq!(
            configuration.text(),
            "admin.listen = \"127.0.0.1:0\"\nadmin.truth = true\nclient.listen = \"127.0.0.1:0\"\n\
             log.filter = \"debug\"\nspace.hz = 2.5\nstorage.data = \"/tmp/a b\"\n"
        );
    }

    #[test]
    fn values_keep_their_type() {
        for (pair, value) in [
            ("a.b=1", "1"),
            ("a.b=true", "true"),
            ("a.b=\"x\"", "\"x\""),
            ("a.b=[\"x\"]", "[\"x\"]"),
            ("a.b=nan", "\"nan\""),
            ("a.b=x=y", "\"x=y\""),
        ] {
            let mut configuration = Configuration::default();
            configuration.set_pair(pair).expect("a pair");
            assert_eq!(configuration.get("a.b"), Some(value), "{pair}");
        }
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for pair in ["", "a.b", "a.b=", "ab=1", "a..b=1", "a.b\nc=1", ".b=1"] {
            assert!(Configuration::default().set_pair(pair).is_err(), "{pair:?}");
        }
    }
}
