//! Which key does what, where: the one table that bindings, footer and help are read from.

use crossterm::event::KeyCode;

use super::input::Key;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Leaves at once, from anywhere.
    Leave,
    Suspend,
    Quit,
    Help,
    Back,
    Refresh,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    First,
    Last,
    Next,
    Previous,
    Filter,
    /// Enter: opens, chooses, goes on.
    Open,
    Grant,
    Revoke,
    Raw,
    Send,
    /// Keys made here for others' accounts.
    Agents,
    /// An approval that is pasted or in a file.
    Approval,
    /// Hands an approval over: a file, or the clipboard.
    Deliver,
    /// The serialized approval.
    Text,
    Copy,
    /// The one key that signs or sends what is being reviewed.
    Confirm,
    /// Goes to the phrase that must be typed.
    Phrase,
}

/// Where keys have their meaning. A screen names the places it is in, the innermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Everywhere, also while text is typed.
    Always,
    /// Everywhere but while text is typed.
    Program,
    FirstRun,
    Home,
    Filter,
    Inspect,
    Form,
    /// A line of a form that offers a few answers.
    Choice,
    /// A line of a form that offers many answers.
    List,
    /// What kind of key to give.
    Menu,
    /// Keys made here for others' accounts.
    Agents,
    /// An approval that was read.
    Approval,
    /// An approval that was taken in.
    Taken,
    Review,
    /// A review that wants a phrase typed.
    Blocked,
    Phrase,
    /// What came of it.
    Outcome,
    /// Something long that can be scrolled.
    Sheet,
}

impl Place {
    pub const ALL: [Self; 18] = [
        Self::Home,
        Self::Filter,
        Self::Inspect,
        Self::Form,
        Self::Choice,
        Self::List,
        Self::Menu,
        Self::Agents,
        Self::Approval,
        Self::Taken,
        Self::Review,
        Self::Blocked,
        Self::Phrase,
        Self::Outcome,
        Self::Sheet,
        Self::FirstRun,
        Self::Program,
        Self::Always,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::Program => "Everywhere, but not while typing",
            Self::FirstRun => "First run",
            Self::Home => "Home",
            Self::Filter => "Filter",
            Self::Inspect => "Looking at a key",
            Self::Form => "Forms",
            Self::Choice => "Choices in forms",
            Self::List => "Lists in forms",
            Self::Menu => "Menus",
            Self::Agents => "Keys made here",
            Self::Approval => "Looking at an approval",
            Self::Taken => "An approval that was taken in",
            Self::Review => "Reviews, before anything is signed or sent",
            Self::Blocked => "Reviews that want a phrase typed",
            Self::Phrase => "A phrase that must be typed",
            Self::Outcome => "Results",
            Self::Sheet => "Long texts",
        }
    }
}

pub struct Binding {
    pub place: Place,
    pub keys: &'static [Key],
    /// The keys as they are written in footer and help.
    pub shown: &'static str,
    pub command: Command,
    pub what: &'static str,
    pub footer: bool,
}

const fn code(code: KeyCode) -> Key {
    Key::plain(code)
}

const fn shown(
    place: Place,
    keys: &'static [Key],
    shown: &'static str,
    command: Command,
    what: &'static str,
) -> Binding {
    Binding { place, keys, shown, command, what, footer: true }
}

const fn quiet(
    place: Place,
    keys: &'static [Key],
    shown: &'static str,
    command: Command,
    what: &'static str,
) -> Binding {
    Binding { place, keys, shown, command, what, footer: false }
}

const UP: &[Key] = &[code(KeyCode::Up), Key::char('k')];
const DOWN: &[Key] = &[code(KeyCode::Down), Key::char('j')];
const ENTER: &[Key] = &[code(KeyCode::Enter)];
const TAB: &[Key] = &[code(KeyCode::Tab)];
const BACK_TAB: &[Key] = &[code(KeyCode::BackTab)];

