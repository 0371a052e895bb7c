use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the user wants the program to stop.
#[derive(Debug, Clone)]
pub struct Interrupt {
    /// The number of the signal that came; 0 before.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// One that nobody requests.
    pub fn never() -> Self {
        Self { signal: Arc::default() }
    }

    /// One that the first Ctrl-C (SIGINT) or SIGTERM requests. The second ends the program at once.
    ///
    /// # Errors
    /// If the system refuses the handler.
    pub fn on_signal() -> io::Result<Self> {
        let interrupt = Self::never();
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal of all must not find `again` set.
            flag::register_conditional_shutdown(signal, status(signal as usize).into(), Arc::clone(&again))?;
            flag::register_usize(signal, Arc::clone(&interrupt.signal), signal as usize)?;
            flag::register(signal, Arc::clone(&again))?;
        }
        Ok(interrupt)
    }

    /// Whether the program shall stop.
    pub fn requested(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// The status that a program ends with after the signal that has come: 130 for Ctrl-C, 143 for SIGTERM.
    pub fn status(&self) -> ExitCode {
        ExitCode::from(status(self.signal.load(Ordering::Relaxed)))
    }
}

/// The status that shells give a program that a signal has ended.
fn status(signal: usize) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX))
}
