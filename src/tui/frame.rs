//! The frame around every screen:
//!
//! ```text
//!  keyleash  treasury · sepolia · 0x12…9f3A · 0.42 ETH      SANDBOX  as of 14:02 UTC
//!  (the screen)
//!  one line that says what is going on, or what just happened
//!  n new key  ↵ inspect  …  ? help  q quit
//! ```

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use crate::{
    tui::{
        format,
        keymap::{self, Place},
        message::{Asked, Notice},
        screen::{Screen, View, help, palette},
        theme::Theme,
    },
    wallet::Question,
};

/// Most lines of one notice.
const MOST_LINES: usize = 8;

/// The part of the terminal that screens draw on.
pub fn body(size: (u16, u16)) -> Rect {
    Rect { x: 0, y: 1, width: size.0, height: size.1.saturating_sub(3) }
}

/// What is to be drawn: the screen on top, and what is over it.
pub struct Shown<'a> {
    pub view: View<'a>,
    pub screen: &'a dyn Screen,
    pub places: &'a [Place],
    pub notice: Option<&'a Notice>,
    pub asked: Option<Asked>,
    pub help: Option<&'a help::State>,
    pub palette: Option<&'a palette::State>,
}

pub fn render(shown: &Shown<'_>, frame: &mut Frame<'_>) {
    let area = frame.area();
    let theme = shown.view.theme;
    let row = |y: u16| Rect { x: 0, y, width: area.width, height: 1 };
    header(shown, frame, row(0));
    let body = body((area.width, area.height));
    match shown.help {
        Some(help) => help.render(frame, body, theme),
        None => shown.screen.render(&shown.view, frame, body),
    }
    status(shown, frame, row(area.height.saturating_sub(2)));
    if let Some(palette) = shown.palette {
        palette.render(frame, body, theme);
    }
    footer(shown.places, frame, row(area.height.saturating_sub(1)), theme);
    if let Some(asked) = shown.asked {
        question(asked, frame, body, theme);
    }
}

fn header(shown: &Shown<'_>, frame: &mut Frame<'_>, area: Rect) {
    let theme = shown.view.theme;
    let heading = shown.screen.heading(&shown.view);
    let mut right = Vec::new();
    if shown.view.data.sandbox {
        right.push(Span::styled("SANDBOX", theme.banner()));
    }
    if let Some(as_of) = heading.as_of {
        right.push(Span::styled(format!("  as of {as_of}"), theme.dim()));
    }
    right.push(Span::raw(" "));
    let right = Line::from(right);
    let taken = right.width();
    let room = usize::from(area.width).saturating_sub(taken + 13);
    let left = Line::from(vec![
        Span::styled(" keyleash", theme.accent().patch(theme.head())),
        Span::raw("  "),
        Span::raw(place(&heading.place, room)),
    ]);
    frame.render_widget(left, area);
    let width = u16::try_from(taken).unwrap_or(u16::MAX).min(area.width);
    frame.render_widget(right, Rect { x: area.width - width, width, ..area });
}

/// `treasury · sepolia · 0x12a3…9F3A · 0.42 ETH`, without what there is no room for: the address goes first.
fn place(parts: &[String; 4], room: usize) -> String {
    let join = |which: &[usize]| {
        let parts: Vec<String> =
            which.iter().filter_map(|i| parts.get(*i)).filter(|p| !p.is_empty()).map(|p| format::clean(p)).collect();
        parts.join(" · ")
    };
    let tries: [&[usize]; 4] = [&[0, 1, 2, 3], &[0, 1, 3], &[0, 1], &[0]];
    let fitting = tries.iter().map(|which| join(which)).find(|text| format::width(text) <= room);
    fitting.unwrap_or_else(|| format::cut(&join(&[0]), room))
}

