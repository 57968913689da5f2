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
mod tour;

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
    /// N: operator A listens on N+587, N+465, N+25, N+143, N+993, N+443, N+4190, N+90; B 1000 higher.
    pub port_base: u16,
    /// Where the doors listen.
    pub host: IpAddr,
    /// Run the scenario, check every letter, and stop.
    pub once: bool,
    /// So many more PER mailboxes `u0@`… on A, with the password `secret`.
    pub accounts: u32,
}

/// Runs the demonstration until Ctrl-C, or with `once` until every letter was checked. Ctrl-C
/// at any earlier moment stops what runs already.
///
/// # Errors
/// When something cannot be set up, or (with `once`) a letter did not arrive or was not counted.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut running = None;
    let outcome = tokio::select! {
        outcome = play(&mut running, &options) => outcome,
        signal = relay::wait_for_signal() => signal.and_then(|()| interrupted(&options)),
    };
    if let Some(demo) = running {
        Description::remove(&demo.folder);
        say("Stopping…");
        demo.stop().await;
    }
    outcome
}

/// Sets up, sends, checks; then waits for ever unless `once` is wanted.
async fn play(running: &mut Option<Demo>, options: &Options) -> anyhow::Result<()> {
    let demo = running.insert(Demo::set_up(options).await?);
    demo.open(options).await?;
    run_scenario(demo, options).await?;
    if !options.once {
        stay_open(demo, options)?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Ctrl-C is how a demonstration ends; one that was to prove something has not done so.
fn interrupted(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(!options.once, "interrupted before every letter was checked");
    Ok(())
}

async fn run_scenario(demo: &Demo, options: &Options) -> anyhow::Result<()> {
    if demo.has_played() && !options.once {
        say("The letters of the first start are still there; none is sent again.");
        return Ok(());
    }
    let scenario = Scenario::send(demo).await?;
    let report = scenario.check(demo).await?;
    say(&report.text);
    if report.failures > 0 {
        anyhow::bail!("{} checks of the demonstration failed", report.failures);
    }
    tour::walk(demo).await?;
    demo.mark_played()
}

fn stay_open(demo: &Demo, options: &Options) -> anyhow::Result<()> {
    let description = Description::of(demo, options);
    description.write(&demo.folder)?;
    say(&description.table());
    Ok(())
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
