//! A list, what is known of the chosen one, a form that adds one, and the review before one goes. Accounts, networks and the keys
//! made here are each this, in their own words.

use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use super::{
    Cx, Heading, Next, Screen, View,
    rows::failure_rows,
    stages::{Moved, Stage, Stages, Words},
};
use crate::{
    tui::{
        data::Data,
        form::{
            Field,
            page::{Form, FormEvent},
        },
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, JobId, Report},
        widget::{
            list::moved,
            sheet::{self, Row, Scroll},
        },
    },
    wallet::error::Error,
};

/// Fewest rows that a list keeps beneath its introduction.
const FEWEST: usize = 4;

/// What is listed, and how one of it is added and goes.
pub trait Listing {
    /// The lines of the form.
    type Line: Copy + PartialEq;
    /// What the answers of its choices mean.
    type Answer: PartialEq;

    const TITLE: &'static str;
    /// Where the keys of the list have their meaning.
    const PLACE: Place;

    fn count(&self, data: &Data) -> usize;

    fn chosen(&self, data: &Data) -> usize;

    fn choose(&mut self, at: usize, data: &Data);

    /// Why nothing is listed, and what to do about it.
    fn empty(&self) -> &'static str;

    /// What the list is about, where that needs saying.
    fn intro(&self) -> Vec<Row> {
        Vec::new()
    }

    fn column_heads(&self, _columns: usize) -> Option<String> {
        None
    }

