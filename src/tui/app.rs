//! The whole state of the program and the one function that changes it. Pure: nothing here asks a clock, a chain or a file.

use std::collections::BTreeSet;

use ratatui::{Frame, text::Span};

use super::{
    data::Data,
    follow::Follow,
    frame::{self, Shown},
    input::{Input, Key, Moment},
    jobs::Jobs,
    keymap::{self, Command, Place},
    message::{Asked, Effect, JobId, Msg, Notice, Report},
    screen::{
        Cx, Next, Screen, View, help, is_typing,
        palette::{self, Picked},
        routes,
    },
    theme::Theme,
};
use crate::{
    text::is_unsafe,
    wallet::{
        error::Error,
        usecase::{key::KeyView, revoke::Verdict},
    },
};

/// Smallest screen that anything but one line is drawn on.
pub const SMALLEST: (u16, u16) = (40, 10);

pub struct Model {
    pub theme: Theme,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Local clock, unix seconds.
    pub now: u64,
    /// Where the home is, for showing.
    pub folder: String,
    pub data: Data,
    pub jobs: Jobs,
    follow: Follow,
    pub notice: Option<Notice>,
    pub asked: Option<Asked>,
    pub help: Option<help::State>,
    pub palette: Option<palette::State>,
    root: Box<dyn Screen>,
    above: Vec<Box<dyn Screen>>,
}

impl Model {
    pub fn new(theme: Theme, size: (u16, u16), now: u64, folder: String, has_home: bool) -> (Self, Vec<Effect>) {
        let mut model = Self {
            theme,
            size,
            now,
            folder,
            data: Data::default(),
            jobs: Jobs::default(),
            follow: Follow::default(),
            notice: None,
            asked: None,
            help: None,
            palette: None,
            root: routes::root(has_home),
            above: Vec::new(),
        };
        let mut effects = Vec::new();
        if has_home {
            effects.push(model.load());
        }
        (model, effects)
    }

    pub fn screen(&self) -> &dyn Screen {
        self.above.last().unwrap_or(&self.root).as_ref()
    }

    fn screen_mut(&mut self) -> &mut dyn Screen {
        self.above.last_mut().unwrap_or(&mut self.root).as_mut()
    }

    /// What screens see of it.
    fn seen(&self) -> View<'_> {
        View {
            data: &self.data,
            jobs: &self.jobs,
            follow: &self.follow,
            theme: self.theme,
            now: self.now,
            folder: &self.folder,
        }
    }

    /// For tests: nothing is open above home, or above the first run.
    #[cfg(test)]
    pub fn is_at_root(&self) -> bool {
        self.above.is_empty() && self.help.is_none() && self.palette.is_none() && self.asked.is_none()
    }

    /// Whether there is room for more than one line.
    pub const fn has_room(&self) -> bool {
        self.size.0 >= SMALLEST.0 && self.size.1 >= SMALLEST.1
    }

    /// Whether the screen gets the keys: nothing is open over it, and there is room to draw it.
    const fn is_screen_on_top(&self) -> bool {
        self.help.is_none() && self.palette.is_none() && self.asked.is_none() && self.has_room()
    }

    fn load(&mut self) -> Effect {
        Effect::Load { job: self.jobs.start("reading the records", false) }
    }

    /// Lets the screen on top act, and goes where it wants to go.
    fn on_screen(
        &mut self,
        at: Moment,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut dyn Screen, &mut Cx<'_>) -> Next,
    ) {
        let screen = self.above.last_mut().unwrap_or(&mut self.root);
        let mut cx = Cx {
            data: &self.data,
            jobs: &mut self.jobs,
            notice: &mut self.notice,
            effects,
            body: frame::body(self.size),
            theme: self.theme,
            now: self.now,
            at,
        };
        match act(screen.as_mut(), &mut cx) {
            Next::Stay => {}
            Next::Back => {
                if let Some(mut left) = self.above.pop() {
                    left.leave(&mut self.jobs, effects);
                }
                // What is beneath may have changed meanwhile.
                self.settle(effects);
            }
            Next::Open(route) => match routes::open(route, &mut cx) {
                Ok(screen) => self.above.push(screen),
                Err(why) => self.notice = Some(Notice::trouble(why)),
            },
        }
    }

    /// The data or the size has changed, for every screen that is open.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let body = frame::body(self.size);
        for screen in std::iter::once(&mut self.root).chain(&mut self.above) {
            let mut cx = Cx {
                data: &self.data,
                jobs: &mut self.jobs,
                notice: &mut self.notice,
                effects,
                body,
                theme: self.theme,
                now: self.now,
                at: Moment::default(),
            };
            screen.settle(&mut cx);
        }
    }

    /// Reads every account again from its chain.
    fn refresh_all(&mut self, effects: &mut Vec<Effect>) {
        let mut foreign = Vec::new();
        for account in &self.data.accounts {
            match &account.view {
                Some(view) => {
                    let job = self.jobs.start(format!("reading {}", view.name), false);
                    effects.push(Effect::Refresh { job, account: view.name.clone() });
                }
                None => foreign.extend(self.data.keys_of(account).map(|k| k.key_id.clone())),
            }
        }
        if !foreign.is_empty() {
            let job = self.jobs.start("reading keys for other people's accounts", false);
            effects.push(Effect::ReadKeys { job, keys: foreign });
        }
    }
}

