//! The only place that builds things and starts tasks; graceful stop.
use std::sync::Arc;
use crate::flow::office::Office;
use crate::infra::config::Config;
/// Stub.
pub async fn serve(config: Config) -> anyhow::Result<()> { let _ = config; todo!() }
/// Stub.
pub async fn offline(config: &Config) -> anyhow::Result<Arc<Office>> { let _ = config; todo!() }
