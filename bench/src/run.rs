//! A run from its first connection to its report.

use crate::options::BotsOptions;
use crate::progress::Progress;
use crate::report::Report;
use std::sync::Arc;

/// Runs bots against a server and says what they found.
///
/// They live on threads of their own, so the caller's runtime is not measured along. Dropping the future ends
/// them.
///
/// # Errors
/// If the options make no sense, no socket can be had, or the truth trace can't be read. Clients that are lost
/// are not an error but a figure of the report.
pub async fn run(options: BotsOptions, progress: Arc<Progress>) -> anyhow::Result<Report> {
    let _ = (options, progress);
    anyhow::bail!("the bots wait for the client SDK")
}
