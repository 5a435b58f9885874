//! Which family of session keys something is of.

/// Stored and shown by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    KernelV2,
}

impl Family {
    pub const ALL: [Self; 1] = [Self::KernelV2];

    pub const fn name(self) -> &'static str {
        match self {
            Self::KernelV2 => "kernel-v2",
        }
    }

    /// `None`: this version knows no such family.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}
