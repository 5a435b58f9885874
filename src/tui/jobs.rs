//! What is under way, as far as the screen knows.

use super::message::{Effect, JobId};

/// A job under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub name: String,
    pub phase: &'static str,
    /// Something has left this machine, or may leave it: ending the program does not call it back.
    pub sends: bool,
    /// It changes records: it goes on when its screen is left, and what it comes to belongs to the model.
    pub changes: bool,
    /// Nobody has asked for it: nothing is said of it.
    pub quiet: bool,
}

#[derive(Debug, Default)]
pub struct Jobs {
    pub list: Vec<Job>,
    next: JobId,
}

impl Jobs {
    pub fn start(&mut self, name: impl Into<String>, sends: bool) -> JobId {
        self.next = self.next.wrapping_add(1);
        self.list.push(Job { id: self.next, name: name.into(), phase: "", sends, changes: false, quiet: false });
        self.next
    }

    /// A job that changes records here and sends nothing.
    pub fn start_change(&mut self, name: impl Into<String>) -> JobId {
        let id = self.start(name, false);
        if let Some(job) = self.list.last_mut() {
            job.changes = true;
        }
        id
    }

    /// A job that nobody has asked for.
    pub fn start_quiet(&mut self, name: impl Into<String>) -> JobId {
        let id = self.start(name, false);
        if let Some(job) = self.list.last_mut() {
            job.quiet = true;
        }
        id
    }

    /// What is under way for the person.
    pub fn shown(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.list.iter().filter(|j| !j.quiet)
    }

    /// The one way to stop waiting for a job; what was or may have been sent is never stopped. One that changes records stays
    /// on the list until it has really ended: it may have changed them before it was stopped.
    pub fn cancel(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.list.iter_mut().find(|j| j.id == id && !j.sends) else { return };
        effects.push(Effect::Cancel { job: id });
        if job.changes {
            job.phase = "stopping";
        } else {
            self.list.retain(|j| j.id != id);
        }
    }

    /// The job of this name that is under way.
    pub fn named(&self, name: &str) -> Option<JobId> {
        self.list.iter().find(|j| j.name == name).map(|j| j.id)
    }

    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.list.iter().find(|j| j.id == id)
    }
}
