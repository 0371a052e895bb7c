use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A request to stop the program, set by Ctrl-C or SIGTERM.
#[derive(Debug, Clone)]
pub struct Interrupt {
    /// Number of the received signal, or 0.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Creates an interrupt that is never requested.
    pub fn never() -> Self {
        Self { signal: Arc::default() }
    }

    /// Creates an interrupt that the first Ctrl-C (SIGINT) or SIGTERM requests. The second signal ends the program at
    /// once.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn on_signal() -> io::Result<Self> {
        let interrupt = Self::never();
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal must not find `again` set.
            flag::register_conditional_shutdown(signal, status(signal as usize).into(), Arc::clone(&again))?;
            flag::register_usize(signal, Arc::clone(&interrupt.signal), signal as usize)?;
            flag::register(signal, Arc::clone(&again))?;
        }
        Ok(interrupt)
    }

    /// Whether the program should stop.
    pub fn requested(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// The exit status for the received signal: 130 for Ctrl-C, 143 for SIGTERM.
    pub fn status(&self) -> ExitCode {
        ExitCode::from(status(self.signal.load(Ordering::Relaxed)))
    }
}

/// The exit status by which shells report a program ended by `signal`.
fn status(signal: usize) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX))
}
