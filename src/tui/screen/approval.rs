//! An approval that comes from elsewhere: pasted or in a file, inspected, and - when it is for a key held here - imported.
//!
//! It may carry a private key, so the pasted text never comes here: the loop holds it, and this screen knows how long it is.

use ratatui::{Frame, layout::Rect};

use super::{
    Cx, Destination, Heading, Next, Screen, View, review,
    rows::{failure_rows, raw_rows},
};
use crate::{
    tui::{
        form::{
            Field,
            page::{Form, FormEvent, Row as Entry},
        },
        jobs::Jobs,
        keymap::{Command, Place},
        message::{ApprovalSource, Effect, JobId, Notice, Report},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{error::Error, policy::check_label, usecase::inspect::Inspection},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    From,
    Paste,
    File,
    Network,
    Label,
    Go,
}

/// What the answers of the choices mean.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Pasted,
    InFile,
    /// Asks this network; none without a name.
    Network(Option<String>),
}

#[derive(Debug)]
enum Step {
    Form,
    Reading(JobId),
    Shown(Vec<Inspection>),
    Importing(JobId, Vec<Inspection>),
    Imported(String, Vec<Row>),
}

#[derive(Debug)]
pub struct State {
    form: Form<Ask, Answer>,
    /// Characters that were pasted and are held elsewhere.
    held: usize,
    raw: bool,
    step: Step,
    failed: Option<Error>,
    scroll: Scroll,
}

pub fn open(networks: Vec<String>, _: &mut Cx<'_>) -> Box<dyn Screen> {
    let only = if let [only] = networks.as_slice() { Some(only.clone()) } else { None };
    let named = networks.into_iter().map(|name| (name.clone(), Answer::Network(Some(name))));
    let asks = std::iter::once(("no network".to_owned(), Answer::Network(None))).chain(named);
    let mut state = State {
        form: Form::new(vec![
            Entry::choice(Ask::From, "source", [("paste", Answer::Pasted), ("file", Answer::InFile)], ""),
            Entry::text(
                Ask::Paste,
                "approval",
                "",
                "paste it now",
                "one long line; not shown, because it may contain a private key",
            ),
            Entry::text(Ask::File, "file", "", "~/key.approval", "written by `keyleash key export` or an SDK"),
            Entry::choice(Ask::Network, "check on", asks, "the chain says whether it can still be enabled")
                .chosen(&Answer::Network(only)),
            Entry::text(Ask::Label, "label", "", "optional", "a local name; a key you hold already keeps its own"),
            Entry::button(Ask::Go, "Inspect"),
        ]),
        held: 0,
        raw: false,
        step: Step::Form,
        failed: None,
        scroll: Scroll::default(),
    };
    state.fit();
    state.form.focus_on(Ask::Paste);
    Box::new(state)
}

impl State {
    fn fit(&mut self) {
        let file = self.form.is(Ask::From, &Answer::InFile);
        self.form.show(Ask::Paste, !file);
        self.form.show(Ask::File, file);
        self.form.settle();
    }

    fn source(&self) -> ApprovalSource {
        let network = match self.form.chosen(Ask::Network) {
            Some(Answer::Network(name)) => name.clone(),
            _ => None,
        };
        let file = self.form.is(Ask::From, &Answer::InFile).then(|| self.form.text(Ask::File));
        ApprovalSource { file, network }
    }

    fn look(&mut self, cx: &mut Cx<'_>) {
        self.failed = None;
        let source = self.source();
        if source.file.as_ref().is_some_and(String::is_empty) {
            return self.form.refuse(Ask::File, "enter a file name".into());
        }
        if source.file.is_none() && self.held == 0 {
            return self.form.refuse(Ask::Paste, "paste the approval first".into());
        }
        if let (false, Err(error)) =
            (self.form.text(Ask::Label).is_empty(), check_label("the label", &self.form.text(Ask::Label)))
        {
            return self.form.refuse(Ask::Label, error.message);
        }
        let job = cx.jobs.start("reading the approval", false);
        cx.effects.push(Effect::InspectApproval { job, source });
        self.step = Step::Reading(job);
    }

