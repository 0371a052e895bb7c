use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status of a program that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Whether the user wants the program to stop.
#[derive(Debug, Clone)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
}

impl Interrupt {
    /// One that nobody requests.
    pub fn never() -> Self {
        Self { requested: Arc::new(AtomicBool::new(false)) }
    }

    /// One that the first Ctrl-C or SIGTERM requests. The second ends the program at once.
    ///
    /// # Errors
    /// If the system refuses the handler, or there is one already.
    pub fn on_signal() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::never();
        let requested = Arc::clone(&interrupt.requested);
        ctrlc::set_handler(move || {
            if requested.swap(true, Ordering::Relaxed) {
                process::exit(INTERRUPTED);
            }
        })?;
        Ok(interrupt)
    }

    /// Whether the program shall stop.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// The status that an interrupted program ends with.
    pub fn status() -> process::ExitCode {
        process::ExitCode::from(INTERRUPTED as u8)
    }
}
