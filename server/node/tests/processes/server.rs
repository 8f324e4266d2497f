//! Starts the real binary, and ends it with the test.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long anything may take that happens at once on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that can only be looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The configuration of a node: any ports, a quick save.
#[derive(Clone)]
pub(crate) struct Settings {
    keys: BTreeMap<String, toml::Value>,
    token: Option<String>,
}

impl Settings {
    /// For a node that keeps its data below `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            keys: BTreeMap::new(),
            token: None,
        }
        .with(
            "storage.data",
            folder.join("data").to_str().expect("a path in UTF-8"),
        )
        .with("storage.save_interval_s", 0.5)
        .with("client.listen", "127.0.0.1:0")
        .with("admin.listen", "127.0.0.1:0")
    }

    /// The same, with the game of `main` in `folder`.
    pub(crate) fn with_game(self, folder: &Path, main: &str) -> Self {
        let scripts = folder.join("game");
        std::fs::create_dir_all(&scripts).expect("the folder can be written");
        std::fs::write(scripts.join("main.luau"), main).expect("the folder can be written");
        self.with("scripts.directory", scripts.to_str().expect("a path in UTF-8"))
    }

    /// The same, with an admin HTTP that asks for `token`, kept in `folder`.
    pub(crate) fn with_token(mut self, folder: &Path, token: &str) -> Self {
        let file = folder.join("token");
        std::fs::write(&file, token).expect("the folder can be written");
        self.token = Some(token.into());
        self.with("admin.token_file", file.to_str().expect("a path in UTF-8"))
    }

    /// The same, with one more key.
    pub(crate) fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.keys.insert(key.into(), value.into());
        self
    }

    /// Writes them to `folder`, and says where.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let mut text = String::new();
        for (key, value) in &self.keys {
            writeln!(text, "{key} = {value}").expect("writing to a String does not fail");
        }
        std::fs::create_dir_all(folder).expect("the folder can be made");
        let path = folder.join("myriad.toml");
        std::fs::write(&path, text).expect("the folder can be written");
        path
    }
}

/// The binary, with arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriad"));
    command.args(arguments);
    command
}

/// Runs the binary to its end, which must come soon.
pub(crate) fn run(command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Ended(child.expect("the binary starts"));
    let read = |mut pipe: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
            bytes
        })
    };
    let stdout = read(Box::new(child.0.stdout.take().expect("piped")));
    let stderr = read(Box::new(child.0.stderr.take().expect("piped")));
    let status = child.wait(2 * PATIENCE);
    Output {
        status,
        stdout: stdout.join().expect("it reads"),
        stderr: stderr.join().expect("it reads"),
    }
}

/// Runs the binary to its failure, and answers what it said of it.
pub(crate) fn failure(command: &mut Command) -> String {
    let output = run(command);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "it ends with an error: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A child that does not outlive its test.
struct Ended(Child);

impl Ended {
    fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.0.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Fails if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `myriad serve` or `myriad node`.
pub(crate) struct Server {
    child: Ended,
    stdin: Option<ChildStdin>,
    announced: Value,
    folder: PathBuf,
    token: Option<String>,
}

impl Server {
    /// Starts `myriad serve` and waits until it is ready.
    pub(crate) fn serve(folder: &Path, settings: &Settings) -> Self {
        Self::start("serve", folder, settings)
    }

    /// Starts `myriad COMMAND` in `folder` and waits until it is ready.
    pub(crate) fn start(command: &str, folder: &Path, settings: &Settings) -> Self {
        let file = settings.write(folder);
        let log = File::create(folder.join("log")).expect("the folder can be written");
        let mut child = self::command(&[command, "--announce", "--until-stdin-closes", "--config"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("piped");
        let mut server = Self {
            child: Ended(child),
            stdin,
            announced: Value::Null,
            folder: folder.into(),
            token: settings.token.clone(),
        };
        let (said, hear) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            // Nobody listens any more if it took too long.
            let _ = said.send(line);
        });
        let line = hear
            .recv_timeout(PATIENCE)
            .expect("the server says in time where it is");
        server.announced = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{command} announced {line:?}; its log:\n{}", server.log()));
        server.until("the server is ready", |server| server.page("/ready").0 == 200);
        server
    }

    fn address(&self, key: &str) -> SocketAddr {
        let text = self.announced[key].as_str();
        let text = text.unwrap_or_else(|| panic!("no {key} in {}", self.announced));
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

    /// The fingerprint of the certificate that clients see.
    pub(crate) fn fingerprint(&self) -> myriad_client::quic::Fingerprint {
        let text = self.announced["fingerprint"].as_str().expect("a gateway has one");
        text.parse().expect("a fingerprint")
    }

    /// The certificate that clients see, as PEM.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        std::fs::read(self.folder.join("data/tls/cert.pem")).expect("a gateway makes one")
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Status and body of an admin page.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        page(&format!("{}{path}", self.admin()), self.token.as_deref())
    }

    /// The value of a metric, summed over its labels that contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let (status, text) = self.page("/metrics");
        assert_eq!(status, 200, "{text}");
        let of_name = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with(' ') || rest.starts_with('{')) && rest.contains(label)
        };
        let values: Vec<f64> = text
            .lines()
            .filter(of_name)
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!values.is_empty(), "there is no metric {name} with {label:?}");
        values.iter().sum()
    }

    /// Waits until [`Self::metric`] is at least `wanted`.
    pub(crate) fn until_metric(&self, name: &str, label: &str, wanted: f64) {
        self.until(&format!("{name} {label} is {wanted}"), |server| {
            server.metric(name, label) >= wanted
        });
    }

    /// Waits until `done` says so.
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.0.kill().expect("it runs");
        self.child.0.wait().expect("it ends");
    }

    /// Waits until it ends by itself, with a failure, and answers what it has logged.
    pub(crate) fn ended(mut self) -> String {
        let status = self.drained();
        assert!(!status.success(), "it ended as if all were well");
        self.log()
    }

    /// Lets it drain by closing its standard input.
    pub(crate) fn stop(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.drained()
    }

    /// Lets it drain by a signal.
    pub(crate) fn signal(mut self, signal: libc::c_int) -> ExitStatus {
        self.send(signal);
        self.drained()
    }

    /// Sends it a signal.
    pub(crate) fn send(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.pid()).expect("a pid");
        // SAFETY: kill has no memory effects; the pid is that of our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn drained(&mut self) -> ExitStatus {
        let status = self.child.wait(PATIENCE);
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log in {}:\n{}", self.folder.display(), self.log());
        }
    }
}

/// Status and body of a page; status 0 if nobody answers.
pub(crate) fn page(url: &str, token: Option<&str>) -> (u16, String) {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build();
    let mut request = ureq::Agent::new_with_config(config).get(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    match request.call() {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let mut body = String::new();
            response
                .body_mut()
                .as_reader()
                .read_to_string(&mut body)
                .expect("text");
            (status, body)
        }
        Err(_) => (0, String::new()),
    }
}