/// The order here is the order in the footer.
pub const TABLE: &[Binding] = &[
    quiet(Place::FirstRun, UP, "↑ k", Command::Up, "one up"),
    quiet(Place::FirstRun, DOWN, "↓ j", Command::Down, "one down"),
    quiet(Place::FirstRun, TAB, "Tab", Command::Down, "one down"),
    shown(Place::FirstRun, ENTER, "↵", Command::Open, "choose"),
    shown(Place::Home, &[Key::char('n')], "n", Command::Grant, "new key"),
    shown(Place::Home, ENTER, "↵", Command::Open, "inspect"),
    shown(Place::Home, &[Key::char('x')], "x", Command::Revoke, "revoke"),
    shown(Place::Home, &[Key::char('s')], "s", Command::Send, "send"),
    shown(Place::Home, &[Key::char('/')], "/", Command::Filter, "filter"),
    shown(Place::Home, &[Key::char('r')], "r", Command::Refresh, "refresh"),
    quiet(Place::Home, &[Key::char('a')], "a", Command::Agents, "keys made here for others' accounts"),
    quiet(Place::Home, &[Key::char('i')], "i", Command::Approval, "look at an approval, or take one in"),
    quiet(Place::Home, UP, "↑ k", Command::Up, "one up"),
    quiet(Place::Home, DOWN, "↓ j", Command::Down, "one down"),
    quiet(Place::Home, &[code(KeyCode::Left), Key::char('h')], "← h", Command::Left, "accounts"),
    quiet(Place::Home, &[code(KeyCode::Right), Key::char('l')], "→ l", Command::Right, "session keys"),
    quiet(Place::Home, TAB, "Tab", Command::Next, "other pane"),
    quiet(Place::Home, BACK_TAB, "Shift-Tab", Command::Previous, "other pane"),
    quiet(Place::Home, &[code(KeyCode::PageUp)], "PgUp", Command::PageUp, "a page up"),
    quiet(Place::Home, &[code(KeyCode::PageDown)], "PgDn", Command::PageDown, "a page down"),
    quiet(Place::Home, &[code(KeyCode::Home), Key::char('g')], "Home g", Command::First, "first"),
    quiet(Place::Home, &[code(KeyCode::End), Key::char('G')], "End G", Command::Last, "last"),
    shown(Place::Filter, ENTER, "↵", Command::Open, "keep the filter"),
    shown(Place::Filter, &[code(KeyCode::Esc)], "Esc", Command::Back, "show all"),
    quiet(Place::Filter, &[code(KeyCode::Up)], "↑", Command::Up, "one up"),
    quiet(Place::Filter, &[code(KeyCode::Down)], "↓", Command::Down, "one down"),
    shown(Place::Inspect, &[Key::char('x')], "x", Command::Revoke, "revoke"),
    shown(Place::Inspect, &[Key::char('s')], "s", Command::Send, "send"),
    shown(Place::Inspect, &[Key::char('d')], "d", Command::Deliver, "deliver"),
    shown(Place::Inspect, &[Key::char('c')], "c", Command::Raw, "raw conditions"),
    quiet(Place::Inspect, &[Key::char('a')], "a", Command::Text, "the approval as text"),
    quiet(Place::Inspect, &[Key::char('y')], "y", Command::Copy, "copy the session key's address"),
    shown(Place::Inspect, &[Key::char('r')], "r", Command::Refresh, "refresh"),
    shown(Place::Choice, &[code(KeyCode::Right), Key::char('l'), Key::char(' ')], "←→", Command::Right, "other answer"),
    quiet(Place::Choice, &[code(KeyCode::Left), Key::char('h')], "← h", Command::Left, "answer before"),
    shown(Place::List, UP, "↑↓", Command::Up, "choose"),
    quiet(Place::List, DOWN, "↓ j", Command::Down, "one down"),
    quiet(Place::List, &[code(KeyCode::PageUp)], "PgUp", Command::PageUp, "a page up"),
    quiet(Place::List, &[code(KeyCode::PageDown)], "PgDn", Command::PageDown, "a page down"),
    quiet(Place::List, &[code(KeyCode::Home), Key::char('g')], "Home g", Command::First, "first"),
    quiet(Place::List, &[code(KeyCode::End), Key::char('G')], "End G", Command::Last, "last"),
    shown(Place::Menu, UP, "↑↓", Command::Up, "choose"),
    quiet(Place::Menu, DOWN, "↓ j", Command::Down, "one down"),
    quiet(Place::Menu, TAB, "Tab", Command::Down, "one down"),
    shown(Place::Menu, ENTER, "↵", Command::Open, "go on"),
    shown(Place::Agents, UP, "↑↓", Command::Up, "choose"),
    quiet(Place::Agents, DOWN, "↓ j", Command::Down, "one down"),
    shown(Place::Agents, &[Key::char('n')], "n", Command::Grant, "make a key"),
    shown(Place::Agents, &[Key::char('y')], "y", Command::Copy, "copy address"),
    shown(Place::Agents, &[Key::char('i')], "i", Command::Approval, "take in"),
    shown(Place::Approval, &[Key::char('t')], "t", Command::Open, "take it in"),
    shown(Place::Approval, &[Key::char('c')], "c", Command::Raw, "raw conditions"),
    shown(Place::Taken, &[Key::char('s')], "s", Command::Send, "use it"),
    shown(Place::Form, ENTER, "↵", Command::Open, "next"),
    shown(Place::Form, TAB, "Tab", Command::Next, "next field"),
    shown(Place::Form, &[code(KeyCode::PageDown)], "PgDn", Command::PageDown, "go on"),
    quiet(Place::Form, &[code(KeyCode::Down)], "↓", Command::Down, "next field"),
    quiet(Place::Form, BACK_TAB, "Shift-Tab", Command::Previous, "field before"),
    quiet(Place::Form, &[code(KeyCode::Up)], "↑", Command::Up, "field before"),
    shown(Place::Form, &[code(KeyCode::Esc)], "Esc", Command::Back, "back"),
    shown(Place::Review, &[Key::char('y')], "y", Command::Confirm, "yes, do it"),
    shown(Place::Blocked, TAB, "Tab", Command::Phrase, "type the phrase"),
    shown(Place::Phrase, ENTER, "↵", Command::Open, "done"),
    quiet(Place::Phrase, TAB, "Tab", Command::Next, "next phrase"),
    shown(Place::Phrase, &[code(KeyCode::Esc)], "Esc", Command::Back, "stop typing"),
    shown(Place::Outcome, ENTER, "↵", Command::Back, "back"),
    shown(Place::Sheet, UP, "↑↓", Command::Up, "scroll"),
    quiet(Place::Sheet, DOWN, "↓ j", Command::Down, "a line down"),
    quiet(Place::Sheet, &[code(KeyCode::PageUp)], "PgUp", Command::PageUp, "a page up"),
    quiet(Place::Sheet, &[code(KeyCode::PageDown), Key::char(' ')], "PgDn Space", Command::PageDown, "a page down"),
    quiet(Place::Sheet, &[code(KeyCode::Home), Key::char('g')], "Home g", Command::First, "to the top"),
    quiet(Place::Sheet, &[code(KeyCode::End), Key::char('G')], "End G", Command::Last, "to the end"),
    quiet(Place::Program, &[code(KeyCode::Esc)], "Esc", Command::Back, "back one level"),
    shown(Place::Program, &[Key::char('?')], "?", Command::Help, "help"),
    shown(Place::Program, &[Key::char('q')], "q", Command::Quit, "quit"),
    quiet(Place::Always, &[Key::ctrl('c')], "Ctrl-C", Command::Leave, "leave at once"),
    quiet(Place::Always, &[Key::ctrl('z')], "Ctrl-Z", Command::Suspend, "suspend"),
];

