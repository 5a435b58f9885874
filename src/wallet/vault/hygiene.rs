//! Keeps the memory of this process out of core files and away from other processes of the same user.

use std::io;

/// Why the process could not be shielded. Not a reason to stop: the front end says it and goes on.
#[derive(Debug, thiserror::Error)]
pub enum HygieneError {
    #[error(
        "core dumps could not be switched off ({0}); run `ulimit -c 0` before keyleash so that a crash cannot write keys to disk"
    )]
    CoreLimit(io::Error),
    #[error(
        "this process could not be made undumpable ({0}); other programs of your user may be able to read its memory"
    )]
    Dumpable(io::Error),
}

/// To be called first in `main`, before any secret exists. Core files are limited to 0 bytes, and on Linux the process
/// is marked as not dumpable, which also refuses ptrace and /proc/PID/mem to other processes of the same user.
#[cfg(unix)]
pub fn shield_process() -> Result<(), HygieneError> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // Both are tried: the second one alone still keeps a crash from writing memory out.
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|e| HygieneError::Dumpable(e.into()))?;
    limited.map_err(|e| HygieneError::CoreLimit(e.into()))
}

/// Windows writes no core files unless the administrator asks for them; there is nothing to set without unsafe code.
#[cfg(not(unix))]
pub fn shield_process() -> Result<(), HygieneError> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_shielded_process_leaves_no_core_and_is_not_dumpable() {
        // The limits belong to a whole process, so the check runs in a child: this test, started again.
        if std::env::var_os("KEYLEASH_TEST_SHIELD").is_some() {
            shield_process().unwrap();
            let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
            let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
            assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
            let behavior = rustix::process::dumpable_behavior().unwrap();
            assert_eq!(behavior, rustix::process::DumpableBehavior::NotDumpable);
            return;
        }
        let name = "a_shielded_process_leaves_no_core_and_is_not_dumpable";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .arg(name)
            .env("KEYLEASH_TEST_SHIELD", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }
}
