//! Standard output and standard error.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use serde_json::Value;

use super::Paint;
use crate::cli::Format;
use crate::failure::Failure;

/// Where data and talk go. A value that is passed on, so that nothing prints behind a command's back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    data: Paint,
    talk: Paint,
}

impl Out {
    /// The real ones, with colours where they are terminals and NO_COLOR is not set (no-color.org).
    pub(crate) fn new() -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            data: Paint::new(wanted && io::stdout().is_terminal()).within(width(io::stdout())),
            talk: Paint::new(wanted && io::stderr().is_terminal()).within(width(io::stderr())),
        }
    }

    /// The colours of standard output.
    pub(crate) fn paint(&self) -> Paint {
        self.data
    }

    /// The colours of standard error.
    pub(crate) fn talk_paint(&self) -> Paint {
        self.talk
    }

    /// Writes data as it is.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Writes one line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.data(&format!("{text}\n"))
    }

    /// Writes one line of talk.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        let mut stderr = io::stderr().lock();
        stderr.write_all(format!("{text}\n").as_bytes())?;
        Ok(stderr.flush()?)
    }

    /// Asks, and leaves the cursor behind the question.
    pub(crate) fn ask(&self, question: &str) -> Result<String, Failure> {
        let mut stderr = io::stderr().lock();
        stderr.write_all(question.as_bytes())?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    /// Prints a value for programs, or else the text for people.
    pub(crate) fn show(
        &self,
        format: Format,
        value: impl FnOnce() -> Value,
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Failure> {
        match format {
            Format::Table => self.data(&text(self.data)),
            Format::Json => self.json(&value()),
            Format::Yaml => self.yaml(&value()),
        }
    }

    /// Prints a value as JSON.
    pub(crate) fn json(&self, value: &Value) -> Result<(), Failure> {
        // The alternate form of a value is indented JSON; it cannot fail.
        self.line(&format!("{value:#}"))
    }

    /// Prints a value as YAML.
    pub(crate) fn yaml(&self, value: &Value) -> Result<(), Failure> {
        let text = serde_saphyr::to_string(value)
            .map_err(|error| anyhow::anyhow!("cannot write YAML: {error}"))?;
        self.data(&text)
    }

    /// Prints one of many values that come one by one: a line of JSON, or a document of YAML.
    pub(crate) fn stream(
        &self,
        format: Format,
        value: impl FnOnce() -> Value,
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Failure> {
        match format {
            Format::Table => self.line(&text(self.data)),
            Format::Json => self.line(&value().to_string()),
            Format::Yaml => {
                self.data("---\n")?;
                self.yaml(&value())
            }
        }
    }
}

/// The size of the terminal that standard output or standard error is, if one of them is.
pub(crate) fn width_and_height() -> Option<(usize, usize)> {
    size(io::stdout()).or_else(|| size(io::stderr()))
}

/// The columns of the terminal that this is, if it is one.
fn width(of: impl AsFd) -> Option<usize> {
    size(of).map(|(width, _)| width)
}

fn size(of: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(of).ok()?;
    // A serial line or a script says 0 x 0.
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}
