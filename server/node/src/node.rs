//! One node from its start to its end: logs, roles, admin, and the signal to stop.

use crate::config::Config;
use crate::start;
use anyhow::{Context as _, Result};
use clap::Args;
use myriad_telemetry::logs;
use std::io::Read as _;
use std::process::ExitCode;
use tokio::runtime::Runtime;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

/// For programs that start a node: the demo, tests, supervisors.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Supervision {
    /// Print one line of JSON to standard output once the node is ready: its addresses and its fingerprint.
    #[arg(long)]
    pub(crate) announce: bool,
    /// Drain and stop when standard input closes, so that the node does not outlive what started it.
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
}

/// Runs the node until it is told to stop.
pub(crate) fn run(config: Config, supervision: &Supervision) -> Result<ExitCode> {
    let _logs = logs::init(&config.log.logs()).context("log.filter")?;
    // The lane and the gateway have threads of their own; these carry connections.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("can't start the async runtime")?;
    let told = Told::listen(&runtime, supervision.until_stdin_closes)?;
    let running = start::start(config, &runtime, &told)?;
    if supervision.announce {
        println!("{}", running.announcement());
    }
    runtime.block_on(async {
        tokio::select! {
            why = told.told() => tracing::info!("{why}"),
            () = running.failed() => tracing::error!("a role ended by itself, or this node may not go on"),
        }
    });
    tracing::info!("draining");
    let clean = runtime.block_on(running.drain());
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether somebody wants the node to stop, and who.
pub(crate) struct Told {
    why: watch::Receiver<Option<&'static str>>,
}

impl Told {
    /// Listens from now on: for signals, and where it is asked for, for the end of standard input.
    fn listen(runtime: &Runtime, stdin: bool) -> Result<Self> {
        let (tell, why) = watch::channel(None);
        let _entered = runtime.enter();
        let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
        let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
        let signalled = tell.clone();
        runtime.spawn(async move {
            let why = tokio::select! {
                _ = interrupt.recv() => "interrupted",
                _ = terminate.recv() => "told to terminate",
            };
            signalled.send_replace(Some(why));
        });
        if stdin {
            std::thread::spawn(move || {
                let mut sink = [0; 64];
                while matches!(std::io::stdin().read(&mut sink), Ok(read) if read > 0) {}
                tell.send_replace(Some("standard input closed"));
            });
        }
        Ok(Self { why })
    }

    /// Waits until the node is told to stop, and answers by what.
    pub(crate) async fn told(&self) -> &'static str {
        let mut why = self.why.clone();
        let told = why.wait_for(Option::is_some).await;
        told.ok()
            .and_then(|why| *why)
            .expect("whoever can tell waits to do so")
    }
}