/// Takes one message in and says what is to be done about it.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let mut effects = Vec::new();
    match msg {
        Msg::Input(input, at) => on_input(model, input, at, &mut effects),
        Msg::Drawn(at) => {
            // What is behind a question or the help, or not drawn for want of room, has not been seen.
            if model.is_screen_on_top() {
                model.on_screen(at, &mut effects, |screen, cx| {
                    screen.drawn(cx);
                    Next::Stay
                });
            }
        }
        Msg::Clock(now) => on_clock(model, now, &mut effects),
        Msg::Job(job, report) => on_report(model, job, report, &mut effects),
        Msg::Asked(question) => {
            model.asked = Some(Asked { question, typed: 0 });
            cover(model, &mut effects);
        }
        Msg::Typed(typed) => {
            if let Some(asked) = &mut model.asked {
                asked.typed = typed;
            }
        }
        Msg::Held(characters) => {
            model.screen_mut().held(characters);
        }
        Msg::Answered => model.asked = None,
        Msg::KeyringWaits => model.notice = Some(Notice::say("waiting for your keyring…")),
    }
    effects
}

fn on_input(model: &mut Model, input: Input, at: Moment, effects: &mut Vec<Effect>) {
    match input {
        Input::Resize(width, height) => {
            model.size = (width, height);
            model.on_screen(at, effects, |screen, cx| {
                screen.resized(cx);
                Next::Stay
            });
            model.settle(effects);
        }
        Input::Paste(text) => {
            let secret = pastes_are_secret(model);
            if let Some(palette) = model.palette.as_mut().filter(|_| model.asked.is_none() && !secret) {
                palette.field().paste(&text);
                palette.edited();
            } else if model.is_screen_on_top() {
                model.on_screen(at, effects, |screen, cx| {
                    if let Some(field) = screen.field() {
                        field.paste(&text);
                        screen.edited(cx);
                    }
                    Next::Stay
                });
            }
        }
        Input::Key(key) => on_key(model, key, at, effects),
    }
}

fn on_key(model: &mut Model, key: Key, at: Moment, effects: &mut Vec<Effect>) {
    let places = places(model);
    let Some(command) = keymap::find(&places, key) else {
        if let Some(palette) = model.palette.as_mut().filter(|_| model.asked.is_none()) {
            if palette.field().key(key) {
                palette.edited();
            }
        } else if model.is_screen_on_top() {
            model.on_screen(at, effects, |screen, cx| {
                if screen.field().is_some_and(|field| field.key(key)) {
                    screen.edited(cx);
                }
                Next::Stay
            });
        }
        return;
    };
    on_command(model, command, at, effects);
}

fn on_command(model: &mut Model, command: Command, at: Moment, effects: &mut Vec<Effect>) {
    match command {
        Command::Leave => effects.push(Effect::Quit),
        Command::Suspend => effects.push(Effect::Suspend),
        Command::Quit => quit(model, effects),
        _ if !model.has_room() || model.asked.is_some() => {}
        command if model.palette.is_some() => in_palette(model, command, at, effects),
        Command::Help if model.help.is_some() => model.help = None,
        Command::Help => {
            model.help = Some(help::State::default());
            cover(model, effects);
        }
        _ if model.help.is_some() => {
            let body = frame::body(model.size);
            if model.help.as_mut().is_some_and(|help| !help.command(command, body, model.theme)) {
                model.help = None;
            }
        }
        Command::Palette => {
            let screen = model.screen();
            model.palette = Some(palette::State::new(&places(model), |command| screen.why_not(command, &model.data)));
            cover(model, effects);
        }
        Command::Colour => model.theme.colour = !model.theme.colour,
        // Other screens copy in their own way.
        Command::Copy if model.screen().copyable(&model.data).is_some() => copy(model, effects),
        Command::Save => save(model, effects),
        command => {
            model.notice = None;
            let refresh = command == Command::Refresh;
            model.on_screen(at, effects, |screen, cx| screen.command(command, cx));
            if refresh && model.above.is_empty() {
                effects.push(model.load());
            }
        }
    }
}

