//! `vaguemestre trust explain`: why somebody was let in or refused at the operators' door.
use clap::Args;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::server::control;
use crate::server::control::explain;
use crate::server::control::explain::Explained;
use crate::server::control::wire::Response;

/// What is typed behind `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A session (as replies and log lines name it), the id behind "Queued as", or a Message-ID.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Explain) -> Result<(), Failure> {
    let Explain { id, config, format } = command;
    let request = control::Request::Explain(explain::Request::Why { id });
    match commands::reach_with(&config, request).await? {
        Response::Explain(explain::Answer::Decisions(decisions)) if format.json => {
            output::print_json(&decisions)?;
        }
        Response::Explain(explain::Answer::Decisions(decisions)) => {
            let paragraphs: Vec<String> = decisions.iter().map(paragraph).collect();
            output::print_line(&paragraphs.join("\n\n"))?;
        }
        other => commands::unexpected(&other)?,
    }
    Ok(())
}

fn paragraph(decision: &Explained) -> String {
    let told = wrapped(&decision.told, "");
    let answered = match &decision.reply {
        Some(reply) => format!("\n  Answer:     {reply}"),
        None => String::new(),
    };
    format!("{told}{answered}\n  What to do: {}", wrapped(&decision.next, "              "))
}

/// Lines of a terminal, broken between words.
fn wrapped(text: &str, indent: &str) -> String {
    const WIDTH: usize = 98;
    let mut lines = String::new();
    let mut width = indent.chars().count();
    for word in text.split_whitespace() {
        let long = word.chars().count();
        if !lines.is_empty() && width + 1 + long > WIDTH {
            lines.push('\n');
            lines.push_str(indent);
            width = indent.chars().count();
        } else if !lines.is_empty() {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += long;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_broken_between_words_and_loses_none() {
        let text = "word ".repeat(60);
        let wrapped = wrapped(&text, "  ");
        assert!(wrapped.lines().all(|line| line.chars().count() <= 98), "{wrapped}");
        assert_eq!(wrapped.split_whitespace().count(), 60);
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("  word")), "{wrapped}");
    }
}
