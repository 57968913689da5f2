//! `vaguemestre keys …`: what opens what.
mod certificates; // certificates of OpenPGP
mod master; // the operator's master key

use clap::Subcommand;

use crate::cli::commands::Failure;

/// The groups.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// The operator's master key: its versions, a new one, everything wrapped anew.
    #[command(subcommand)]
    Master(master::Master),
    #[command(flatten)]
    Certificates(certificates::Certificates),
}

/// Does it.
pub(super) async fn run(command: Keys) -> Result<(), Failure> {
    match command {
        Keys::Master(command) => master::run(command).await,
        Keys::Certificates(command) => certificates::run(command).await,
    }
}
