//! The pages: citizen inbox, administrators' dashboard, metrics.
use std::sync::Arc;
use tokio::net::TcpListener;
use crate::flow::office::Office;
use crate::infra::net::Stop;

/// Serves the pages over HTTPS until the relay stops.
pub async fn serve(office: Arc<Office>, listener: TcpListener, stop: Stop) { let _ = (office, listener, stop); todo!() }
/// Serves `GET /metrics` (and `/healthz`) in plain HTTP until the relay stops.
pub async fn serve_metrics(office: Arc<Office>, listener: TcpListener, stop: Stop) { let _ = (office, listener, stop); todo!() }
