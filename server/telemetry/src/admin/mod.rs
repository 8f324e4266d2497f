//! Admin HTTP, for operators and their machines: on loopback unless a token guards it.
//!
//! | path | answers |
//! |---|---|
//! | `/health` | 200 while the process lives |
//! | `/ready` | 200 if clients may come; else 503 and one line per reason |
//! | `/metrics` | Prometheus' text format |
//! | `/status` | what the node says of itself, as JSON |
//! | `/truth` | the truth trace, if enabled by name; else 404 |
//! | POST `/cluster/CHANGE` | 200 if the cluster changes as the JSON in the body says; 409 with the reason if it can't |
//!
//! With a token file every request must bring `Authorization: Bearer TOKEN`, or it is answered with 401.
//! Nothing but the last changes anything. `routes.rs` has the answers, `listener.rs` the
//! bounds on connections, `truth.rs` the trace.

mod listener;
mod readiness;
mod routes;
mod token;
mod truth;

pub use readiness::Readiness;
pub use routes::{ChangeError, ChangeSink, StatusSource};
pub use truth::TruthFeed;

use crate::Metrics;
use listener::BoundedListener;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use token::Token;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Between two upkeeps of the metrics.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);
/// How long requests that are being answered may take at shutdown.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);

/// Where the admin HTTP listens, and who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where to listen. Default: `127.0.0.1:8080`. Anything but loopback needs a token file. Port 0 takes any.
    pub listen: SocketAddr,
    /// A file with the token that requests must bring: one line of 16 to 256 visible ASCII characters. Default:
    /// none, and then nobody is asked for one.
    pub token_file: Option<PathBuf>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token_file: None,
        }
    }
}

impl AdminConfig {
    /// Whether a server would start with this: for reporting all mistakes of a config before a port is bound.
    ///
    /// # Errors
    /// [`AdminError::Exposed`] or [`AdminError::Token`].
    pub fn check(&self) -> Result<(), AdminError> {
        self.token().map(|_| ())
    }

    fn token(&self) -> Result<Option<Token>, AdminError> {
        match &self.token_file {
            Some(path) => Token::read(path).map(Some),
            None if self.listen.ip().to_canonical().is_loopback() => Ok(None),
            None => Err(AdminError::Exposed(self.listen)),
        }
    }
}

/// Why the admin HTTP did not start.
#[derive(Debug, Error)]
pub enum AdminError {
    /// Others could ask without a token.
    #[error(
        "the admin HTTP on {0} could be reached by other machines without a token: set admin.token_file, or \
         listen on a loopback address"
    )]
    Exposed(SocketAddr),
    /// The token file can't be used.
    #[error("the admin token file {}: {detail}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The port can't be had.
    #[error("the admin HTTP can't listen on {listen}: {source}")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

/// What the admin HTTP shows.
pub struct AdminParts {
    /// For `/metrics`. The server does the metrics' upkeep as long as it runs.
    pub metrics: Metrics,
    /// For `/ready`.
    pub readiness: Readiness,
    /// For `/status`: called for each request; must not block.
    pub status: StatusSource,
    /// For `/cluster/CHANGE`, where there is a cluster to change.
    pub changes: Option<ChangeSink>,
    /// For `/truth`, if that is enabled.
    pub truth: Option<TruthFeed>,
}

impl std::fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminParts")
            .field("readiness", &self.readiness)
            .field("truth", &self.truth)
            .finish_non_exhaustive()
    }
}

/// A running admin HTTP.
#[derive(Debug)]
pub struct AdminServer {
    local_addr: SocketAddr,
    truth: Option<TruthFeed>,
    /// Dropped to say that the end has come.
    open: watch::Sender<()>,
    server: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

impl AdminServer {
    /// Binds the port and starts to answer, on the runtime that this is called on.
    ///
    /// # Errors
    /// If the config would let strangers in, the token file can't be used, or the port can't be had.
    pub async fn start(config: &AdminConfig, parts: AdminParts) -> Result<Self, AdminError> {
        let token = config.token()?;
        let failed = |source| AdminError::Listen {
            listen: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let (open, closing) = watch::channel(());
        let upkeep = tokio::spawn(keep_up(parts.metrics.clone()));
        let truth = parts.truth.clone();
        let serve = axum::serve(BoundedListener::new(listener), routes::router(parts, token))
            .with_graceful_shutdown(closed(closing));
        let server = tokio::spawn(async move {
            serve.await.expect("axum's accept loop answers errors itself");
        });
        Ok(Self {
            local_addr,
            truth,
            open,
            server,
            upkeep,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes no more requests, ends the truth traces and waits, at most three seconds, for the answers under way.
    pub async fn shutdown(mut self) {
        drop(self.open);
        if let Some(truth) = &self.truth {
            truth.close();
        }
        if tokio::time::timeout(SHUTDOWN_WAIT, &mut self.server)
            .await
            .is_err()
        {
            tracing::warn!("admin requests were still being answered at shutdown");
            self.server.abort();
        }
        self.upkeep.abort();
    }
}

async fn closed(mut closing: watch::Receiver<()>) {
    // No value is ever sent: this returns when the sender is dropped.
    while closing.changed().await.is_ok() {}
}

async fn keep_up(metrics: Metrics) {
    let mut period = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        period.tick().await;
        metrics.upkeep();
    }
}
