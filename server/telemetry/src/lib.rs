//! Metrics, logs and admin HTTP.