    fn import(&mut self, found: Vec<Inspection>, cx: &mut Cx<'_>) {
        if let Some(error) = found.iter().find_map(Inspection::unverified) {
            *cx.notice = Some(match found.iter().any(|f| f.recognised.is_some()) {
                true => Notice::failure(&error),
                false => Notice::trouble("not verified: no owner's signature over this scope was found"),
            });
            self.step = Step::Shown(found);
            return;
        }
        let label = Some(self.form.text(Ask::Label)).filter(|l| !l.is_empty());
        let job = cx.jobs.start_change("importing the approval");
        cx.effects.push(Effect::ImportApproval { job, source: self.source(), label });
        self.step = Step::Importing(job, found);
    }

    fn rows(&self) -> Vec<Row> {
        match &self.step {
            Step::Form => Vec::new(),
            Step::Reading(_) => vec![Row::Head("Reading the approval…".into())],
            Step::Importing(..) => vec![
                Row::Head("Importing…".into()),
                Row::Dim("Esc goes back; this continues, and the key will be in the list.".into()),
            ],
            Step::Imported(_, rows) => rows.clone(),
            Step::Shown(found) => {
                let mut rows = Vec::new();
                for one in found {
                    rows.extend(sheet_of(one, self.raw));
                    rows.push(Row::Blank);
                }
                rows
            }
        }
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::Form => self.form.places(),
            Step::Shown(_) => vec![Place::Approval, Place::Sheet],
            Step::Imported(..) => vec![Place::Imported, Place::Outcome, Place::Sheet],
            Step::Reading(_) | Step::Importing(..) => vec![Place::Sheet],
        }
    }

    fn field(&mut self) -> Option<&mut Field> {
        match (&self.step, self.form.focus()) {
            (Step::Form, Some(focus)) if focus != Ask::Paste => self.form.field(),
            _ => None,
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match &mut self.step {
            Step::Form if command == Command::Back => return Next::Back,
            Step::Form => match self.form.command(command) {
                FormEvent::Pressed(_) => self.look(cx),
                FormEvent::Turned(_) => self.fit(),
                FormEvent::Left(_) | FormEvent::Nothing => {}
            },
            Step::Reading(job) if command == Command::Back => {
                cx.jobs.cancel(*job, cx.effects);
                self.step = Step::Form;
            }
            Step::Shown(_) if command == Command::Back => self.step = Step::Form,
            Step::Shown(found) if command == Command::Open => {
                let found = std::mem::take(found);
                self.import(found, cx);
            }
            Step::Imported(key, _) if command == Command::Send => {
                return Next::Open(Destination::SendAsKey { key: key.clone() });
            }
            Step::Imported(..) | Step::Importing(..) if command == Command::Back => return Next::Back,
            _ if command == Command::Raw => self.raw = !self.raw,
            _ => {
                let lines = sheet::lay_out(&self.rows(), sheet::columns(cx.body), cx.theme).len();
                self.scroll.command(command, lines, usize::from(cx.body.height));
            }
        }
        Next::Stay
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        self.form.edited();
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if !matches!(self.step, Step::Reading(waiting) | Step::Importing(waiting, _) if waiting == job) {
            return false;
        }
        *cx.notice = None;
        self.scroll = Scroll::default();
        match (report, std::mem::replace(&mut self.step, Step::Form)) {
            (Report::Inspected(found), _) => self.step = Step::Shown(found.clone()),
            (Report::ApprovalImported { keys, warnings }, _) => {
                let Some(key) = keys.last() else { return true };
                let mut rows = vec![
                    Row::Head(format!("{} imported", key.label)),
                    Row::Good(format!("{}: {}", key.state, key.state_reason)),
                ];
                rows.extend(warnings.iter().map(|w| Row::Caution(w.clone())));
                rows.push(Row::Blank);
                let next = if key.has_secret {
                    "press s to use it; it is listed under its account now"
                } else {
                    "its private key is not here: only its holder can use it"
                };
                rows.push(Row::Advice(next.into()));
                self.step = Step::Imported(key.key_id.clone(), rows);
            }
            (Report::Failed(error), Step::Importing(_, found)) => {
                *cx.notice = Some(Notice::failure(error));
                self.step = Step::Shown(found);
            }
            (Report::Failed(error), _) => self.failed = Some(error.clone()),
            (_, before) => {
                self.step = before;
                return false;
            }
        }
        true
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        if let Step::Reading(job) = &self.step {
            jobs.cancel(*job, effects);
        }
        effects.push(Effect::DropHeld);
    }

    fn holds_paste(&self) -> bool {
        matches!(self.step, Step::Form) && self.form.focus() == Some(Ask::Paste)
    }

    fn held(&mut self, characters: usize) {
        self.held = characters;
        self.form.mark(Ask::Paste, None);
        self.form.hint(Ask::Paste, "press ↵ to continue; pasting again replaces it");
        if let Some(row) = self.form.get_mut(Ask::Paste) {
            row.example(&format!("{characters} characters pasted"));
        }
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled("approval")
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        if !matches!(self.step, Step::Form) {
            sheet::render_rows(frame, area, &self.rows(), self.scroll, theme);
            return;
        }
        let columns = sheet::columns(area);
        let heading = [
            Row::Head("Inspect an approval".into()),
            Row::Dim(
                "What it allows, who signed it, and whether it can still be used. Nothing is imported yet.".into(),
            ),
            Row::Blank,
        ];
        let mut footing = Vec::new();
        if let Some(error) = &self.failed {
            footing.push(Row::Blank);
            footing.extend(failure_rows("The approval cannot be read", error));
        }
        let heading = sheet::lay_out(&heading, columns, theme);
        self.form.render(frame, area, heading, sheet::lay_out(&footing, columns, theme), theme);
    }
}

