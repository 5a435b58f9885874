//! What is printed: one JSON envelope on standard output with `--json`, else plain text; everything else goes to standard error.

use std::io::{self, IsTerminal, Write};

use alloy::primitives::Address;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    text::is_unsafe,
    wallet::{
        error::{Error, Result},
        records::notices::Notices,
    },
};

/// Where a command writes.
pub struct Output {
    json: bool,
    verbose: bool,
    warnings: Vec<Value>,
    /// With `--json`: what a person must read before anything is asked.
    unread: Vec<String>,
    /// Remarks of the opened profile; shown with the result.
    notices: Notices,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json, verbose: false, warnings: Vec::new(), unread: Vec::new(), notices: Notices::default() }
    }

    pub fn listen(&mut self, notices: Notices) {
        self.notices = notices;
        self.hear();
    }

    /// A node that is read besides those of the profile.
    pub fn asks(&self, origin: &str) {
        self.notices.asks(origin);
    }

    /// Shows the remarks that have come up since.
    fn hear(&mut self) {
        for remark in self.notices.take() {
            self.warn(remark.code, &remark.message);
        }
    }

    #[must_use]
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// For `--verbose` only.
    pub fn detail(&self, text: impl FnOnce() -> Result<String>) -> Result<()> {
        if self.verbose {
            self.say(&text()?);
        }
        Ok(())
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A remark that does not stop the command.
    pub fn warn(&mut self, code: &str, message: &str) {
        self.review(&format!("warning: {message}"));
        self.warnings.push(json!({ "code": code, "message": message }));
    }

    /// What is about to be done, as a person reads it. With `--json` nobody does, unless something is asked: see [`confirm`].
    ///
    /// [`confirm`]: Self::confirm
    pub fn review(&mut self, text: &str) {
        if self.json {
            self.unread.push(text.to_owned());
        } else {
            self.say(text);
        }
    }

    /// Asks before something is done; without a terminal, `--yes` is the only answer. Whoever is asked has seen what it is about
    /// first, also with `--json`.
    pub fn confirm(&mut self, question: &str, yes: bool) -> Result<()> {
        if yes {
            return Ok(());
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Error::usage(
                "confirm.needed",
                "this needs a confirmation, and there is no terminal to ask on",
            )
            .hint("pass --yes to confirm"));
        }
        for text in std::mem::take(&mut self.unread) {
            self.say(&text);
        }
        ask(question)
    }

    /// For a person; on standard error, so that output can be piped.
    pub fn say(&self, text: &str) {
        // Nobody reads a closed standard error.
        let _ = writeln!(io::stderr().lock(), "{}", safe(text));
    }

    /// The result: `data` for scripts, `text` for people.
    pub fn done(mut self, data: &impl Serialize, text: &str) -> Result<()> {
        self.hear();
        if !self.json {
            let nodes = self.notices.nodes();
            print(text)?;
            if !nodes.is_empty() {
                self.say(&format!("(according to {})", nodes.join(", ")));
            }
            return Ok(());
        }
        self.envelope(true, to_json(data)?, &[])
    }

    /// The failure, with what is known already in `data`.
    pub fn failed(mut self, error: &Error, data: Value) {
        self.hear();
        if self.json {
            let error = json!({ "code": error.code, "message": error.message, "hint": error.hint });
            let _ = self.envelope(false, data, &[error]);
        } else {
            self.say(&format!("error: {}", error.message));
            if !error.hint.is_empty() {
                self.say(&format!("  → {}", error.hint));
            }
        }
    }

    fn envelope(self, success: bool, mut data: Value, errors: &[Value]) -> Result<()> {
        checksum(&mut data);
        let envelope = json!({
            "schema_version": 1, "success": success, "data": data, "errors": errors, "warnings": self.warnings,
            "nodes": self.notices.nodes(),
        });
        write_out(&escaped(&envelope.to_string()))
    }
}

/// A result, or a part of one, for scripts.
pub fn to_json(value: impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| not_json(&e))
}

/// The same as the text of a file that a person may open.
pub fn to_pretty_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| not_json(&e))
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::failed("output.json", format!("the result could not be written as JSON: {error}"))
}

/// Plain text as it may reach a terminal: whatever could move the cursor, hide text or turn its direction becomes a space.
fn safe(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

/// The same for JSON, without a loss: such characters stand only inside strings, where they can be escaped.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes every address (20 bytes as hex) in its EIP-55 form.
fn checksum(value: &mut Value) {
    match value {
        Value::String(text) if text.len() == 42 => {
            if let Ok(address) = text.parse::<Address>() {
                *text = address.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(checksum),
        Value::Object(fields) => fields.values_mut().for_each(checksum),
        _ => {}
    }
}

/// Text for people on standard output.
pub fn print(text: &str) -> Result<()> {
    write_out(&safe(text))
}

/// Standard output; a reader that has gone away is no failure.
fn write_out(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Error::failed("output.io", format!("standard output cannot be written: {e}"))),
        Ok(()) => Ok(()),
    }
}

fn ask(question: &str) -> Result<()> {
    let mut err = io::stderr().lock();
    let asked = write!(err, "{} [y/N] ", safe(question)).and_then(|()| err.flush());
    let mut answer = String::new();
    asked
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(|e| Error::failed("confirm.io", format!("the answer could not be read: {e}")))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Error::failed("confirm.no", "not confirmed; nothing was done"))
    }
}

/// Rows under headings, columns aligned.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(headings.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}
