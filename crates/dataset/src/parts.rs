use std::fmt;

use crate::{Part, Shape};

/// The most classes that labels of one byte can tell apart.
const MOST_CLASSES: usize = 256;

/// The three parts of a dataset. The validation and the test part may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Images to train on.
    pub training: Part,
    /// Images to choose settings with.
    pub validation: Part,
    /// Images for final results.
    pub test: Part,
}

/// Where the validation images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// They are the last of the training files.
    Last,
    /// They were drawn from the training images, for each class in proportion to its images.
    Drawn {
        /// The seed that they were drawn with.
        seed: u64,
    },
    /// They are a part of the dataset.
    Given,
    /// There are none: all training images are used for training.
    None,
}

/// The number of images in each part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Training images.
    pub training: usize,
    /// Validation images.
    pub validation: usize,
    /// Test images.
    pub test: usize,
}

/// The properties of a dataset that a network and the settings of its training must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// The shape of an image.
    pub shape: Shape,
    /// Number of classes.
    pub classes: usize,
    /// Number of training images.
    pub training: usize,
}

impl Split {
    /// `split`, or [`Split::None`] if there are no validation images.
    pub(crate) fn of(validation: &Part, split: Self) -> Self {
        if validation.is_empty() { Self::None } else { split }
    }
}

impl fmt::Display for Split {
    /// Formats as, for example, `drawn for each class with seed 42`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("the last images of the training files"),
            Self::Drawn { seed } => write!(f, "drawn for each class with seed {seed}"),
            Self::Given => f.write_str("as given"),
            Self::None => f.write_str("none: all training images are used for training"),
        }
    }
}

/// Says what is wrong with these class names.
pub(crate) fn check_classes(classes: &[String]) -> Result<(), String> {
    if !(2..=MOST_CLASSES).contains(&classes.len()) {
        let found = match classes.len() {
            1 => "1 class".to_owned(),
            n => format!("{n} classes"),
        };
        return Err(format!("found {found}, but a dataset must have from 2 to {MOST_CLASSES}"));
    }
    let mut sorted: Vec<_> = classes.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two classes have the name {:?}", pair[0])),
        None => Ok(()),
    }
}

impl Parts {
    /// The parts with their names.
    pub(crate) fn named(&self) -> [(&'static str, &Part); 3] {
        [("training", &self.training), ("validation", &self.validation), ("test", &self.test)]
    }

    /// Says what is wrong with a dataset of these classes and parts.
    pub(crate) fn check(&self, classes: &[String]) -> Result<(), String> {
        check_classes(classes)?;
        let shape = self.training.shape;
        for (name, part) in self.named() {
            if part.shape != shape {
                return Err(format!("the {name} images are {}, but the training images are {shape}", part.shape));
            }
            let labels = part.labels.iter().enumerate();
            if let Some((image, label)) = labels.into_iter().find(|(_, label)| usize::from(**label) >= classes.len()) {
                let most = classes.len();
                return Err(format!("label {label} of {name} image {image} is out of range: must be below {most}"));
            }
        }
        match self.training.counts(classes.len()).iter().position(|&count| count == 0) {
            Some(empty) => Err(format!("the class {:?} has no training images", classes[empty])),
            None => Ok(()),
        }
    }
}
