//! Colours with a meaning, never for their own sake: without them nothing is lost.

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// Known to be good. Unknown is never this.
    Good,
    /// Known to be bad.
    Bad,
    /// Unknown, or to be looked at.
    Doubt,
    /// Of less interest.
    Faint,
    /// A heading.
    Strong,
}

/// Colours or none, and the room for a line: what is known of where a text goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
    /// None where it is no terminal: a file and a pipe take lines of any length.
    width: Option<usize>,
}

impl Paint {
    /// With colours or without.
    pub(crate) const fn new(on: bool) -> Self {
        Self { on, width: None }
    }

    /// The same on a terminal of so many columns.
    pub(crate) const fn within(self, width: Option<usize>) -> Self {
        Self { width, ..self }
    }

    /// How many columns there are, if it is a terminal.
    pub(crate) const fn width(self) -> Option<usize> {
        self.width
    }

    /// The text in a tone (SGR sequences of ECMA-48, 8.3.117).
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Doubt => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        if self.on && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