/// What was found, as for a key on record.
fn sheet_of(found: &Inspection, raw: bool) -> Vec<Row> {
    let verified = found.owner.filter(|_| found.verified == Some(true));
    let mut rows = vec![match verified {
        Some(_) => Row::Head(format!("An approval for {}", found.account)),
        None => Row::Head(format!("NOT VERIFIED: an approval for {}", found.account)),
    }];
    match verified {
        Some(owner) => rows.push(Row::Good(format!("signed by the account's owner {owner}"))),
        None => rows.push(Row::Bad("no owner's signature over this scope was found: do not rely on it".into())),
    }
    rows.push(Row::Text(format!("{}: {}", found.state, found.state_reason)));
    if found.has_secret {
        rows.push(Row::Bad("it contains the private key: whoever reads it can act".into()));
    }
    rows.push(Row::Blank);
    rows.push(Row::Head("What it allows".into()));
    rows.extend(found.sentences.iter().map(|s| Row::Item(s.clone())));
    rows.push(Row::Blank);
    if !found.risks.is_empty() || !found.warnings.is_empty() {
        rows.push(Row::Head("What could go wrong".into()));
        rows.extend(review::findings(&found.risks));
        rows.extend(found.warnings.iter().map(|w| Row::Caution(w.clone())));
        rows.push(Row::Blank);
    }
    rows.push(Row::Head("What was checked".into()));
    rows.extend(review::checked(&found.checked));
    rows.push(Row::Blank);
    rows.push(match found.session_key {
        Some(key) => Row::Fact("session key", key.to_string()),
        None => Row::Fact("session key", "unknown: the text does not say".into()),
    });
    if let Some(chain) = found.chain_id {
        rows.push(Row::Fact("chain", chain.to_string()));
    }
    if let Some(nonce) = &found.nonce {
        rows.push(Row::Fact("nonce", format!("{nonce}, enables {}", found.selector)));
    }
    if let (Some(kernel), Some(validator)) = (found.kernel_version, found.validator) {
        rows.push(Row::Fact("made for", format!("Kernel {kernel}, validator {validator} {}", validator.address())));
    }
    rows.push(Row::Fact("format", found.format.clone()));
    rows.extend(found.assumptions.iter().map(|a| Row::Dim(format!("assumed: {a}"))));
    if let Some(digest) = found.digest {
        rows.push(Row::Text("digest (EIP-712)".into()));
        rows.push(Row::Note(digest.to_string()));
    }
    if raw {
        rows.push(Row::Blank);
        rows.extend(raw_rows(&found.permissions, None));
    }
    rows
}
