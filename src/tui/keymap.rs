//! Which key does what, where: the one table that bindings, footer, help and palette are read from.

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
    /// Session keys held for other people's accounts.
    Agents,
    /// An approval that is pasted or in a file.
    Approval,
    /// Exports an approval: to a file, or the clipboard.
    Export,
    /// The serialized approval.
    Text,
    Copy,
    /// The one key that signs or sends what is being reviewed.
    Confirm,
    /// Goes to the phrase that must be typed.
    Phrase,
    /// Every command that there is here, to be found by its name.
    Palette,
    /// Marks the chosen key, for what can be done to several at once.
    Mark,
    /// Another order of the list.
    Order,
    RevokeAll,
    /// Switches all session keys of the account off, or on again.
    Pause,
    Enable,
    Accounts,
    Networks,
    Activity,
    Settings,
    /// Looks for keys that nobody here knows.
    Scan,
    /// What would be copied, to a file.
    Save,
    Add,
    Remove,
    Check,
    /// Stops waiting for a job that sends nothing.
    Stop,
    Colour,
    /// The calls, to be sent from elsewhere.
    Print,
}

impl Command {
    /// Whether it only moves what is chosen or in sight: nothing that a list of commands should offer.
    pub const fn only_moves(self) -> bool {
        matches!(
            self,
            Self::Up
                | Self::Down
                | Self::Left
                | Self::Right
                | Self::PageUp
                | Self::PageDown
                | Self::First
                | Self::Last
                | Self::Next
                | Self::Previous
        )
    }
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
    /// Session keys held for other people's accounts.
    Agents,
    /// An approval that was read.
    Approval,
    /// An approval that was imported.
    Imported,
    Review,
    /// A review that wants a phrase typed.
    Blocked,
    Phrase,
    /// What came of it.
    Outcome,
    /// Something long that can be scrolled.
    Sheet,
    Palette,
    Accounts,
    Networks,
    Activity,
    /// What became of one operation.
    Operation,
    Settings,
    /// Something that can be copied, or written to a file.
    Copyable,
    /// A plan whose calls can be had instead of being sent from here.
    Sendable,
}

impl Place {
    pub const ALL: [Self; 26] = [
        Self::Home,
        Self::Filter,
        Self::Inspect,
        Self::Form,
        Self::Choice,
        Self::List,
        Self::Menu,
        Self::Agents,
        Self::Approval,
        Self::Imported,
        Self::Review,
        Self::Blocked,
        Self::Phrase,
        Self::Outcome,
        Self::Copyable,
        Self::Sendable,
        Self::Sheet,
        Self::Accounts,
        Self::Networks,
        Self::Activity,
        Self::Operation,
        Self::Settings,
        Self::FirstRun,
        Self::Palette,
        Self::Program,
        Self::Always,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::Program => "Everywhere except while typing",
            Self::FirstRun => "First run",
            Self::Home => "Home",
            Self::Filter => "Filter",
            Self::Inspect => "Key details",
            Self::Form => "Forms",
            Self::Choice => "Choices in forms",
            Self::Menu => "Menus",
            Self::Agents => "Keys you hold",
            Self::Approval => "Approval details",
            Self::Imported => "Imported approval",
            Self::Review => "Reviews before anything is signed or sent",
            Self::Blocked => "Reviews that require a phrase",
            Self::Phrase => "Typing a phrase",
            Self::Outcome => "Results",
            Self::Sheet => "Scrolling",
            Self::Palette => "Command palette",
            Self::List => "Lists",
            Self::Accounts => "Accounts",
            Self::Networks => "Networks",
            Self::Activity => "Activity",
            Self::Operation => "One operation",
            Self::Settings => "Settings",
            Self::Copyable => "Copying",
            Self::Sendable => "Revocation plans",
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
    /// The same at more length, for help and palette; empty where nothing more is to be said.
    pub about: &'static str,
    pub footer: bool,
}

impl Binding {
    const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// What it does, in as many words as there are.
    pub const fn at_length(&self) -> &'static str {
        if self.about.is_empty() { self.what } else { self.about }
    }
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
    Binding { place, keys, shown, command, what, about: "", footer: true }
}

const fn quiet(
    place: Place,
    keys: &'static [Key],
    shown: &'static str,
    command: Command,
    what: &'static str,
) -> Binding {
    Binding { place, keys, shown, command, what, about: "", footer: false }
}