    fn line(&self, at: usize, columns: usize, view: &View<'_>) -> String;

    /// What is known of the chosen one.
    fn facts(&self, _: &Data) -> Vec<Row> {
        Vec::new()
    }

    /// The room for the list and, beneath, for so many lines of facts.
    fn split(&self, area: Rect, _facts: usize, _: &Data) -> (Rect, Rect) {
        (area, Rect { y: area.bottom(), height: 0, ..area })
    }

    /// A command of this list's own.
    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Act<Self::Line, Self::Answer>;

    /// Hears what every job has to say, before the form and the removal do.
    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> Heard<Self::Line, Self::Answer>;

    /// What is being read for the list; given up when it is left.
    fn reading(&self) -> Option<JobId> {
        None
    }

    fn form_heading(&self) -> Vec<Row>;

    /// Shows the lines that the answers so far ask for.
    fn fit(_: &mut Form<Self::Line, Self::Answer>) {}

    /// What is wrong with a line. Hidden ones are not asked about.
    fn check(form: &Form<Self::Line, Self::Answer>, line: Self::Line) -> Result<(), String>;

    /// What a form without anything wrong asks for.
    fn request(form: &Form<Self::Line, Self::Answer>) -> Option<Request>;

    /// What is said while it is added.
    fn adding(&self) -> Vec<Row>;

    /// Takes in what was added; answers whether this report says so.
    fn added(&mut self, report: &Report, cx: &mut Cx<'_>) -> bool;

    /// How the chosen one goes, where it can.
    fn removal(&self, _: &mut Cx<'_>) -> Option<Removal> {
        None
    }
}

/// What the list made of a command.
pub enum Act<L, A> {
    /// It is for every list.
    NotMine,
    Stay,
    Go(Next),
    /// Shows the chosen one on the whole screen.
    Look,
    Form(Form<L, A>),
}

/// What the list made of a report.
pub enum Heard<L, A> {
    NotMine,
    Taken,
    Look,
    Form(Form<L, A>),
}

/// A job that changes records here.
pub struct Request {
    pub name: String,
    pub effect: Box<dyn FnOnce(JobId) -> Effect>,
}

/// Everything that is said about a removal, and what does it.
pub struct Removal {
    pub review: Vec<Row>,
    /// What `y` does.
    pub verb: &'static str,
    pub request: Request,
    pub running: Vec<Row>,
    pub done: Vec<Row>,
    /// The heading where it did not work.
    pub failed: String,
}

enum Step<L, A> {
    List,
    Look(Scroll),
    Form(Box<Form<L, A>>, Option<Error>),
    Adding(Box<Form<L, A>>, JobId),
    Removing(Box<Removing>),
}

struct Removing {
    stages: Stages,
    /// Until it was confirmed.
    request: Option<Request>,
    done: Vec<Row>,
    failed: String,
}

pub struct ListForms<T: Listing> {
    listing: T,
    step: Step<T::Line, T::Answer>,
}

impl<T: Listing> ListForms<T> {
    pub const fn new(listing: T) -> Self {
        Self { listing, step: Step::List }
    }

    fn in_list(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match self.listing.command(command, cx) {
            Act::Stay => {}
            Act::Go(next) => return next,
            Act::Look => self.step = Step::Look(Scroll::default()),
            Act::Form(form) => self.step = Step::Form(Box::new(form), None),
            Act::NotMine => match command {
                Command::Back => return Next::Back,
                Command::Open if !self.listing.facts(cx.data).is_empty() => self.step = Step::Look(Scroll::default()),
                Command::Remove => {
                    if let Some(removal) = self.listing.removal(cx) {
                        self.step = Step::Removing(Box::new(Removing::new(removal)));
                    }
                }
                command => {
                    let page = usize::from(cx.body.height).saturating_sub(1).max(1);
                    let to = moved(command, self.listing.chosen(cx.data), self.listing.count(cx.data), page);
                    self.listing.choose(to, cx.data);
                }
            },
        }
        Next::Stay
    }

    fn submit(&mut self, cx: &mut Cx<'_>) {
        let Step::Form(form, failed) = &mut self.step else { return };
        *failed = None;
        let lines: Vec<T::Line> = form.rows.iter().filter(|r| !r.hidden).map(|r| r.key).collect();
        for line in lines {
            if let Err(why) = T::check(form, line) {
                form.refuse(line, why);
                return;
            }
        }
        if let Some(request) = T::request(form) {
            let job = request.start(cx);
            let form = std::mem::replace(form, Box::new(Form::new(Vec::new())));
            self.step = Step::Adding(form, job);
        }
    }

    fn list(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let (theme, data) = (view.theme, view.data);
        let (count, at) = (self.listing.count(data), self.listing.chosen(data));
        let facts = self.listing.facts(data);
        let wanted = sheet::lay_out(&facts, sheet::columns(area), theme).len();
        let (list, below) = self.listing.split(area, wanted, data);
        let mut lines: Vec<Line<'_>> = sheet::lay_out(&self.listing.intro(), sheet::columns(list), theme);
        // On a small screen the list matters more.
        if lines.len() + FEWEST > usize::from(list.height) {
            lines.clear();
        }
        for line in &mut lines {
            line.spans.insert(0, " ".into());
        }
        let columns = usize::from(list.width).saturating_sub(2);
        lines.extend(self.listing.column_heads(columns).map(|heads| Line::styled(format!("   {heads}"), theme.dim())));
        let height = usize::from(list.height).saturating_sub(lines.len());
        let top = (at + 1).saturating_sub(height.max(1));
        for i in top..count.min(top + height) {
            let (mark, style) = if i == at { ("▸", theme.selected()) } else { (" ", theme.plain()) };
            lines.push(Line::styled(format!(" {mark} {}", self.listing.line(i, columns, view)), style));
        }
        if count == 0 {
            lines.push(Line::styled(format!("   {}", self.listing.empty()), theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), list);
        if !facts.is_empty() {
            sheet::render_rows(frame, below, &facts, Scroll::default(), theme);
        }
    }
}

impl Request {
    fn start(self, cx: &mut Cx<'_>) -> JobId {
        let job = cx.jobs.start_change(self.name);
        cx.effects.push((self.effect)(job));
        job
    }
}

impl Removing {
    fn new(removal: Removal) -> Self {
        let Removal { review, verb, request, running, done, failed } = removal;
        let words = Words { running, meanwhile: "Esc returns to the list; this continues.", ..Words::default() };
        Self { stages: Stages::unplanned(words, verb, review), request: Some(request), done, failed }
    }
}

impl<T: Listing> Screen for ListForms<T> {
    fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::List => vec![T::PLACE, Place::List],
            Step::Look(_) => vec![T::PLACE, Place::Sheet],
            Step::Form(form, _) => form.places(),
            Step::Adding(..) => vec![Place::Sheet],
            Step::Removing(removing) => removing.stages.places(),
        }
    }

    fn field(&mut self) -> Option<&mut Field> {
        match &mut self.step {
            Step::Form(form, _) => form.field(),
            _ => None,
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match &mut self.step {
            Step::List => return self.in_list(command, cx),
            Step::Look(_) | Step::Form(..) if command == Command::Back => self.step = Step::List,
            Step::Look(scroll) => {
                let facts = self.listing.facts(cx.data);
                let lines = sheet::lay_out(&facts, sheet::columns(cx.body), cx.theme).len();
                if !scroll.command(command, lines, usize::from(cx.body.height)) {
                    return self.in_list(command, cx);
                }
            }
            Step::Form(form, _) => match form.command(command) {
                FormEvent::Nothing => {}
                FormEvent::Left(line) => {
                    let shown = form.get(line).is_some_and(|row| !row.hidden);
                    form.mark(line, if shown { T::check(form, line).err() } else { None });
                }
                FormEvent::Turned(_) => T::fit(form),
                FormEvent::Pressed(_) => self.submit(cx),
            },
            // It goes on: records may have changed already, and what it comes to belongs to the view.
            Step::Adding(..) if command == Command::Back => self.step = Step::List,
            Step::Adding(..) => {}
            Step::Removing(removing) => match removing.stages.command(command, cx) {
                Moved::Stay => {}
                Moved::Undone | Moved::Back => self.step = Step::List,
                Moved::Confirmed(_) => {
                    if let Some(request) = removing.request.take() {
                        let job = request.start(cx);
                        removing.stages.go(Stage::Running(job));
                    }
                }
            },
        }
        Next::Stay
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        if let Step::Form(form, _) = &mut self.step {
            form.edited();
        }
    }

    fn resized(&mut self, _: &mut Cx<'_>) {
        if let Step::Removing(removing) = &mut self.step {
            removing.stages.resized();
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        let at = self.listing.chosen(cx.data);
        self.listing.choose(at, cx.data);
    }

    fn drawn(&mut self, cx: &mut Cx<'_>) {
        if let Step::Removing(removing) = &mut self.step {
            removing.stages.drawn(cx);
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        match self.listing.report(job, report, cx) {
            Heard::NotMine => {}
            Heard::Taken => return true,
            Heard::Look => {
                if matches!(self.step, Step::List) {
                    self.step = Step::Look(Scroll::default());
                }
                return true;
            }
            Heard::Form(form) => {
                if matches!(self.step, Step::List) {
                    self.step = Step::Form(Box::new(form), None);
                }
                return true;
            }
        }
        match &mut self.step {
            Step::Adding(form, waiting) if *waiting == job => match report {
                Report::Failed(error) => {
                    // Back to the form, with everything that was typed.
                    let form = std::mem::replace(form, Box::new(Form::new(Vec::new())));
                    self.step = Step::Form(form, Some(error.clone()));
                    true
                }
                report => {
                    let added = self.listing.added(report, cx);
                    if added {
                        self.step = Step::List;
                    }
                    added
                }
            },
            Step::Removing(removing) if removing.stages.waits_for(job) => {
                let stage = match report {
                    Report::Failed(error) => Stage::Failed(removing.failed.clone(), error.clone()),
                    _ => Stage::Done(removing.done.clone()),
                };
                removing.stages.go(stage);
                true
            }
            _ => false,
        }
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        if let Some(job) = self.listing.reading() {
            jobs.cancel(job, effects);
        }
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled(T::TITLE)
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        match &self.step {
            Step::List => self.list(view, frame, area),
            Step::Look(scroll) => sheet::render_rows(frame, area, &self.listing.facts(view.data), *scroll, theme),
            Step::Form(form, failed) => {
                let columns = sheet::columns(area);
                let failed = failed.iter().flat_map(|e| failure_rows("That did not work", e)).collect::<Vec<_>>();
                let heading = sheet::lay_out(&self.listing.form_heading(), columns, theme);
                form.render(frame, area, heading, sheet::lay_out(&failed, columns, theme), theme);
            }
            Step::Adding(..) => {
                sheet::render_rows(frame, area, &self.listing.adding(), Scroll::default(), theme);
            }
            Step::Removing(removing) => removing.stages.render(view, frame, area),
        }
    }
}
