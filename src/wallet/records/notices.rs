//! What a person should know about a command that went on all the same: records that cannot be written, an endpoint that is
//! asked in the clear, a folder that was open to others. And which nodes its answer rests on: what a node says of a chain is
//! only as true as the node.

use std::sync::{Arc, Mutex, PoisonError};

/// One remark, with a stable code for scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub code: &'static str,
    pub message: String,
}

/// Remarks of one opened profile; front ends take them and show them. Each is said once.
#[derive(Debug, Clone, Default)]
pub struct Notices(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    waiting: Vec<Remark>,
    before: Vec<Remark>,
    nodes: Vec<String>,
}

impl Notices {
    pub fn add(&self, code: &'static str, message: impl Into<String>) {
        let remark = Remark { code, message: message.into() };
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.before.contains(&remark) {
            said.before.push(remark.clone());
            said.waiting.push(remark);
        }
    }

    /// Scheme, host and port of a node that is asked.
    pub fn asks(&self, origin: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.nodes.iter().any(|node| node == origin) {
            said.nodes.push(origin.to_owned());
        }
    }

    /// The nodes that were asked so far.
    pub fn nodes(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).nodes.clone()
    }

    /// Those that were not taken yet.
    pub fn take(&self) -> Vec<Remark> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::Notices;

    #[test]
    fn each_remark_is_said_once() {
        let notices = Notices::default();
        let heard = notices.clone();
        notices.add("a", "one");
        notices.add("a", "one");
        notices.add("a", "two");
        assert_eq!(heard.take().len(), 2);
        notices.add("a", "one");
        assert_eq!(heard.take(), []);
    }
}
