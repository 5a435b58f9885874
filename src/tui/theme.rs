//! One accent, dim for what is secondary, bold for headings: the 16 ANSI colours and modifiers on the terminal's own background.
//!
//! Without colour every style keeps `Color::Reset`: with `NO_COLOR` set, crossterm would write a reset after attributes and
//! the selection would vanish (crossterm 0.29, seen in the bytes of tests/pty.rs).

use ratatui::style::{Color, Modifier, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    pub colour: bool,
}

impl Theme {
    /// `NO_COLOR` (any non-empty value) and `TERM=dumb` mean no colour, unless the command line said one or the other.
    pub fn from_environment(wanted: Option<bool>) -> Self {
        let says_no = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self { colour: wanted.unwrap_or(!says_no) && !says_no }
    }

    fn ink(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub const fn plain(self) -> Style {
        Style::new()
    }

    pub fn head(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub fn accent(self) -> Style {
        self.ink(Color::Cyan)
    }

    pub fn good(self) -> Style {
        self.ink(Color::Green)
    }

    pub fn caution(self) -> Style {
        self.ink(Color::Yellow)
    }

    pub fn bad(self) -> Style {
        self.ink(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Selected, but the keys go elsewhere.
    pub fn selected_elsewhere(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn border(self, focused: bool) -> Style {
        if focused { self.accent() } else { self.dim() }
    }

    pub fn banner(self) -> Style {
        self.ink(Color::Magenta).add_modifier(Modifier::BOLD)
    }
}