/// What the key asks for in these places, the innermost first.
pub fn find(places: &[Place], key: Key) -> Option<Command> {
    places.iter().find_map(|place| TABLE.iter().find(|b| b.place == *place && b.keys.contains(&key)).map(|b| b.command))
}

/// What the footer offers in these places.
pub fn footer(places: &[Place]) -> impl Iterator<Item = &'static Binding> {
    let places = places.to_vec();
    TABLE.iter().filter(move |b| b.footer && places.contains(&b.place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for place in Place::ALL {
            let mut seen = Vec::new();
            for key in TABLE.iter().filter(|b| b.place == place).flat_map(|b| b.keys) {
                assert!(!seen.contains(key), "{key:?} twice in {place:?}");
                seen.push(*key);
            }
        }
    }

    #[test]
    fn what_confirms_never_opens_a_review() {
        let confirm: Vec<Key> =
            TABLE.iter().filter(|b| b.command == Command::Confirm).flat_map(|b| b.keys.to_vec()).collect();
        let opens = [Command::Open, Command::Grant, Command::Revoke, Command::Send];
        for binding in TABLE.iter().filter(|b| opens.contains(&b.command)) {
            assert!(binding.keys.iter().all(|k| !confirm.contains(k)), "{} opens and confirms", binding.shown);
        }
    }

    #[test]
    fn leaving_is_possible_everywhere() {
        assert_eq!(find(&[Place::Form, Place::Always], Key::ctrl('c')), Some(Command::Leave));
        assert_eq!(find(&[Place::Form, Place::Always], Key::char('q')), None);
    }
}
