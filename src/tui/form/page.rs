//! A form on one page: lines that are filled in, each with one hint or error beneath it.
//!
//! A line has cells: texts that scroll, choices of a few answers. Longer lists open in place, and buttons go on. What the
//! lines mean is the screen's business: it names them by a key of its own, gives each answer a value, and checks a line when
//! it is left. What an answer says is for people only: nothing is decided by its words or its place.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::Field;
use crate::tui::{
    format,
    keymap::{Command, Place},
    theme::Theme,
    widget::sheet::{self, Scroll},
};

/// Rows of an open list that are shown at once.
const LIST: usize = 7;
/// Widest column for the names of lines.
const WIDEST_LABEL: usize = 22;

/// One of a few answers: what each says, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<V> {
    options: Vec<(String, V)>,
    at: usize,
}

impl<V> Default for Choice<V> {
    fn default() -> Self {
        Self { options: Vec::new(), at: 0 }
    }
}

impl<V> Choice<V> {
    pub fn new<S: Into<String>>(options: impl IntoIterator<Item = (S, V)>) -> Self {
        Self { options: options.into_iter().map(|(words, value)| (words.into(), value)).collect(), at: 0 }
    }

    pub fn text(&self) -> &str {
        self.options.get(self.at).map_or("", |(words, _)| words)
    }

    pub fn value(&self) -> Option<&V> {
        self.options.get(self.at).map(|(_, value)| value)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.options.iter().map(|(_, value)| value)
    }

    pub fn choose(&mut self, wanted: &V)
    where
        V: PartialEq,
    {
        let place = self.options.iter().position(|(_, value)| value == wanted);
        self.at = place.unwrap_or(self.at);
    }

    fn turn(&mut self, forward: bool) {
        let count = self.options.len().max(1);
        self.at = (self.at + if forward { 1 } else { count - 1 }) % count;
    }
}

/// What can be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<V> {
    Text {
        field: Field,
        /// What an empty field says about what belongs there.
        example: String,
        /// Columns it takes; 0 = what is left.
        room: usize,
    },
    Choice(Choice<V>),
}

