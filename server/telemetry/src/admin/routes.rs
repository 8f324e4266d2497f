//! What each path answers.

use super::token::Token;
use super::{AdminParts, Readiness};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use std::fmt::Write;
use std::sync::Arc;

/// Gives the node's status; must not block.
pub type StatusSource = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(parts: AdminParts, token: Option<Token>) -> Router {
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/truth", get(truth))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(Arc::new(parts));
    match token {
        Some(token) => router.layer(middleware::from_fn_with_state(Arc::new(token), admit)),
        None => router,
    }
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

async fn truth(State(parts): State<Arc<AdminParts>>) -> Response {
    let Some(feed) = &parts.truth else {
        return (StatusCode::NOT_FOUND, "the truth trace is not enabled\n").into_response();
    };
    match feed.read() {
        Some(body) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "too many readers\n").into_response(),
    }
}
