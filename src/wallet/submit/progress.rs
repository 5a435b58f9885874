//! Which phase a job is in, for people who wait.

/// Hears each phase as it begins. A closure is one; so is `()`, for callers that tell nobody.
pub trait Progress: Sync {
    fn phase(&self, name: &'static str);
}

impl Progress for () {
    fn phase(&self, _: &'static str) {}
}

impl<F: Fn(&'static str) + Sync> Progress for F {
    fn phase(&self, name: &'static str) {
        self(name);
    }
}
