//! One node from its start to its end: logs, roles, admin, and the signal to stop.

use crate::config::Config;
use crate::start::{self, Running};
use anyhow::{Context as _, Result};
use clap::Args;
use myriad_telemetry::logs;
use std::io::Read as _;
use std::process::ExitCode;

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
    let running = start::start(config, &runtime)?;
    if supervision.announce {
        println!("{}", running.announcement());
    }
    runtime.block_on(until_told_to_stop(&running, supervision.until_stdin_closes))?;
    tracing::info!("draining");
    let clean = runtime.block_on(running.drain());
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn until_told_to_stop(running: &Running, stdin: bool) -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stdin_closed = async {
        if !stdin {
            return std::future::pending().await;
        }
        let (closed, wait) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let mut sink = [0; 64];
            while matches!(std::io::stdin().read(&mut sink), Ok(read) if read > 0) {}
            drop(closed);
        });
        let _ = wait.await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted"),
        _ = terminate.recv() => tracing::info!("told to terminate"),
        () = stdin_closed => tracing::info!("standard input closed"),
        () = running.failed() => tracing::error!("a role ended by itself"),
    }
    Ok(())
}
