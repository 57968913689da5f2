//! A whole trust space on loopback, made of two relays.
use std::net::IpAddr;
use std::path::PathBuf;
/// Stub.
pub struct Options {
    /// Stub.
    pub data_dir: PathBuf,
    /// Stub.
    pub port_base: u16,
    /// Stub.
    pub host: IpAddr,
    /// Stub.
    pub once: bool,
    /// Stub.
    pub accounts: u32,
}
/// Stub.
pub async fn run(options: Options) -> anyhow::Result<()> { let _ = (options.data_dir, options.port_base, options.host, options.once, options.accounts); todo!() }