/// Something is drawn over the screen: what a review shows must be seen again before it is confirmed.
fn cover(model: &mut Model, effects: &mut Vec<Effect>) {
    model.on_screen(Moment::default(), effects, |screen, cx| {
        screen.resized(cx);
        Next::Stay
    });
}

/// The palette closes before what was chosen is done.
fn in_palette(model: &mut Model, command: Command, at: Moment, effects: &mut Vec<Effect>) {
    let Some(palette) = &mut model.palette else { return };
    match palette.command(command) {
        Picked::Stay => {}
        Picked::NotNow(why) => model.notice = Some(Notice::trouble(why)),
        Picked::Close => model.palette = None,
        Picked::Do(command) => {
            model.palette = None;
            on_command(model, command, at, effects);
        }
    }
}

/// Asks the terminal to copy. It never says whether it did, so a file is offered too.
fn copy(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(copyable) = model.screen().copyable(&model.data) else {
        model.notice = Some(Notice::say("nothing to copy here"));
        return;
    };
    // Some terminals never do, and none says so.
    let text = format!("copied, if your terminal allows it; Y writes it to a file ({})", copyable.what);
    model.notice = Some(Notice::say(text));
    effects.push(Effect::Copy { text: copyable.text });
}

fn save(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(copyable) = model.screen().copyable(&model.data) else {
        model.notice = Some(Notice::say("nothing to save here"));
        return;
    };
    let job = model.jobs.start_change(format!("writing {} to a file", copyable.what));
    effects.push(Effect::Save { job, name: copyable.file, text: copyable.text });
}

/// Quitting while something is in flight says so once; it is found again at the next start.
fn quit(model: &mut Model, effects: &mut Vec<Effect>) {
    let warning =
        "an operation is in flight: it continues without keyleash and is picked up at the next start; q again quits";
    let in_flight = model.jobs.list.iter().any(|j| j.sends);
    if in_flight && model.notice.as_ref().is_none_or(|n| n.text != warning) {
        model.notice = Some(Notice::trouble(warning));
    } else {
        effects.push(Effect::Quit);
    }
}

/// Whether a paste may be a secret, which never comes into the model.
pub fn holds_paste(model: &Model) -> bool {
    model.is_screen_on_top() && pastes_are_secret(model)
}

fn pastes_are_secret(model: &Model) -> bool {
    model.screen().holds_paste()
}

/// Where keys have their meaning now, the innermost first.
pub fn places(model: &Model) -> Vec<Place> {
    if model.asked.is_some() {
        return vec![Place::Always];
    }
    if !model.has_room() {
        return vec![Place::Program, Place::Always];
    }
    if model.palette.is_some() {
        return vec![Place::Palette, Place::Always];
    }
    if model.help.is_some() {
        return vec![Place::Sheet, Place::Program, Place::Always];
    }
    let mut places = model.screen().places();
    if !is_typing(model.screen()) {
        places.push(Place::Program);
    }
    places.push(Place::Always);
    places
}

fn on_clock(model: &mut Model, now: u64, effects: &mut Vec<Effect>) {
    let before = std::mem::replace(&mut model.now, now);
    let mut due = Vec::new();
    for key in &model.data.keys {
        let (then, now) = (model.data.chain_time(&key.network, before), model.data.chain_time(&key.network, now));
        let crossed = |edge: u64| edge != 0 && then <= edge && edge < now;
        if key.state.may_act() && (crossed(key.valid_until) || crossed(key.valid_after)) {
            due.push(key.key_id.clone());
        }
    }
    if !due.is_empty() {
        let job = model.jobs.start("refreshing keys whose window has changed", false);
        effects.push(Effect::ReadKeys { job, keys: due });
    }
    if follows(model) {
        let networks: BTreeSet<String> = model.data.accounts.iter().map(|a| a.network.clone()).collect();
        for (network, known) in model.follow.ask(networks.into_iter(), now) {
            let job = model.jobs.start_quiet(format!("asking {network} for its newest block"));
            effects.push(Effect::Head { job, network, known });
        }
    }
}

/// Whether something is seen that should be as of now: home, or a key's page.
fn follows(model: &Model) -> bool {
    model.has_room() && model.screen().watched(&model.data).is_some()
}