/// What just happened, else what is going on, else what the screen has to say.
fn status(shown: &Shown<'_>, frame: &mut Frame<'_>, area: Rect) {
    let theme = shown.view.theme;
    let (text, style) = match (shown.notice, shown.view.jobs.shown().last()) {
        (Some(notice), _) => (notice.text.clone(), if notice.bad { theme.bad() } else { theme.good() }),
        (None, Some(job)) => {
            let phase = if job.phase.is_empty() { String::new() } else { format!(": {}", job.phase) };
            let more = match shown.view.jobs.shown().count() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            (format!("{}{phase}{more}…", job.name), theme.dim())
        }
        (None, None) => shown.screen.remark(&shown.view),
    };
    let room = usize::from(area.width).saturating_sub(2);
    let text = format::clean(&text);
    let mut lines = format::wrap(&text, room);
    // What went wrong is told in full, over the end of the screen; but never over a review, which must be seen whole.
    let reviewed = shown.places.iter().any(|p| matches!(p, Place::Review | Place::Blocked | Place::Phrase));
    let most = usize::from(area.y).saturating_sub(1).min(MOST_LINES);
    if reviewed || shown.notice.is_none() || lines.len() > most {
        lines = vec![format::cut(&text, room)];
    }
    let height = u16::try_from(lines.len()).unwrap_or(1);
    let area = Rect { y: (area.y + 1).saturating_sub(height), height, ..area };
    let lines: Vec<Line<'_>> =
        lines.into_iter().map(|line| Line::from(vec![Span::raw(" "), Span::styled(line, style)])).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}

/// As many hints as fit; those of the whole program always do.
fn footer(places: &[Place], frame: &mut Frame<'_>, area: Rect, theme: Theme) {
    let (general, own): (Vec<_>, Vec<_>) = keymap::footer(places).partition(|b| b.place == Place::Program);
    let cost = |b: &keymap::Binding| format::width(b.shown) + format::width(b.what) + 3;
    let mut room = usize::from(area.width).saturating_sub(1 + general.iter().map(|b| cost(b)).sum::<usize>());
    let mut spans = vec![Span::raw(" ")];
    let fitting = own.into_iter().take_while(|b| {
        let fits = cost(b) <= room;
        room = room.saturating_sub(cost(b));
        fits
    });
    for binding in fitting.collect::<Vec<_>>().into_iter().chain(general) {
        spans.push(Span::styled(binding.shown, theme.accent()));
        spans.push(Span::styled(format!(" {}  ", binding.what), theme.dim()));
    }
    frame.render_widget(Line::from(spans), area);
}

/// A passphrase question over the screen. What is typed is shown as dots.
fn question(asked: Asked, frame: &mut Frame<'_>, body: Rect, theme: Theme) {
    let text = match asked.question {
        Question::Unlock => "Passphrase of the vault",
        Question::UnlockAgain => "Wrong passphrase. Passphrase of the vault",
        Question::Choose => "Choose a passphrase for the vault (it cannot be recovered)",
        Question::Repeat => "Repeat the passphrase",
        Question::Import => "Passphrase of the keystore",
    };
    let inner = usize::from(body.width).saturating_sub(4);
    let mut lines: Vec<Line<'_>> =
        format::wrap(text, inner).into_iter().map(|l| Line::styled(l, theme.head())).collect();
    let dots = asked.typed.min(inner.saturating_sub(3));
    let row = lines.len();
    lines.push(Line::raw(format!("> {}", "•".repeat(dots))));
    lines.push(Line::styled("↵ continue   Esc cancel", theme.dim()));
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(body.height);
    // At the bottom: what the passphrase is wanted for stays in sight.
    let area = Rect { y: body.bottom() - height, height, ..body };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().border_style(theme.accent())), area);
    let x = area.x.saturating_add(3).saturating_add(u16::try_from(dots).unwrap_or(0));
    let y = area.y.saturating_add(1).saturating_add(u16::try_from(row).unwrap_or(0));
    if x < area.right() && y < area.bottom() {
        frame.set_cursor_position((x, y));
    }
}
