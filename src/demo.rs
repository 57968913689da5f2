//! A whole trust space on loopback, made of two relays: `vaguemestre demo`.
//!
//! Everything is real: a private certificate authority, a signed trust list, two relays that
//! exchange letters over TCP and mutual TLS, mailboxes with OpenPGP keys. Only the people are
//! invented.
pub mod client;
mod description;
pub mod people;
pub mod pki;
mod scenario;
mod set_up;

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;

use crate::demo::description::Description;
use crate::demo::scenario::Scenario;
use crate::demo::set_up::Demo;
use crate::relay;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything lies; made when missing.
    pub data_dir: PathBuf,
    /// N: operator A listens on N+587, N+465, N+25, N+143, N+993, N+443, N+90; B 1000 higher.
    pub port_base: u16,
    /// Where the doors listen.
    pub host: IpAddr,
    /// Run the scenario, check every letter, and stop.
    pub once: bool,
    /// So many more PER mailboxes `u0@`… on A, with the password `secret`.
    pub accounts: u32,
}

/// Runs the demonstration until Ctrl-C, or with `once` until every letter was checked.
///
/// # Errors
/// When something cannot be set up, or (with `once`) a letter did not arrive or was not counted.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let demo = Demo::set_up(&options).await?;
    let outcome = run_scenario(&demo, &options).await;
    let outcome = match outcome {
        Ok(()) if !options.once => stay_open(&demo, &options).await,
        other => other,
    };
    Description::remove(&demo.folder);
    say("Stopping…");
    demo.stop().await;
    outcome
}

async fn run_scenario(demo: &Demo, options: &Options) -> anyhow::Result<()> {
    if !demo.is_new && !options.once {
        say("The letters of the first start are still there; none is sent again.");
        return Ok(());
    }
    let scenario = Scenario::send(demo).await?;
    let report = scenario.check(demo).await?;
    say(&report.text);
    if report.failures > 0 {
        anyhow::bail!("{} checks of the demonstration failed", report.failures);
    }
    Ok(())
}

async fn stay_open(demo: &Demo, options: &Options) -> anyhow::Result<()> {
    let description = Description::of(demo, options);
    description.write(&demo.folder)?;
    say(&description.table());
    relay::wait_for_signal().await
}

/// Tells the person at the terminal.
fn say(text: &str) {
    // A closed terminal is no reason to stop.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// One line of progress: what, and how it went.
async fn step<T>(what: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    {
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "  {what:<58} ");
        let _ = out.flush();
    }
    let result = work.await.with_context(|| what.to_owned());
    say(if result.is_ok() { "done" } else { "FAILED" });
    result
}