impl<V> Cell<V> {
    pub fn text(text: &str, example: &str) -> Self {
        Self::Text { field: Field::new(text), example: example.to_owned(), room: 0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control<V> {
    Cells(Vec<Cell<V>>),
    /// Many answers, one a line.
    List(Choice<V>),
    Button,
}

impl<V> Control<V> {
    /// The first choice, or the list.
    pub fn choice(&self) -> Option<&Choice<V>> {
        match self {
            Self::List(choice) => Some(choice),
            Self::Cells(cells) => cells.iter().find_map(|c| match c {
                Cell::Choice(choice) => Some(choice),
                Cell::Text { .. } => None,
            }),
            Self::Button => None,
        }
    }

    fn choice_mut(&mut self) -> Option<&mut Choice<V>> {
        match self {
            Self::List(choice) => Some(choice),
            Self::Cells(cells) => cells.iter_mut().find_map(|c| match c {
                Cell::Choice(choice) => Some(choice),
                Cell::Text { .. } => None,
            }),
            Self::Button => None,
        }
    }

    const fn is_button(&self) -> bool {
        matches!(self, Self::Button)
    }
}

/// One line of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<K, V> {
    pub key: K,
    pub label: String,
    pub control: Control<V>,
    pub hint: String,
    /// What is wrong with it; shown instead of the hint until it is edited.
    pub wrong: Option<String>,
    /// Not asked now, with what was typed kept.
    pub hidden: bool,
    /// How many of its cells are asked; the others keep what was typed.
    pub open: usize,
}

impl<K, V> Row<K, V> {
    pub fn new(key: K, label: &str, control: Control<V>, hint: &str) -> Self {
        let open = usize::MAX;
        Self { key, label: label.to_owned(), control, hint: hint.to_owned(), wrong: None, hidden: false, open }
    }

    pub fn text(key: K, label: &str, text: &str, example: &str, hint: &str) -> Self {
        Self::new(key, label, Control::Cells(vec![Cell::text(text, example)]), hint)
    }

    /// The first of the options is chosen, unless [`Row::chosen`] says another.
    pub fn choice<S: Into<String>>(key: K, label: &str, options: impl IntoIterator<Item = (S, V)>, hint: &str) -> Self {
        Self::new(key, label, Control::Cells(vec![Cell::Choice(Choice::new(options))]), hint)
    }

    pub fn chosen(mut self, value: &V) -> Self
    where
        V: PartialEq,
    {
        if let Some(choice) = self.control.choice_mut() {
            choice.choose(value);
        }
        self
    }

    pub fn button(key: K, label: &str) -> Self {
        Self::new(key, label, Control::Button, "")
    }

    /// Replaces what an empty field says.
    pub fn example(&mut self, text: &str) {
        if let Control::Cells(cells) = &mut self.control {
            for cell in cells {
                if let Cell::Text { example, .. } = cell {
                    text.clone_into(example);
                }
            }
        }
    }

    fn cells(&self) -> usize {
        match &self.control {
            Control::Cells(cells) => cells.len().min(self.open),
            Control::List(_) | Control::Button => 1,
        }
    }
}

/// What a key did to the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormEvent<K> {
    Nothing,
    /// The focus went on from this line.
    Left(K),
    /// A choice of this line was changed.
    Turned(K),
    Pressed(K),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form<K, V = ()> {
    pub rows: Vec<Row<K, V>>,
    row: usize,
    cell: usize,
}

impl<K: Copy + PartialEq, V: PartialEq> Form<K, V> {
    pub const fn new(rows: Vec<Row<K, V>>) -> Self {
        Self { rows, row: 0, cell: 0 }
    }

    /// The line that the keys go to.
    pub fn focus(&self) -> Option<K> {
        self.rows.get(self.row).map(|r| r.key)
    }

    pub fn focus_on(&mut self, key: K) {
        if let Some(row) = self.rows.iter().position(|r| r.key == key && !r.hidden) {
            (self.row, self.cell) = (row, 0);
        }
    }

    /// To the first line that is shown.
    pub fn focus_first(&mut self) {
        self.row = self.rows.iter().position(|r| !r.hidden).unwrap_or(0);
        self.cell = 0;
    }

    pub fn get(&self, key: K) -> Option<&Row<K, V>> {
        self.rows.iter().find(|r| r.key == key)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut Row<K, V>> {
        self.rows.iter_mut().find(|r| r.key == key)
    }

    /// The first text of a line, trimmed.
    pub fn text(&self, key: K) -> String {
        self.texts(key).into_iter().next().unwrap_or_default()
    }

    /// Every text of a line, trimmed.
    pub fn texts(&self, key: K) -> Vec<String> {
        let Some(Control::Cells(cells)) = self.get(key).map(|r| &r.control) else { return Vec::new() };
        let texts = cells.iter().filter_map(|c| match c {
            Cell::Text { field, .. } => Some(field.text().trim().to_owned()),
            Cell::Choice(_) => None,
        });
        texts.collect()
    }

    /// Replaces the first text of a line.
    pub fn fill(&mut self, key: K, text: &str) {
        let Some(Control::Cells(cells)) = self.get_mut(key).map(|r| &mut r.control) else { return };
        if let Some(Cell::Text { field, .. }) = cells.iter_mut().find(|c| matches!(c, Cell::Text { .. })) {
            *field = Field::new(text);
        }
    }

    /// Chooses the answer that means this, where it is offered.
    pub fn choose(&mut self, key: K, value: &V) {
        if let Some(choice) = self.get_mut(key).and_then(|r| r.control.choice_mut()) {
            choice.choose(value);
        }
    }

    /// Offers these answers. Where they mean the same as those before, what was chosen stays.
    pub fn offer<S: Into<String>>(&mut self, key: K, options: impl IntoIterator<Item = (S, V)>) {
        let Some(choice) = self.get_mut(key).and_then(|r| r.control.choice_mut()) else { return };
        let offered = Choice::new(options);
        if !choice.values().eq(offered.values()) {
            *choice = offered;
        }
    }

    /// What the answer of a line means: of its first choice, or its list.
    pub fn chosen(&self, key: K) -> Option<&V> {
        self.choice_of(key).and_then(Choice::value)
    }

    pub fn is(&self, key: K, value: &V) -> bool {
        self.chosen(key) == Some(value)
    }

    pub fn choice_of(&self, key: K) -> Option<&Choice<V>> {
        self.get(key)?.control.choice()
    }

    /// For tests: every answer says something else, and means the same.
    #[cfg(test)]
    pub fn reword(&mut self) {
        for choice in self.rows.iter_mut().filter_map(|r| r.control.choice_mut()) {
            for (i, (words, _)) in choice.options.iter_mut().enumerate() {
                *words = format!("answer {i}");
            }
        }
    }

    pub fn show(&mut self, key: K, shown: bool) {
        if let Some(row) = self.get_mut(key) {
            row.hidden = !shown;
        }
    }

    pub fn hint(&mut self, key: K, hint: impl Into<String>) {
        if let Some(row) = self.get_mut(key) {
            row.hint = hint.into();
        }
    }

    /// Says what is wrong with a line, and goes there.
    pub fn refuse(&mut self, key: K, why: String) {
        self.focus_on(key);
        self.mark(key, Some(why));
    }

    pub fn mark(&mut self, key: K, wrong: Option<String>) {
        if let Some(row) = self.get_mut(key) {
            row.wrong = wrong;
        }
    }

    /// The text was changed: what was said about it is out of date.
    pub fn edited(&mut self) {
        if let Some(row) = self.rows.get_mut(self.row) {
            row.wrong = None;
        }
    }

    fn cell_mut(&mut self) -> Option<&mut Cell<V>> {
        match &mut self.rows.get_mut(self.row)?.control {
            Control::Cells(cells) => cells.get_mut(self.cell),
            Control::List(_) | Control::Button => None,
        }
    }

    /// The field that takes text now.
    pub fn field(&mut self) -> Option<&mut Field> {
        match self.cell_mut()? {
            Cell::Text { field, .. } => Some(field),
            Cell::Choice(_) => None,
        }
    }

    pub fn places(&self) -> Vec<Place> {
        let chooses = match self.rows.get(self.row).map(|r| &r.control) {
            Some(Control::Cells(cells)) => matches!(cells.get(self.cell), Some(Cell::Choice(_))),
            Some(Control::List(_)) => return vec![Place::List, Place::Form],
            _ => false,
        };
        if chooses { vec![Place::Choice, Place::Form] } else { vec![Place::Form] }
    }

    pub fn command(&mut self, command: Command) -> FormEvent<K> {
        let Some(here) = self.focus() else { return FormEvent::Nothing };
        let row = self.row;
        if let Some(Row { control: Control::List(list), wrong, .. }) = self.rows.get_mut(row) {
            let last = list.options.len().saturating_sub(1);
            let to = match command {
                Command::Up => list.at.checked_sub(1),
                Command::Down => Some(list.at + 1).filter(|to| *to <= last),
                Command::PageUp => Some(list.at.saturating_sub(LIST)),
                Command::PageDown => Some((list.at + LIST).min(last)),
                Command::First => Some(0),
                Command::Last => Some(last),
                _ => None,
            };
            if let Some(to) = to {
                list.at = to;
                *wrong = None;
                return FormEvent::Turned(here);
            }
        }
        match command {
            Command::Left | Command::Right => {
                if let Some(Cell::Choice(choice)) = self.cell_mut() {
                    choice.turn(command == Command::Right);
                    self.edited();
                    return FormEvent::Turned(here);
                }
                return FormEvent::Nothing;
            }
            // On with the page, from wherever one is.
            Command::PageDown => {
                let button = self.rows.iter().find(|r| r.control.is_button() && !r.hidden).map(|r| r.key);
                return button.map_or(FormEvent::Nothing, FormEvent::Pressed);
            }
            Command::Open if matches!(self.rows.get(row).map(|r| &r.control), Some(Control::Button)) => {
                return FormEvent::Pressed(here);
            }
            Command::Open | Command::Next => self.next_cell(),
            Command::Previous => self.cell_before(),
            Command::Down => self.step(true),
            Command::Up => self.step(false),
            _ => {}
        }
        if self.row == row { FormEvent::Nothing } else { FormEvent::Left(here) }
    }

    fn next_cell(&mut self) {
        if self.rows.get(self.row).is_some_and(|r| self.cell + 1 < r.cells()) {
            self.cell += 1;
        } else {
            self.step(true);
        }
    }

    fn cell_before(&mut self) {
        if self.cell > 0 {
            self.cell -= 1;
        } else {
            self.step(false);
            self.cell = self.rows.get(self.row).map_or(0, |r| r.cells().saturating_sub(1));
        }
    }

    /// To the next or the last line that is shown; around at the ends.
    fn step(&mut self, forward: bool) {
        let count = self.rows.len().max(1);
        for distance in 1..=count {
            let to = (self.row + if forward { distance } else { count - distance }) % count;
            if self.rows.get(to).is_some_and(|r| !r.hidden) {
                (self.row, self.cell) = (to, 0);
                return;
            }
        }
    }

    /// Keeps the focus on what is there, after lines came or went.
    pub fn settle(&mut self) {
        if self.rows.get(self.row).is_none_or(|r| r.hidden) {
            let before = self.rows.iter().take(self.row).rposition(|r| !r.hidden);
            self.row = before.or_else(|| self.rows.iter().position(|r| !r.hidden)).unwrap_or(0);
            self.cell = 0;
        }
        let cells = self.rows.get(self.row).map_or(0, |r| r.cells());
        self.cell = self.cell.min(cells.saturating_sub(1));
    }

    /// Draws the form under a heading, scrolled so that the line in focus and what is said about it are in sight.
    pub fn render(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        heading: Vec<Line<'static>>,
        footing: Vec<Line<'static>>,
        theme: Theme,
    ) {
        let columns = usize::from(area.width).saturating_sub(3);
        let height = usize::from(area.height);
        let fixed = heading.len() + footing.len();
        // Every hint is shown where there is room for all; else only that of the line in focus.
        let all = self.lay_out(columns, true, theme);
        let laid = if fixed + all.lines.len() <= height { all } else { self.lay_out(columns, false, theme) };
        let head = heading.len();
        let total = head + laid.lines.len();
        let (from, to) = (head + laid.from, head + laid.to);
        let mut top = to.saturating_sub(height);
        if top > from {
            top = from;
        }
        let mut lines = heading;
        lines.extend(laid.lines);
        let at_end = self.row + 1 >= self.rows.len();
        if at_end && !footing.is_empty() {
            // What came of the last button is beneath it.
            top = (total + footing.len()).saturating_sub(height).min(from);
        }
        lines.extend(footing);
        let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
        sheet::render(frame, inner, lines, Scroll(top), theme);
        if let Some((column, line)) = laid.cursor
            && let Some(line) = (head + line).checked_sub(top).filter(|line| *line < height)
            && let (Ok(x), Ok(y)) = (u16::try_from(column), u16::try_from(line))
        {
            frame.set_cursor_position(((inner.x + x).min(inner.right().saturating_sub(1)), inner.y + y));
        }
    }

    fn lay_out(&self, columns: usize, all_hints: bool, theme: Theme) -> Laid {
        let shown = || self.rows.iter().enumerate().filter(|(_, r)| !r.hidden);
        let widest = shown().filter(|(_, r)| !r.control.is_button()).map(|(_, r)| format::width(&r.label)).max();
        let label = widest.unwrap_or(0).min(WIDEST_LABEL).min(columns / 3) + 2;
        let mut laid = Laid { lines: Vec::new(), from: 0, to: 0, cursor: None };
        let mut after_button = false;
        for (i, row) in shown() {
            let here = i == self.row;
            let button = row.control.is_button();
            if button && !after_button {
                laid.lines.push(Line::default());
            }
            after_button = button;
            if here {
                laid.from = laid.lines.len();
            }
            self.row(row, here, label, columns, theme, &mut laid);
            let indent = " ".repeat(if button { 2 } else { label + 2 });
            if let Some(why) = &row.wrong {
                let pieces = format::wrap(&format::clean(why), columns.saturating_sub(indent.len() + 2));
                for (n, piece) in pieces.into_iter().enumerate() {
                    let lead = if n == 0 { "! " } else { "  " };
                    laid.lines.push(Line::styled(format!("{indent}{lead}{piece}"), theme.bad()));
                }
            } else if (here || all_hints) && !row.hint.is_empty() {
                for piece in format::wrap(&format::clean(&row.hint), columns.saturating_sub(indent.len())) {
                    laid.lines.push(Line::styled(format!("{indent}{piece}"), theme.dim()));
                }
            }
            if here {
                laid.to = laid.lines.len();
            }
        }
        laid
    }

    fn row(&self, row: &Row<K, V>, here: bool, label: usize, columns: usize, theme: Theme, laid: &mut Laid) {
        let mark = if here { "▸ " } else { "  " };
        let name = format::fit(&format::clean(&row.label), label);
        let name = Span::styled(format!("{mark}{name}"), if here { theme.head() } else { theme.plain() });
        match &row.control {
            Control::Button => {
                let style = if here { theme.selected() } else { theme.plain() };
                let text = Span::styled(format!("[ {} ]", format::clean(&row.label)), style);
                laid.lines.push(Line::from(vec![Span::raw(mark), text]));
            }
            Control::Cells(cells) => {
                let mut spans = vec![name];
                let mut column = label + 2;
                for (i, cell) in cells.iter().take(row.open).enumerate() {
                    let focused = here && i == self.cell;
                    let room = columns.saturating_sub(column);
                    let (text, style, cursor) = cell_text(cell, focused, room, theme);
                    if let Some(cursor) = cursor {
                        laid.cursor = Some((column + cursor, laid.lines.len()));
                    }
                    column += format::width(&text) + 1;
                    spans.push(Span::styled(text, style));
                    spans.push(Span::raw(" "));
                }
                laid.lines.push(Line::from(spans));
            }
            Control::List(list) => {
                let count = format!("{} of {}", (list.at + 1).min(list.options.len()), list.options.len());
                let chosen = format::cut(&format::clean(list.text()), columns.saturating_sub(label + 2));
                if !here {
                    laid.lines.push(Line::from(vec![name, Span::raw(chosen)]));
                    return;
                }
                laid.lines.push(Line::from(vec![name, Span::styled(count, theme.dim())]));
                let top = list.at.saturating_sub(LIST / 2).min(list.options.len().saturating_sub(LIST));
                for (i, (option, _)) in list.options.iter().enumerate().skip(top).take(LIST) {
                    let mark = if i == list.at { "  ▸ " } else { "    " };
                    let style = if i == list.at { theme.selected() } else { theme.plain() };
                    let text = format::cut(&format::clean(option), columns.saturating_sub(4));
                    laid.lines.push(Line::from(vec![Span::raw(mark), Span::styled(text, style)]));
                }
            }
        }
    }
}

/// A form as lines: where the one in focus begins and ends, and the cursor's column and line.
struct Laid {
    lines: Vec<Line<'static>>,
    from: usize,
    to: usize,
    cursor: Option<(usize, usize)>,
}

/// A cell's text, how it is drawn, and the cursor's column in it.
fn cell_text<V>(cell: &Cell<V>, focused: bool, room: usize, theme: Theme) -> (String, Style, Option<usize>) {
    match cell {
        Cell::Choice(choice) => {
            let text = format::cut(&format!("‹ {} ›", format::clean(choice.text())), room);
            (text, if focused { theme.selected() } else { theme.plain() }, None)
        }
        Cell::Text { field, example, room: own } => {
            let room = if *own == 0 { room } else { room.min(*own) };
            if field.is_empty() {
                let text = format::cut(example, room);
                let text = if *own == 0 { text } else { format::fit(&text, room) };
                return (text, theme.dim(), focused.then_some(0));
            }
            let (text, cursor) =
                if focused { field.window(room) } else { (format::cut(&format::clean(&field.text()), room), 0) };
            let text = if *own == 0 { text } else { format::fit(&text, room) };
            (text, theme.plain(), focused.then_some(cursor))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form<u8, char> {
        Form::new(vec![
            Row::text(0, "name", "", "a name", "for your eyes"),
            Row::choice(1, "kind", [("one", '1'), ("two", '2')], ""),
            Row::new(2, "pick", Control::List(Choice::new([("first", 'a'), ("second", 'b'), ("third", 'c')])), ""),
            Row::button(3, "Next"),
        ])
    }

    #[test]
    fn enter_goes_through_every_line_and_presses_the_button() {
        let mut form = form();
        for key in 0..3 {
            assert_eq!(form.focus(), Some(key));
            assert_eq!(form.command(Command::Open), FormEvent::Left(key));
        }
        assert_eq!(form.command(Command::Open), FormEvent::Pressed(3));
    }

    #[test]
    fn a_hidden_line_is_passed_over_and_keeps_its_text() {
        let mut form = form();
        form.field().unwrap().paste("kept");
        form.show(0, false);
        form.settle();
        assert_eq!(form.focus(), Some(1));
        form.command(Command::Up);
        assert_eq!(form.focus(), Some(3));
        form.show(0, true);
        assert_eq!(form.text(0), "kept");
    }

    #[test]
    fn in_a_list_the_arrows_move_the_choice_and_leave_at_its_ends() {
        let mut form = form();
        form.focus_on(2);
        assert_eq!(form.command(Command::Down), FormEvent::Turned(2));
        form.command(Command::Down);
        assert!(form.is(2, &'c'));
        assert_eq!(form.command(Command::Down), FormEvent::Left(2));
        form.focus_on(2);
        form.command(Command::First);
        assert_eq!(form.command(Command::Up), FormEvent::Left(2));
    }

    #[test]
    fn other_answers_begin_at_the_first_and_the_same_keep_what_was_chosen() {
        let mut form = form();
        form.choose(2, &'b');
        form.offer(2, [("one", 'a'), ("two", 'b'), ("three", 'c')]);
        assert!(form.is(2, &'b'));
        form.offer(2, [("two", 'b'), ("four", 'd')]);
        assert!(form.is(2, &'b'));
        form.offer(2, [("four", 'd'), ("two", 'b')]);
        assert!(form.is(2, &'d'));
        form.choose(2, &'x');
        assert!(form.is(2, &'d'), "what is not offered cannot be chosen");
    }

    #[test]
    fn tab_visits_every_cell_of_a_line_and_what_is_wrong_goes_when_it_is_edited() {
        let mut form = Form::new(vec![
            Row::new(
                0u8,
                "amount",
                Control::Cells(vec![Cell::Choice(Choice::new([("any", false), ("is", true)])), Cell::text("", "")]),
                "",
            ),
            Row::button(1, "Next"),
        ]);
        assert_eq!(form.command(Command::Right), FormEvent::Turned(0));
        assert!(form.field().is_none());
        assert_eq!(form.command(Command::Next), FormEvent::Nothing);
        assert!(form.field().is_some());
        form.refuse(0, "what is it compared with?".into());
        form.edited();
        assert_eq!(form.get(0).and_then(|r| r.wrong.clone()), None);
        form.focus_on(1);
        form.command(Command::Previous);
        assert!(form.field().is_some(), "Shift-Tab goes to the last cell of the line before");
    }
}
