//! Set-up of tracing: pretty for people, JSON for programs. Never a subject, body, INS or secret.
//!
//! Two things keep secrets out that no call site could forget: libraries are never louder than
//! `warn`, because some write whole messages at `debug`; and a panic is logged with its place and
//! never with a text that was made at run time, because that text could quote data.
mod writer; // lines to standard error, without ever holding the relay up

use std::io;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use writer::LineWriter;

/// Refines the level for one run, e.g. `debug` or `vaguemestre::flow=debug,vaguemestre=warn`.
pub const VARIABLE: &str = "VAGUEMESTRE_LOG";
/// Our own lines begin with this target; all others are a library's.
const OURS: &str = "vaguemestre";

/// For whom lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line of text each, coloured on a terminal.
    Pretty,
    /// One JSON object each.
    Json,
}

/// Writes what is still waiting when dropped. Hold it until the program ends.
#[must_use = "lines are lost when this is dropped early"]
pub struct LogGuard(#[allow(dead_code, reason = "held for its drop")] writer::WriterGuard);

/// Sends the process's logs from `level` (`error`, `warn`, `info`, `debug`) upwards to standard
/// error, and panics to the log. A second call changes nothing: the first one of a process decides.
pub fn install(format: Format, level: &str) -> LogGuard {
    let (lines, guard) = LineWriter::start(io::stderr());
    let refinement = std::env::var(VARIABLE).unwrap_or_default();
    let (levels, refused) = levels(level, &refinement);
    let colours = format == Format::Pretty && io::stderr().is_terminal();
    let subscriber = tracing_subscriber::registry().with(layer(format, colours, levels, lines));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(panicked));
        for directive in refused {
            tracing::warn!(
                directive,
                "{VARIABLE} can only refine {OURS}: libraries may write mail into their logs"
            );
        }
    }
    LogGuard(guard)
}

fn layer<S, W>(
    format: Format,
    colours: bool,
    levels: Targets,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    if format == Format::Json {
        layer.json().flatten_event(true).with_span_list(false).with_filter(levels).boxed()
    } else {
        layer.with_filter(levels).boxed()
    }
}

/// What is written, and the directives of `refinement` that were refused.
fn levels(level: &str, refinement: &str) -> (Targets, Vec<String>) {
    let configured = level.parse().unwrap_or(LevelFilter::INFO);
    let mut targets = Targets::new().with_default(LevelFilter::WARN).with_target(OURS, configured);
    let mut refused = Vec::new();
    for directive in refinement.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let (target, level) = directive.split_once('=').unwrap_or((OURS, directive));
        let ours = target == OURS || target.starts_with("vaguemestre::");
        match level.parse::<LevelFilter>() {
            Ok(level) if ours => targets = targets.with_target(target, level),
            _ => refused.push(directive.to_owned()),
        }
    }
    (targets, refused)
}

/// One task is over, the relay goes on. The text is shown only when it stands in the source.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = panic.payload().downcast_ref::<&'static str>().copied();
    let thread = std::thread::current();
    tracing::error!(
        target: "vaguemestre::panic",
        place,
        thread = thread.name().unwrap_or_default(),
        text = text.unwrap_or("(made at run time; not shown, it may hold data)"),
        "a task failed by a fault of ours"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, level: &str, refinement: &str, speak: impl FnOnce()) -> String {
        let paper = Paper::default();
        let copy = paper.clone();
        let levels = levels(level, refinement).0;
        let layer = layer(format, false, levels, move || copy.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, speak);
        let octets = paper.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    fn speak() {
        tracing::info!(target: "vaguemestre::flow", "ours at info");
        tracing::debug!(target: "vaguemestre::flow", "ours at debug");
        tracing::debug!(target: "vaguemestre::server", "another room at debug");
        tracing::warn!(target: "hyper", "theirs at warn");
        tracing::info!(target: "hyper", "theirs at info");
    }

    #[test]
    fn libraries_are_never_louder_than_warn() {
        let text = written(Format::Pretty, "debug", "hyper=trace,trace", speak);
        assert!(text.contains("ours at debug") && text.contains("theirs at warn"), "{text}");
        assert!(!text.contains("theirs at info"), "{text}");
        assert_eq!(levels("info", "hyper=trace, debug, x").1, ["hyper=trace", "x"]);
    }

    #[test]
    fn a_variable_refines_one_room() {
        let text = written(Format::Pretty, "info", "vaguemestre::flow=debug", speak);
        assert!(text.contains("ours at debug"), "{text}");
        assert!(!text.contains("another room"), "{text}");
    }

    #[test]
    fn a_json_line_is_an_object_with_its_span() {
        let text = written(Format::Json, "info", "", || {
            let span = tracing::info_span!(target: "vaguemestre::flow", "letter", id = "0192");
            let _inside = span.enter();
            tracing::info!(target: "vaguemestre::flow", door = "mx", "accepted");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "accepted");
        assert_eq!(line["door"], "mx");
        assert_eq!(line["span"]["id"], "0192");
    }
}
