//! Tables for people, JSON for programs. The only writer to standard output.
use std::io;
use std::io::Write;

use serde::Serialize;

/// Rows under a heading, in columns as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    heading: Vec<&'static str>,
    to_the_right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. A column whose name begins with `>` holds numbers and is set to the right.
    pub fn new(heading: &[&'static str]) -> Self {
        Self {
            heading: heading.iter().map(|name| name.trim_start_matches('>')).collect(),
            to_the_right: heading.iter().map(|name| name.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> &mut Self {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.heading.len(), String::new());
        self.rows.push(cells);
        self
    }

    /// The text, with a line feed after each row and no spaces at the end of a line.
    pub fn text(&self) -> String {
        let heading: Vec<String> = self.heading.iter().map(ToString::to_string).collect();
        let all = || std::iter::once(&heading).chain(&self.rows);
        let width = |column: usize| all().map(|row| cell(&row[column]).chars().count()).max();
        let widths: Vec<usize> =
            (0..self.heading.len()).map(|column| width(column).unwrap_or(0)).collect();
        all().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, text) in row.iter().enumerate() {
            let text = cell(text);
            let gap = " ".repeat(widths[column] - text.chars().count());
            let (before, after) =
                if self.to_the_right[column] { (gap, String::new()) } else { (String::new(), gap) };
            line.push_str(&format!("{before}{text}{after}  "));
        }
        format!("{}\n", line.trim_end())
    }
}

/// A cell is one line: what other people wrote could move the cursor otherwise.
fn cell(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Prints a table, or a sentence when it has no rows.
pub fn print_table(table: &Table, when_empty: &str) -> io::Result<()> {
    if table.rows.is_empty() { print_line(when_empty) } else { print(&table.text()) }
}

/// Prints JSON, indented.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print_line(&serde_json::to_string_pretty(value)?)
}

/// Prints a line.
pub fn print_line(text: &str) -> io::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a text as it is and flushes. A reader that went away (`| head`) is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Tells a person something that is not the result: questions, errors, hints.
pub fn tell(text: &str) {
    // Where standard error is closed nobody wanted to hear it.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["Day", ">Count", "Why"]);
        table.row(["2026-11-22", "7", "é"]).row(["2026-11-23", "1200", ""]);
        assert_eq!(
            table.text(),
            "Day         Count  Why\n2026-11-22      7  é\n2026-11-23   1200\n"
        );
    }

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        let mut table = Table::new(&["Reply"]);
        table.row(["250 ok\r\n\u{1b}[2Jgone"]);
        assert_eq!(table.text(), "Reply\n250 ok   [2Jgone\n");
    }
}