/// Reads what is looked at again when its chain has moved on, and everything of a network that answers again.
fn follow(model: &mut Model, network: &str, was_silent: bool, effects: &mut Vec<Effect>) {
    let seen = model.screen().watched(&model.data);
    let seen = seen.and_then(|w| w.account.map(|account| (account, w.key)));
    let mut keys = Vec::new();
    for row in model.data.accounts.iter().filter(|a| a.network == network) {
        let looked_at = seen.as_ref().filter(|(account, _)| *account == row.id());
        if looked_at.is_none() && !was_silent {
            continue;
        }
        let behind = model.follow.is_behind(&row.network, row.address);
        if !behind && !was_silent {
            continue;
        }
        match &row.view {
            Some(view) => {
                let job = model.jobs.start_quiet(format!("reading {}", view.name));
                effects.push(Effect::Refresh { job, account: view.name.clone() });
            }
            None => keys.extend(model.data.keys_of(row).map(|k| k.key_id.clone())),
        }
        // Its page shows more than an account's picture has: how often it was used.
        keys.extend(looked_at.and_then(|(_, key)| key.clone()));
    }
    if !keys.is_empty() {
        let job = model.jobs.start_quiet("reading keys");
        effects.push(Effect::ReadKeys { job, keys });
    }
}

/// Seconds until something that is shown changes by itself, or a chain is to be asked whether it has moved on.
pub fn next_change(model: &Model) -> Option<u64> {
    let count_down = |key: &KeyView| {
        let now = model.data.chain_time(&key.network, model.now);
        [key.valid_until, key.valid_after].into_iter().filter(move |edge| *edge >= now).map(move |edge| edge - now)
    };
    let counting = model.data.keys.iter().filter(|k| k.state.may_act() && k.as_of.is_some());
    let counted = counting.flat_map(count_down).map(super::format::seconds_to_change);
    counted.chain(model.follow.due_in(model.now).filter(|_| follows(model))).min()
}

