//! The administrators' command line: the same requests over a Unix socket of a running relay,
//! or on the store of a stopped one.
/// Stub.
pub async fn serve(office: std::sync::Arc<crate::flow::office::Office>, path: std::path::PathBuf, stop: crate::infra::net::Stop) { let _ = (office, path, stop); todo!() }
