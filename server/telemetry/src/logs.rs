//! Logs: for people on a terminal, or as JSON, on standard error.
//!
//! Whoever logs never waits for the terminal, pipe or disk behind standard error: lines go through a bounded
//! queue to a thread of their own. When the queue is full, the new line is dropped and counted.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use thiserror::Error;
use tracing::Dispatch;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const LINES_MAX: usize = 8 * 1024;
/// How long the last lines may take at the end of the process.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Which logs are written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How. Default: for people.
    pub format: LogFormat,
    /// Which: a level, or directives by module such as `info,myriad_edge=debug`. Default: `info`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Why logs could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter can't be read.
    #[error("the log filter {filter:?}: {detail}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Logs have been set up before.
    #[error("logs are set up once per process")]
    Twice,
    /// The system gives no thread.
    #[error("no thread for the logs: {0}")]
    Thread(#[from] io::Error),
}

impl LogConfig {
    /// Whether the filter can be read: for reporting all mistakes of a config together.
    ///
    /// # Errors
    /// [`LogError::Filter`] if not.
    pub fn check(&self) -> Result<(), LogError> {
        self.parse().map(|_| ())
    }

    fn parse(&self) -> Result<EnvFilter, LogError> {
        EnvFilter::builder()
            .parse(&self.filter)
            .map_err(|error| LogError::Filter {
                filter: self.filter.clone(),
                detail: error.to_string(),
            })
    }
}

/// Keeps the logs until dropped at the end of the process; then it waits, at most a second, until all is written.
#[derive(Debug)]
pub struct LogGuard {
    queue: Queue,
}

impl LogGuard {
    /// Lines dropped so far because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, written) = bounded(1);
        if self
            .queue
            .sender
            .send_timeout(Entry::Flush(done), FLUSH_WAIT)
            .is_ok()
        {
            let _ = written.recv_timeout(FLUSH_WAIT);
        }
    }
}

/// Sets up the logs of this process. What is logged before, or after the guard is gone, may be lost.
///
/// # Errors
/// If the filter can't be read, or logs have been set up before.
pub fn init(config: &LogConfig) -> Result<LogGuard, LogError> {
    let filter = config.parse()?;
    let queue = Queue::start(io::stderr(), LINES_MAX)?;
    let dispatch = dispatch(config.format, filter, queue.clone(), io::stderr().is_terminal());
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LogError::Twice)?;
    Ok(LogGuard { queue })
}

fn dispatch(format: LogFormat, filter: EnvFilter, queue: Queue, colour: bool) -> Dispatch {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue);
    match format {
        LogFormat::Text => logs.with_ansi(colour).into(),
        LogFormat::Json => logs.json().flatten_event(true).into(),
    }
}

/// What goes to the thread that writes.
enum Entry {
    Line(Vec<u8>),
    /// Everything before this is to be written out, then the sender told.
    Flush(Sender<()>),
}

/// The way to the thread that writes.
#[derive(Clone, Debug)]
struct Queue {
    sender: Sender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    fn start(out: impl Write + Send + 'static, lines_max: usize) -> io::Result<Self> {
        let (sender, entries) = bounded(lines_max);
        thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || write_all(&entries, out))?;
        Ok(Self {
            sender,
            dropped: Arc::default(),
        })
    }
}

fn write_all(entries: &Receiver<Entry>, mut out: impl Write) {
    for entry in entries {
        // There is nowhere to report that logs can't be written.
        match entry {
            Entry::Line(line) => drop(out.write_all(&line)),
            Entry::Flush(done) => {
                let _ = out.flush();
                let _ = done.send(());
            }
        }
    }
}

/// tracing-subscriber writes each line with one call.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Queue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tracing::dispatcher::with_default;

    /// Somewhere to write that a test can look into.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written when `say` logs.
    fn written(format: LogFormat, filter: &str, say: impl FnOnce()) -> String {
        let page = Page::default();
        let queue = Queue::start(page.clone(), 100).expect("a thread");
        let config = LogConfig {
            format,
            filter: filter.to_owned(),
        };
        let dispatch = dispatch(format, config.parse().expect("a filter"), queue.clone(), false);
        with_default(&dispatch, say);
        drop(LogGuard { queue });
        let bytes = page.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn people_read_lines() {
        let text = written(LogFormat::Text, "info", || {
            tracing::info!(lane = 3, "ready");
            tracing::debug!("not asked for");
        });
        assert!(
            text.contains("INFO") && text.ends_with("ready lane=3\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn machines_read_json() {
        let text = written(LogFormat::Json, "info,myriad_telemetry=debug", || {
            tracing::debug!(lane = 3, "ready");
            tracing::trace!("not asked for");
        });
        let line: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
        assert_eq!(line["level"], "DEBUG");
        assert_eq!(line["message"], "ready");
        assert_eq!(line["lane"], 3);
    }

    #[test]
    fn a_bad_filter_is_named() {
        let config = LogConfig {
            format: LogFormat::Text,
            filter: "info,edge=louder".to_owned(),
        };
        let message = config.check().expect_err("no such level").to_string();
        assert!(
            message.starts_with("the log filter \"info,edge=louder\": "),
            "{message}"
        );
        LogConfig::default().check().expect("the default is good");
    }

    /// A place to write that is stuck until its sender is dropped.
    struct Stuck {
        entered: Sender<()>,
        gate: Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            let _ = self.gate.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_terminal_costs_lines_and_no_time() {
        let (entered_in, entered) = crossbeam_channel::unbounded();
        let (open, gate) = bounded(0);
        let stuck = Stuck {
            entered: entered_in,
            gate,
        };
        let mut queue = Queue::start(stuck, 2).expect("a thread");
        queue.write_all(b"1").expect("never fails");
        entered.recv().expect("it is being written");
        for line in [b"2", b"3", b"4", b"5"] {
            queue.write_all(line).expect("never fails");
        }
        let guard = LogGuard { queue };
        assert_eq!(guard.dropped(), 2);
        drop(open);
        drop(guard);
        assert_eq!(entered.iter().count(), 2, "the lines that waited were written");
    }
}
