//! The program: one TLS provider, arguments, a runtime, and off to the command.
use std::process::ExitCode;

use clap::Parser;
use vaguemestre::cli;
use vaguemestre::cli::Arguments;
use vaguemestre::cli::Outcome;

/// glibc keeps the 19 MiB of each password hash, and each letter, in the arena of the thread that
/// asked for it: hundreds of megabytes that this one gives back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all, so that no library picks another provider. An `Err` means one is in place.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::output::tell(&format!("vaguemestre: no runtime: {error}"));
            return Outcome::Failed.into();
        }
    };
    runtime.block_on(cli::run(arguments)).into()
}
