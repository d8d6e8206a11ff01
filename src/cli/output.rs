//! Where words go: data to stdout, messages to stderr, aligned and coloured only for people.

use std::io::{self, BufRead, IsTerminal, Write};

use appliance::api::Schema;
use serde::Serialize;

use super::failure::{Exit, Failure};

/// How this process speaks.
pub(crate) struct Output {
    /// Whether documents are printed instead of text.
    pub(crate) json: bool,
    quiet: bool,
    /// Whether stdout may be coloured.
    pub(crate) colour: bool,
}

/// What a mark at the beginning of a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Done, or well.
    Good,
    /// Worth attention.
    Look,
    /// Wrong.
    Bad,
}

impl Output {
    /// Colours only where a person reads and has not said otherwise (no-color.org).
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let plain = said("NO_COLOR").is_some() || said("TERM").is_some_and(|term| term == "dumb");
        Self {
            json,
            quiet,
            colour: !plain && io::stdout().is_terminal(),
        }
    }

    /// Prints data.
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }

    /// Prints a document on one line.
    pub(crate) fn document(&self, document: &impl Serialize) -> io::Result<()> {
        self.data(&serde_json::to_string(document)?)
    }

    /// Prints columns, aligned.
    pub(crate) fn table(&self, rows: &[Vec<String>]) -> io::Result<()> {
        self.data(&aligned(rows))
    }

    /// Tells a person what happened or what to do next.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Tells a person what went wrong.
    pub(crate) fn error(&self, text: &str) {
        // With stderr gone there is nobody left to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Says that something was deleted: in words, or as a document.
    pub(crate) fn deleted(&self, what: &str, name: &str) -> io::Result<()> {
        #[derive(Serialize)]
        struct Deleted<'a> {
            schema: Schema,
            deleted: &'a str,
        }
        if self.json {
            return self.document(&Deleted {
                schema: Schema,
                deleted: name,
            });
        }
        self.note(&format!("{} {what} {name} deleted", self.mark(Mark::Good)));
        Ok(())
    }

    /// A mark, coloured if colours are on.
    pub(crate) fn mark(&self, mark: Mark) -> String {
        let (sign, colour) = match mark {
            Mark::Good => ("✓", 32),
            Mark::Look => ("!", 33),
            Mark::Bad => ("✗", 31),
        };
        self.coloured(sign, colour)
    }

    /// Text in the colour of a mark.
    pub(crate) fn marked(&self, mark: Mark, text: &str) -> String {
        let colour = match mark {
            Mark::Good => 32,
            Mark::Look => 33,
            Mark::Bad => 31,
        };
        self.coloured(text, colour)
    }

    fn coloured(&self, text: &str, colour: u8) -> String {
        if self.colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Goes on only with a yes: given on the command line, or on the terminal.
    ///
    /// # Errors
    /// The answer is no, or nobody can be asked.
    pub(crate) fn consent(&self, yes: bool, question: &str) -> Result<(), Failure> {
        match yes.then_some(true).or_else(|| self.confirm(question)) {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Exit::Error, "nothing done")),
            None => Err(Failure::usage("this needs --yes where nobody can be asked")),
        }
    }

    /// Asks a question on the terminal; `None` if nobody is there to answer.
    fn confirm(&self, question: &str) -> Option<bool> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question} [y/N] ")
            .and_then(|()| stderr.flush())
            .ok()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// Columns as wide as their widest cell, two spaces between them, none at the end of a line.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A row of a table.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows = [row(["NAME", "OWNER"]), row(["größe", "x"]), row(["a", ""])];
        assert_eq!(aligned(&rows), "NAME   OWNER\ngröße  x\na\n");
    }
}
