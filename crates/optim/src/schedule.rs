//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

use crate::Error;

mod ramp;

pub use ramp::{Growth, Ramp};

/// A learning-rate schedule.
pub trait Schedule {
    /// Returns the learning rate of update step `step`, counted from 0.
    fn rate(&self, step: u64) -> f64;

    /// Number of update steps after which the rates repeat, if they do.
    fn period(&self) -> Option<u64> {
        None
    }
}

/// Declares the schedules that a setting can name: their modules, and the variants of [`ScheduleConfig`].
macro_rules! schedules {
    ($($(#[$attribute:meta])* $module:ident::$name:ident),* $(,)?) => {
        $(mod $module;)*

        $(pub use $module::$name;)*

        /// The schedules that a setting can name.
        ///
        /// In files, `kind` names the schedule, except for a cyclical one, which has only its settings.
        ///
        /// ```
        /// use klayer_optim::{Cosine, Schedule, ScheduleConfig};
        ///
        /// let schedule = ScheduleConfig::from(Cosine::new(0.1, 0.1, 1000)?);
        /// let json = r#"{"kind":"cosine","rate":0.1,"warmup":0.1,"steps":1000}"#;
        /// assert_eq!(serde_json::to_string(&schedule)?, json);
        /// let cyclical: ScheduleConfig = serde_json::from_str(r#"{"eta_min":0.0,"eta_max":0.1,"n_s":50}"#)?;
        /// assert_eq!((cyclical.rate(50), cyclical.period()), (0.1, Some(100)));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case", expecting = "a valid learning-rate schedule")]
        #[non_exhaustive]
        pub enum ScheduleConfig {
            $(
                #[doc = concat!("[`", stringify!($name), "`].")]
                $(#[$attribute])*
                $name($name),
            )*
        }

        impl Schedule for ScheduleConfig {
            fn rate(&self, step: u64) -> f64 {
                match self {
                    $(Self::$name(schedule) => schedule.rate(step),)*
                }
            }

            fn period(&self) -> Option<u64> {
                match self {
                    $(Self::$name(schedule) => schedule.period(),)*
                }
            }
        }

        $(
            impl From<$name> for ScheduleConfig {
                fn from(schedule: $name) -> Self {
                    Self::$name(schedule)
                }
            }
        )*
    };
}

schedules! {
    constant::Constant,
    cosine::Cosine,
    // Last, because it is the one without a `kind`.
    #[serde(untagged)]
    cyclical::Cyclical,
}

/// Returns `rate` if it is a learning rate.
fn checked_rate(rate: f64) -> Result<f64, Error> {
    if rate.is_finite() && rate >= 0.0 { Ok(rate) } else { Err(Error::Rate { rate }) }
}
