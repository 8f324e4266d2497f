//! Starts the real binary, and ends it with the test.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// A running `myriad serve` or `myriad node`.
pub(crate) struct Server {
    child: Child,
    announced: Value,
}

/// Runs the binary to its end.
pub(crate) fn myriad(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_myriad"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

/// The configuration of a server for tests: any ports, a quick save, the truth open. `more` follows it.
pub(crate) fn configuration(folder: &Path, more: &str) -> String {
    format!(
        "[storage]\ndata = {:?}\nsave_interval_s = 0.5\n[client]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntruth = true\n{more}",
        folder.join("data")
    )
}

impl Server {
    /// Starts `myriad serve` with a configuration and waits until it is ready.
    pub(crate) fn serve(folder: &Path, configuration: &str) -> Self {
        Self::start("serve", folder, "serve.toml", configuration)
    }

    /// Starts `myriad COMMAND` with a configuration, written to `folder/file`, and waits until it is ready.
    pub(crate) fn start(command: &str, folder: &Path, file: &str, configuration: &str) -> Self {
        let path = folder.join(file);
        std::fs::write(&path, configuration).expect("the folder can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_myriad"))
            .args([command, "--announce", "--until-stdin-closes", "--config"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the server says where it is");
        let announced =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{command} announced {line:?}"));
        Self { child, announced }
    }

    fn address(&self, key: &str) -> SocketAddr {
        let text = self.announced[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key} in {}", self.announced));
        text.parse().expect("an address")
    }

    /// Where clients connect.
    pub(crate) fn client(&self) -> SocketAddr {
        self.address("client")
    }

    /// Where other nodes connect.
    pub(crate) fn cluster(&self) -> SocketAddr {
        self.address("cluster")
    }

    /// The base URL of the admin HTTP.
    pub(crate) fn admin(&self) -> String {
        format!("http://{}", self.address("admin"))
    }

    /// The certificate's fingerprint.
    pub(crate) fn fingerprint(&self) -> myriad_client::quic::Fingerprint {
        self.announced["fingerprint"]
            .as_str()
            .expect("a gateway")
            .parse()
            .expect("a fingerprint")
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The value of a metric, summed over its labels that contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics");
        let of_name = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with(' ') || rest.starts_with('{')) && rest.contains(label)
        };
        let values = text
            .lines()
            .filter(of_name)
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// Waits until [`Self::metric`] is at least `wanted`; panics after a minute.
    pub(crate) fn until_metric(&self, name: &str, label: &str, wanted: f64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.metric(name, label) < wanted {
            assert!(
                Instant::now() < deadline,
                "waited in vain for {name}{{{label}}} to be {wanted}"
            );
            std::thread::yield_now();
        }
    }

    /// The body of an admin page.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut body = String::new();
        let mut response = ureq::get(format!("{}{path}", self.admin()))
            .call()
            .expect("the admin HTTP answers");
        response
            .body_mut()
            .as_reader()
            .read_to_string(&mut body)
            .expect("text");
        body
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Lets it drain by closing its standard input.
    pub(crate) fn stop(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().expect("it ends")
    }

    /// Lets it drain by a signal.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill has no memory effects; the pid is that of our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        self.child.wait().expect("it ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
