use std::num::NonZeroUsize;
use std::thread;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use klayer_cli::Interrupt;
use klayer_dataset::{Shape, View};
use klayer_train::{Classifier, Error, Par, parse_count};

/// Number of images classified between two checks for an interrupt.
const BETWEEN_CHECKS: usize = 100;

/// Settings as options, and the command-line arguments that give the same settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings<C> {
    pub(crate) config: C,
    arguments: Vec<String>,
}

impl<C: Args> Args for Settings<C> {
    fn augment_args(command: Command) -> Command {
        C::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        C::augment_args_for_update(command)
    }
}

impl<C: Args> FromArgMatches for Settings<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let config = C::from_arg_matches(matches)?;
        let mut arguments = Vec::new();
        for arg in C::augment_args(Command::new("settings")).get_arguments() {
            // A default may conflict with a given option.
            if matches.value_source(arg.get_id().as_str()) == Some(ValueSource::DefaultValue) {
                continue;
            }
            let name = format!("--{}", arg.get_long().expect("settings have names"));
            let words: Vec<_> = matches.get_raw(arg.get_id().as_str()).into_iter().flatten().collect();
            match (arg.get_action().takes_values(), &words[..]) {
                (true, &[word]) => arguments.extend([name, word.to_string_lossy().into_owned()]),
                (false, &[word]) if word == "true" => arguments.push(name),
                _ => {}
            }
        }
        Ok(Self { config, arguments })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<C> Settings<C> {
    /// The options as command-line arguments.
    pub(crate) fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }
}

/// Options for the number of threads.
#[derive(Debug, Clone, Args)]
pub(crate) struct ThreadArgs {
    /// Number of threads; has no effect on the results [default: all cores]
    #[arg(long, value_parser = parse_count::<NonZeroUsize>)]
    pub(crate) threads: Option<NonZeroUsize>,
}

impl ThreadArgs {
    pub(crate) fn count(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }

    /// Rejects more threads than the system can run.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Ok(Par::check(self.count())?)
    }

    pub(crate) fn par(&self) -> Result<Par, Error> {
        Ok(Par::threads(self.count())?)
    }
}

/// Parses a count of at least 1.
pub(crate) fn parse_positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected an integer of at least 1".to_owned())
}

/// The option for views.
#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// Classify by the mean probability over shifted and mirrored views of each image: 18 views, or 9 without mirroring
    ///
    /// The views are shifted by -2, 0 and 2 pixels in both directions; beyond its edges, an image is mirrored. Mirroring
    /// does not suit images in which left and right matter, such as digits.
    #[arg(long, value_name = "VIEWS", num_args = 0..=1, require_equals = true, default_missing_value = "18",
        value_parser = ["18", "9"])]
    views: Option<String>,
}

impl ViewArgs {
    /// The requested views of images of `shape`.
    pub(crate) fn of(&self, shape: Shape) -> Result<RequestedViews, klayer_dataset::Error> {
        let views = self.views.as_ref().map(|views| View::all(shape, views == "18", &View::SHIFTS)).transpose()?;
        Ok(RequestedViews { shape, views })
    }
}

/// The requested views of images of one shape.
pub(crate) struct RequestedViews {
    shape: Shape,
    /// `None` without --views.
    views: Option<Vec<View>>,
}

impl RequestedViews {
    /// Number of views of an image; 1 without --views.
    pub(crate) fn count(&self) -> usize {
        self.views.as_ref().map_or(1, Vec::len)
    }

    /// Classifies images over these views: the probability of each class for each image.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the user interrupts.
    pub(crate) fn probabilities<'i>(
        &self,
        classifier: &mut Classifier<'_>,
        images: impl IntoIterator<Item = &'i [u8]>,
        par: &Par,
        interrupt: &Interrupt,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let images: Vec<_> = images.into_iter().collect();
        let mut probabilities = Vec::with_capacity(images.len());
        for images in images.chunks(BETWEEN_CHECKS) {
            if interrupt.requested() {
                return Err(Error::Cancelled);
            }
            let images = images.iter().copied();
            probabilities.extend(par.install(|| match &self.views {
                Some(views) => classifier.view_probabilities(images, self.shape, views),
                None => classifier.probabilities(images),
            })?);
        }
        Ok(probabilities)
    }
}