const UP: &[Key] = &[code(KeyCode::Up), Key::char('k')];
const DOWN: &[Key] = &[code(KeyCode::Down), Key::char('j')];
const ENTER: &[Key] = &[code(KeyCode::Enter)];
const TAB: &[Key] = &[code(KeyCode::Tab)];
const BACK_TAB: &[Key] = &[code(KeyCode::BackTab)];

/// The order here is the order in the footer.
pub const TABLE: &[Binding] = &[
    quiet(Place::FirstRun, UP, "↑ k", Command::Up, "up"),
    quiet(Place::FirstRun, DOWN, "↓ j", Command::Down, "down"),
    quiet(Place::FirstRun, TAB, "Tab", Command::Down, "down"),
    shown(Place::FirstRun, ENTER, "↵", Command::Open, "select"),
    shown(Place::FirstRun, &[code(KeyCode::Esc)], "Esc", Command::Back, "back"),
    shown(Place::Home, &[Key::char('n')], "n", Command::Grant, "new key").about("grant a new session key"),
    shown(Place::Home, ENTER, "↵", Command::Open, "inspect").about("show the selected key"),
    shown(Place::Home, &[Key::char('x')], "x", Command::Revoke, "revoke").about("revoke the selected or marked keys"),
    shown(Place::Home, &[Key::char('s')], "s", Command::Send, "send")
        .about("send a call as the selected key, or as the owner of the selected account"),
    shown(Place::Home, &[Key::char('!')], "!", Command::Pause, "pause")
        .about("pause all session keys of the account, or unpause"),
    shown(Place::Home, &[Key::char('/')], "/", Command::Filter, "filter")
        .about("filter by label, state, address or function"),
    shown(Place::Home, &[Key::char(' ')], "Space", Command::Mark, "mark").about("mark keys, to revoke several at once"),
    shown(Place::Home, &[Key::char('e')], "e", Command::Enable, "enable")
        .about("enable a pending key now instead of with its first use"),
    shown(Place::Home, &[Key::char('X')], "X", Command::RevokeAll, "revoke all")
        .about("revoke all keys of the account"),
    shown(Place::Home, &[Key::char('m')], "m", Command::Accounts, "accounts").about("accounts: create, add, remove"),
    shown(Place::Home, &[Key::char('w')], "w", Command::Networks, "networks").about("networks: add, check, remove"),
    shown(Place::Home, &[Key::char('t')], "t", Command::Activity, "activity")
        .about("activity: operations and their results"),
    shown(Place::Home, &[Key::char('u')], "u", Command::Scan, "scan")
        .about("scan the account's history for unknown keys"),
    shown(Place::Home, &[Key::char('o')], "o", Command::Order, "sort").about("sort: needs attention, expiry, name"),
    shown(Place::Home, &[Key::char('r')], "r", Command::Refresh, "refresh")
        .about("read everything from the chain again"),
    shown(Place::Home, &[Key::char(',')], ",", Command::Settings, "settings").about("settings: vault, profile, colour"),
    quiet(Place::Home, &[Key::char('a')], "a", Command::Agents, "session keys you hold for other accounts"),
    quiet(Place::Home, &[Key::char('i')], "i", Command::Approval, "inspect or import an approval"),
    quiet(Place::Home, UP, "↑ k", Command::Up, "up"),
    quiet(Place::Home, DOWN, "↓ j", Command::Down, "down"),
    quiet(Place::Home, &[code(KeyCode::Left), Key::char('h')], "← h", Command::Left, "accounts"),
    quiet(Place::Home, &[code(KeyCode::Right), Key::char('l')], "→ l", Command::Right, "session keys"),
    quiet(Place::Home, TAB, "Tab", Command::Next, "other pane"),
    quiet(Place::Home, BACK_TAB, "Shift-Tab", Command::Previous, "other pane"),
    quiet(Place::Home, &[code(KeyCode::PageUp)], "PgUp", Command::PageUp, "a page up"),
    quiet(Place::Home, &[code(KeyCode::PageDown)], "PgDn", Command::PageDown, "a page down"),
    quiet(Place::Home, &[code(KeyCode::Home), Key::char('g')], "Home g", Command::First, "first"),
    quiet(Place::Home, &[code(KeyCode::End), Key::char('G')], "End G", Command::Last, "last"),
    shown(Place::Filter, ENTER, "↵", Command::Open, "apply"),
    shown(Place::Filter, &[code(KeyCode::Esc)], "Esc", Command::Back, "clear"),
    quiet(Place::Filter, &[code(KeyCode::Up)], "↑", Command::Up, "up"),
    quiet(Place::Filter, &[code(KeyCode::Down)], "↓", Command::Down, "down"),
    shown(Place::Inspect, &[Key::char('x')], "x", Command::Revoke, "revoke").about("revoke this key"),
    shown(Place::Inspect, &[Key::char('e')], "e", Command::Enable, "enable")
        .about("enable it now instead of with its first use"),
    shown(Place::Inspect, &[Key::char('s')], "s", Command::Send, "send"),
    shown(Place::Inspect, &[Key::char('d')], "d", Command::Export, "export")
        .about("export the approval to a file or the clipboard"),
    shown(Place::Inspect, &[Key::char('c')], "c", Command::Raw, "raw conditions")
        .about("the conditions as they are compared on chain"),
    quiet(Place::Inspect, &[Key::char('a')], "a", Command::Text, "the approval as text"),
    quiet(Place::Inspect, &[Key::char('y')], "y", Command::Copy, "copy the session key's address"),
    shown(Place::Inspect, &[Key::char('r')], "r", Command::Refresh, "refresh"),
    shown(Place::Choice, &[code(KeyCode::Right), Key::char('l'), Key::char(' ')], "←→", Command::Right, "change"),
    quiet(Place::Choice, &[code(KeyCode::Left), Key::char('h')], "← h", Command::Left, "previous option"),
    shown(Place::List, UP, "↑↓", Command::Up, "select"),
    quiet(Place::List, DOWN, "↓ j", Command::Down, "down"),
    quiet(Place::List, &[code(KeyCode::PageUp)], "PgUp", Command::PageUp, "a page up"),
    quiet(Place::List, &[code(KeyCode::PageDown)], "PgDn", Command::PageDown, "a page down"),
    quiet(Place::List, &[code(KeyCode::Home), Key::char('g')], "Home g", Command::First, "first"),
    quiet(Place::List, &[code(KeyCode::End), Key::char('G')], "End G", Command::Last, "last"),
    shown(Place::Menu, UP, "↑↓", Command::Up, "select"),
    quiet(Place::Menu, DOWN, "↓ j", Command::Down, "down"),
    quiet(Place::Menu, TAB, "Tab", Command::Down, "down"),
    shown(Place::Menu, ENTER, "↵", Command::Open, "continue"),
    shown(Place::Agents, &[Key::char('n')], "n", Command::Add, "new key"),
    shown(Place::Agents, &[Key::char('y')], "y", Command::Copy, "copy address"),
    shown(Place::Agents, &[Key::char('i')], "i", Command::Approval, "import"),
    shown(Place::Approval, &[Key::char('t')], "t", Command::Open, "import"),
    shown(Place::Approval, &[Key::char('c')], "c", Command::Raw, "raw conditions"),
    shown(Place::Imported, &[Key::char('s')], "s", Command::Send, "use"),
    shown(Place::Form, ENTER, "↵", Command::Open, "next"),
    shown(Place::Form, TAB, "Tab", Command::Next, "next field"),
    shown(Place::Form, &[code(KeyCode::PageDown)], "PgDn", Command::PageDown, "continue"),
    quiet(Place::Form, &[code(KeyCode::Down)], "↓", Command::Down, "next field"),
    quiet(Place::Form, BACK_TAB, "Shift-Tab", Command::Previous, "previous field"),
    quiet(Place::Form, &[code(KeyCode::Up)], "↑", Command::Up, "previous field"),
    shown(Place::Form, &[code(KeyCode::Esc)], "Esc", Command::Back, "back"),
    shown(Place::Review, &[Key::char('y')], "y", Command::Confirm, "confirm"),
    shown(Place::Blocked, TAB, "Tab", Command::Phrase, "type the phrase"),
    shown(Place::Phrase, ENTER, "↵", Command::Open, "done"),
    quiet(Place::Phrase, TAB, "Tab", Command::Next, "next phrase"),
    shown(Place::Phrase, &[code(KeyCode::Esc)], "Esc", Command::Back, "stop typing"),
    shown(Place::Outcome, ENTER, "↵", Command::Back, "back"),
    shown(Place::Copyable, &[Key::char('y')], "y", Command::Copy, "copy").about("copy it to the clipboard"),
    shown(Place::Copyable, &[Key::char('Y')], "Y", Command::Save, "write to a file").about("write it to a file"),
    shown(Place::Sendable, &[Key::char('p')], "p", Command::Print, "print the calls")
        .about("print the calls for the owner's wallet to send"),
    shown(Place::Accounts, &[Key::char('n')], "n", Command::Add, "add")
        .about("create a new account, or add an existing one"),
    shown(Place::Accounts, &[Key::char('d')], "d", Command::Remove, "remove"),
    shown(Place::Networks, &[Key::char('n')], "n", Command::Add, "add"),
    shown(Place::Networks, &[Key::char('c')], "c", Command::Check, "check")
        .about("check that every endpoint answers and is on the right chain"),
    quiet(Place::Networks, ENTER, "↵", Command::Open, "details"),
    shown(Place::Networks, &[Key::char('d')], "d", Command::Remove, "remove"),
    shown(Place::Activity, ENTER, "↵", Command::Open, "details"),
    shown(Place::Activity, &[Key::char('r')], "r", Command::Refresh, "refresh"),
    shown(Place::Activity, &[Key::char('d')], "d", Command::Stop, "stop"),
    shown(Place::Operation, &[Key::char('r')], "r", Command::Refresh, "check again"),
    shown(Place::Settings, &[Key::char('c')], "c", Command::Colour, "colour on or off"),
    shown(Place::Settings, &[Key::char('w')], "w", Command::Networks, "networks"),
    shown(Place::Settings, &[Key::char('m')], "m", Command::Accounts, "accounts"),
    shown(Place::Palette, ENTER, "↵", Command::Open, "run"),
    shown(Place::Palette, &[code(KeyCode::Esc)], "Esc", Command::Back, "close"),
    quiet(Place::Palette, &[code(KeyCode::Up), code(KeyCode::BackTab)], "↑", Command::Up, "up"),
    quiet(Place::Palette, &[code(KeyCode::Down), code(KeyCode::Tab)], "↓", Command::Down, "down"),
    quiet(Place::Palette, &[code(KeyCode::PageUp)], "PgUp", Command::PageUp, "a page up"),
    quiet(Place::Palette, &[code(KeyCode::PageDown)], "PgDn", Command::PageDown, "a page down"),
    shown(Place::Sheet, UP, "↑↓", Command::Up, "scroll"),
    quiet(Place::Sheet, DOWN, "↓ j", Command::Down, "a line down"),
    quiet(Place::Sheet, &[code(KeyCode::PageUp)], "PgUp", Command::PageUp, "a page up"),
    quiet(Place::Sheet, &[code(KeyCode::PageDown), Key::char(' ')], "PgDn Space", Command::PageDown, "a page down"),
    quiet(Place::Sheet, &[code(KeyCode::Home), Key::char('g')], "Home g", Command::First, "to the top"),
    quiet(Place::Sheet, &[code(KeyCode::End), Key::char('G')], "End G", Command::Last, "to the end"),
    quiet(Place::Program, &[code(KeyCode::Esc)], "Esc", Command::Back, "back one level"),
    shown(Place::Program, &[Key::char(':')], ":", Command::Palette, "more"),
    shown(Place::Program, &[Key::char('?')], "?", Command::Help, "help"),
    shown(Place::Program, &[Key::char('q')], "q", Command::Quit, "quit"),
    quiet(Place::Always, &[Key::ctrl('c')], "Ctrl-C", Command::Leave, "quit immediately"),
    quiet(Place::Always, &[Key::ctrl('z')], "Ctrl-Z", Command::Suspend, "suspend"),
];

/// What the key asks for in these places, the innermost first.
pub fn find(places: &[Place], key: Key) -> Option<Command> {
    places.iter().find_map(|place| TABLE.iter().find(|b| b.place == *place && b.keys.contains(&key)).map(|b| b.command))
}

/// What there is to do in these places, once each, without what only moves: a list of commands reads this.
pub fn offered(places: &[Place]) -> Vec<&'static Binding> {
    let mut offered: Vec<&'static Binding> = Vec::new();
    for place in places {
        for binding in TABLE.iter().filter(|b| b.place == *place && !b.command.only_moves()) {
            if !offered.iter().any(|o| o.command == binding.command) {
                offered.push(binding);
            }
        }
    }
    offered
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
        let opens = [
            Command::Open,
            Command::Grant,
            Command::Revoke,
            Command::RevokeAll,
            Command::Pause,
            Command::Enable,
            Command::Send,
            Command::Remove,
            Command::Palette,
        ];
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
