//! What tells a process to stop: SIGTERM, and SIGINT from people.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Registered before anything is served, a signal that comes early neither kills the process nor is lost.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on these signals do not end the process by themselves. Must be called within a runtime.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn register() -> io::Result<Self> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next, which may have come already. Cancel safe.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
