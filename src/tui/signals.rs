//! Signals that end, stop and wake the program, as the loop waits for them.

use std::io;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To end, with the exit code shells expect.
    End(u8),
    /// We are back after a stop: the terminal may have been used by others.
    Continue,
}

#[cfg(unix)]
pub struct Signals {
    term: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    cont: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// To be called within the runtime.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            cont: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.term.recv() => Asked::End(143),
            _ = self.hangup.recv() => Asked::End(129),
            _ = self.interrupt.recv() => Asked::End(130),
            _ = self.cont.recv() => Asked::Continue,
        }
    }

    /// Stops this job as the shell's Ctrl-Z does, and returns when it goes on. Where no shell controls the job nothing is
    /// stopped (the kernel sees to that), and this returns soon.
    pub async fn stop(&mut self) {
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
        let _ = tokio::time::timeout(std::time::Duration::from_millis(300), self.cont.recv()).await;
    }
}

#[cfg(not(unix))]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub async fn next(&mut self) -> Asked {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Asked::End(130),
            Err(_) => std::future::pending().await,
        }
    }

    pub async fn stop(&mut self) {}
}