fn on_report(model: &mut Model, job: JobId, mut report: Report, effects: &mut Vec<Effect>) {
    if let Report::Phase(phase) = report {
        if let Some(job) = model.jobs.list.iter_mut().find(|j| j.id == job) {
            job.phase = phase;
        }
        return;
    }
    let known = model.jobs.get(job).is_some();
    let quiet = model.jobs.get(job).is_some_and(|j| j.quiet);
    if known && matches!(report, Report::Stopped) {
        // It may have changed records before it was stopped.
        effects.push(model.load());
        let error = Error::failed("job.stopped", "stopped; what was done by then stays on record");
        report = Report::Failed(error);
    }
    if !report.is_progress() {
        model.jobs.list.retain(|j| j.id != job);
    }
    if !known {
        // Given up in the meantime; a plan that nobody waits for is forgotten.
        effects.push(Effect::Forget { plan: job });
        return;
    }
    let mut taken = false;
    let body = frame::body(model.size);
    for screen in std::iter::once(&mut model.root).chain(&mut model.above) {
        let mut cx = Cx {
            data: &model.data,
            jobs: &mut model.jobs,
            notice: &mut model.notice,
            effects,
            body,
            theme: model.theme,
            now: model.now,
            at: Moment::default(),
        };
        taken |= screen.report(job, &report, &mut cx);
    }
    match report {
        // For the screen that asked.
        Report::Phase(_)
        | Report::Scanning(_)
        | Report::Abi(_)
        | Report::ApprovalText(_)
        | Report::Judging(_)
        | Report::Agents { .. }
        | Report::Stopped
        | Report::Inspected(_) => {}
        Report::Exported { file, .. } => {
            if !taken {
                model.notice = Some(Notice::say(format!("approval written to {file}")));
            }
        }
        Report::AgentMade(agent) => {
            if !taken {
                model.notice = Some(Notice::say(format!("{} created; its address is {}", agent.label, agent.address)));
            }
        }
        Report::ApprovalImported { keys, .. } => {
            if let Some(key) = keys.last().filter(|_| !taken) {
                model.notice = Some(Notice::say(format!("{} imported", key.label)));
            }
            model.data.merge(keys, model.now);
            effects.push(model.load());
        }
        Report::Sent(outcome) => {
            if !taken {
                model.notice = Some(match outcome.success {
                    Some(true) => Notice::say("the call succeeded"),
                    Some(false) => Notice::trouble("the operation was mined, but the call failed"),
                    None => Notice::trouble("sent, and not in a block yet"),
                });
            }
            effects.push(model.load());
        }
        Report::SendPlanned(_) => {
            if !taken {
                effects.push(Effect::Forget { plan: job });
            }
        }
        Report::SandboxReady | Report::HomeReady => {
            model.root = routes::root(true);
            model.above.clear();
            effects.push(model.load());
        }
        Report::Records { accounts, keys, in_flight, sandbox } => {
            model.data.sandbox = sandbox;
            model.data.load(accounts, keys);
            model.data.in_flight = in_flight;
            model.follow.begin(model.now);
            model.refresh_all(effects);
        }
        Report::Account(view, keys, findings) => model.data.account_read(*view, keys, findings, model.now),
        Report::Head { network, block: Ok(block) } => {
            let was_silent = model.follow.answered(&network, block, model.now);
            follow(model, &network, was_silent, effects);
        }
        Report::Head { network, block: Err(error) } => {
            model.follow.silent(&network);
            model.data.not_answered(&network, &error, model.now);
        }
        Report::Keys(keys) => model.data.merge(keys, model.now),
        Report::Granted(granted) => {
            if !taken {
                model.notice = Some(Notice::say(format!("{} is signed", granted.key.label)));
            }
            effects.push(model.load());
        }
        Report::Revoked(revoked) => {
            if !taken {
                model.notice = Some(verdict_notice(revoked.verdict(), revoked.in_words()));
            }
            effects.push(model.load());
        }
        Report::Enabled(enabled) => {
            if !taken {
                model.notice = Some(match enabled.operation.success {
                    Some(true) => Notice::say("enabled on chain"),
                    None if enabled.operation.is_waiting() => Notice::trouble("sent, and not in a block yet"),
                    _ => Notice::trouble("enabling failed; press t for details"),
                });
            }
            effects.push(model.load());
        }
        Report::Followed(completed) => {
            if let Some(verdict) = completed.verdict().filter(|_| !taken) {
                model.notice = Some(verdict_notice(verdict, completed.in_words()));
            }
            effects.push(model.load());
        }
        Report::Scanned(scan) => {
            if !taken {
                let new = scan.keys.iter().filter(|k| !k.known).count();
                let all = if scan.complete { "" } else { "; there may be more" };
                let text = format!("{}: {} keys found, {new} of them new here{all}", scan.account, scan.keys.len());
                model.notice = Some(if scan.complete { Notice::say(text) } else { Notice::trouble(text) });
            }
            effects.push(model.load());
        }
        Report::AccountAdded(view) => {
            model.notice = Some(Notice::say(format!("account {} added", view.name)));
            effects.push(model.load());
        }
        Report::AccountRemoved(name) => {
            if !taken {
                model.notice = Some(Notice::say(format!("{name} removed from the list; its approvals stay on record")));
            }
            effects.push(model.load());
        }
        Report::NetworkAdded(name) => model.notice = Some(Notice::say(format!("network {name} added"))),
        Report::NetworkRemoved(name) => {
            if !taken {
                model.notice = Some(Notice::say(format!("network {name} removed")));
            }
        }
        Report::Saved(file) => model.notice = Some(Notice::say(format!("written to {}", file.display()))),
        Report::Operations(_) | Report::Networks(_) | Report::Checked(_) | Report::Vault(_) => {}
        Report::GrantPlanned(_) | Report::RevokePlanned(_) | Report::EnablePlanned(_) => {
            if !taken {
                effects.push(Effect::Forget { plan: job });
            }
        }
        Report::Failed(error) => {
            if !taken && !quiet {
                model.notice = Some(Notice::failure(&error));
            }
            if !model.data.loaded {
                model.data.loaded = true;
            }
        }
    }
    model.settle(effects);
}

/// What a revocation came to, told when its screen was left: the words that the screen would have had.
fn verdict_notice(verdict: Verdict, words: String) -> Notice {
    match verdict {
        Verdict::Proven | Verdict::Done => Notice::say(words),
        Verdict::Remaining | Verdict::NotProven | Verdict::Waiting | Verdict::Failed => Notice::trouble(words),
    }
}

/// Draws the state. What is not safe to show never gets past this function, whatever a screen forgot.
pub fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("keyleash needs {}x{}; q quits", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Span::raw(text), area);
        return;
    }
    let shown = Shown {
        view: model.seen(),
        screen: model.screen(),
        places: &places(model),
        notice: model.notice.as_ref(),
        asked: model.asked,
        help: model.help.as_ref(),
        palette: model.palette.as_ref(),
    };
    frame::render(&shown, frame);
    for cell in &mut frame.buffer_mut().content {
        if cell.symbol().chars().any(is_unsafe) {
            cell.set_symbol(" ");
        }
    }
}
