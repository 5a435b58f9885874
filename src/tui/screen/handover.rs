//! Handing an approval over, once it is signed or later: to a file (with the key itself, where it was made here), or to the clipboard.

use ratatui::{Frame, layout::Rect};

use super::{Cx, Next, View};
use crate::{
    protocol::Format,
    tui::{
        form::{
            Field,
            page::{Form, FormEvent, Row as Entry},
        },
        keymap::{Command, Place},
        message::{Effect, JobId, Notice, Report},
        widget::sheet::{self, Row},
    },
    wallet::usecase::key::KeyView,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    For,
    Secret,
    File,
    Write,
    Copy,
    Done,
}

/// What the answers of the choices mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    For(Format),
    WithSecret,
    WithoutSecret,
}

#[derive(Debug)]
pub struct Handover {
    key_id: String,
    label: String,
    heading: Vec<Row>,
    form: Form<Ask, Answer>,
    job: Option<JobId>,
    /// What came of the last button.
    said: Vec<Row>,
}

const FORMATS: [(&str, Answer); 2] =
    [("ZeroDev SDK 4 (@zerodev/sdk)", Answer::For(Format::V4)), ("@zerodev/session-key 5", Answer::For(Format::V5))];

impl Handover {
    pub fn new(key: &KeyView, heading: Vec<Row>) -> Self {
        let mut form = Form::new(vec![
            Entry::choice(Ask::For, "format", FORMATS, "keyleash reads both"),
            Entry::choice(
                Ask::Secret,
                "private key",
                [("include it in the file", Answer::WithSecret), ("keep it here", Answer::WithoutSecret)],
                "whoever reads it in the file can act. It never goes to the clipboard",
            ),
            Entry::text(
                Ask::File,
                "file",
                &format!("~/{}.approval", file_name(&key.label)),
                "~/key.approval",
                "readable only by you; ~/ works",
            ),
            Entry::button(Ask::Write, "Write the file"),
            Entry::button(Ask::Copy, "Copy to the clipboard"),
            Entry::button(Ask::Done, "Done"),
        ]);
        form.show(Ask::Secret, key.has_secret);
        form.focus_on(Ask::Write);
        Self { key_id: key.key_id.clone(), label: key.label.clone(), heading, form, job: None, said: Vec::new() }
    }

    pub fn places(&self) -> Vec<Place> {
        self.form.places()
    }

    pub fn field(&mut self) -> Option<&mut Field> {
        self.form.field()
    }

    pub fn edited(&mut self) {
        self.form.edited();
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if command == Command::Back {
            return Next::Back;
        }
        match self.form.command(command) {
            FormEvent::Pressed(Ask::Done) => return Next::Back,
            FormEvent::Pressed(Ask::Write) if self.job.is_none() => self.write(cx),
            FormEvent::Pressed(Ask::Copy) if self.job.is_none() => {
                let job = cx.jobs.start(format!("reading the approval of {}", self.label), false);
                cx.effects.push(Effect::ReadApproval { job, key: self.key_id.clone(), format: self.format() });
                self.job = Some(job);
            }
            FormEvent::Left(ask) => self.check(ask),
            _ => {}
        }
        Next::Stay
    }

    fn format(&self) -> Format {
        match self.form.chosen(Ask::For) {
            Some(Answer::For(format)) => *format,
            _ => Format::V4,
        }
    }

    fn check(&mut self, ask: Ask) {
        let missing = ask == Ask::File && self.form.text(Ask::File).is_empty();
        self.form.mark(ask, missing.then(|| "enter a file name".to_owned()));
    }

    fn write(&mut self, cx: &mut Cx<'_>) {
        let file = self.form.text(Ask::File);
        if file.is_empty() {
            self.form.refuse(Ask::File, "enter a file name".into());
            return;
        }
        let with_secret =
            self.form.get(Ask::Secret).is_some_and(|r| !r.hidden) && self.form.is(Ask::Secret, &Answer::WithSecret);
        let job = cx.jobs.start_change(format!("writing the approval of {}", self.label));
        let (key, format) = (self.key_id.clone(), self.format());
        cx.effects.push(Effect::Export { job, key, format, with_secret, file });
        self.job = Some(job);
    }

    pub fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if self.job != Some(job) {
            return false;
        }
        self.job = None;
        *cx.notice = None;
        self.said = match report {
            Report::Exported { file, with_secret } => {
                self.form.focus_on(Ask::Done);
                let mut rows = vec![Row::Good(format!("written to {file}"))];
                if *with_secret {
                    rows.push(Row::Caution(
                        "the file contains the private key: send it over a secure channel, then delete it".into(),
                    ));
                }
                rows.push(Row::Advice(
                    "its holder imports it with `keyleash agent import FILE`, or the SDK's deserializeSessionKeyParams"
                        .into(),
                ));
                rows
            }
            Report::ApprovalText(texts) => {
                cx.effects.push(Effect::Copy { text: texts.join("\n") });
                *cx.notice = Some(Notice::say("copied, if your terminal allows it"));
                vec![Row::Good("copied without the private key; if the clipboard stays empty, write the file".into())]
            }
            Report::Failed(error) => {
                let mut rows = vec![Row::Bad(error.message.clone())];
                rows.extend((!error.hint.is_empty()).then(|| Row::Advice(error.hint.clone())));
                rows
            }
            _ => return false,
        };
        true
    }

    pub fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let columns = sheet::columns(area);
        let mut heading = self.heading.clone();
        heading.push(Row::Blank);
        let mut said = self.said.clone();
        if !said.is_empty() {
            said.insert(0, Row::Blank);
        }
        let heading = sheet::lay_out(&heading, columns, view.theme);
        self.form.render(frame, area, heading, sheet::lay_out(&said, columns, view.theme), view.theme);
    }
}

/// A label as part of a file's name.
fn file_name(label: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = label.chars().map(safe).collect();
    name.trim_matches(['.', '-']).to_owned()
}
