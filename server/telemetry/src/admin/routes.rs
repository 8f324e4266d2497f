//! What each path answers.

use super::token::Token;
use super::{AdminParts, Readiness};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// Gives the node's status; must not block.
pub type StatusSource = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// Changes the cluster as the word behind `/cluster/` and the request's body say, and answers what came of it. May block.
pub type ChangeSink =
    Arc<dyn Fn(&str, serde_json::Value) -> Result<serde_json::Value, ChangeError> + Send + Sync>;

/// Why the cluster was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// There is no such change.
    #[error("there is no such change")]
    Unknown,
    /// The request is not what that change takes.
    #[error("{0}")]
    Malformed(String),
    /// It can't be changed so.
    #[error("{0}")]
    Refused(String),
    /// Who would decide that can't be asked.
    #[error("{0}")]
    Unavailable(String),
}

impl IntoResponse for ChangeError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// The content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(parts: AdminParts, token: Option<Token>) -> Router {
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/truth", get(truth))
        .route("/cluster/{change}", post(change))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(Arc::new(parts));
    match token {
        Some(token) => router.layer(middleware::from_fn_with_state(Arc::new(token), admit)),
        None => router.layer(middleware::from_fn(admit_local)),
    }
}

/// Stands before every path where no token is asked for: nothing is changed at the wish of a page that some browser on this
/// machine shows. Such a page can't send JSON to another origin, and its own origin, if a name of it leads here, has a name.
async fn admit_local(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if request.method() == Method::POST && !host.is_some_and(is_local_host) {
        let why = "without a token, changes are taken only at an address or at `localhost`\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

/// Whether a `Host` is an address, or `localhost`, with or without a port.
fn is_local_host(host: &str) -> bool {
    let is_local = |name: &str| {
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || address.parse::<IpAddr>().is_ok()
    };
    let without_port = host
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok());
    is_local(host) || without_port.is_some_and(|(name, _)| is_local(name))
}

/// Stands before every path, unknown ones too.
async fn admit(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if authorization.is_some_and(|value| token.admits(value.as_bytes())) {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
    }
}

async fn ready(State(parts): State<Arc<AdminParts>>) -> (StatusCode, String) {
    readiness_answer(&parts.readiness)
}

fn readiness_answer(readiness: &Readiness) -> (StatusCode, String) {
    let reasons = readiness.reasons();
    if reasons.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let mut text = String::from("not ready\n");
    for (condition, reason) in reasons {
        writeln!(text, "{condition}: {reason}").expect("writing to a String does not fail");
    }
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn metrics(State(parts): State<Arc<AdminParts>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], parts.metrics.render())
}

async fn status(State(parts): State<Arc<AdminParts>>) -> Json<serde_json::Value> {
    Json((parts.status)())
}

async fn change(
    State(parts): State<Arc<AdminParts>>,
    Path(change): Path<String>,
    Json(body): Json<serde_json::Value>,
) -> Response {
    let Some(sink) = parts.changes.clone() else {
        return ChangeError::Unknown.into_response();
    };
    match tokio::task::spawn_blocking(move || sink(&change, body)).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => error.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn truth(State(parts): State<Arc<AdminParts>>) -> Response {
    let Some(feed) = &parts.truth else {
        return (StatusCode::NOT_FOUND, "the truth trace is not enabled\n").into_response();
    };
    match feed.read() {
        Some(body) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "too many readers\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_chose_is_no_local_host() {
        for host in [
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "::1",
            "localhost",
            "localhost:1",
        ] {
            assert!(is_local_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil:80",
        ] {
            assert!(!is_local_host(host), "{host}");
        }
    }
}
