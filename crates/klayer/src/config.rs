//! Settings of a command as a TOML file: `--config` reads one, `--recipe` is one that comes with klayer, and
//! `--print-config` prints one.
//!
//! The keys are the names of the command's options. A setting is applied as if it had been given on the command line,
//! unless the command line sets the same option or one that conflicts with it.

use std::env;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use klayer_store::files;
use toml::{Table, Value};

use crate::Error;
use crate::recipe::Recipe;

/// Maximum size of a settings file, in bytes.
const LONGEST: u64 = 1 << 20;

/// Options for reading and printing settings files.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Read settings from a TOML file
    ///
    /// The keys are the names of the options. Options on the command line override the file; for example,
    /// --no-bn=false turns off a flag that the file turns on.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print all settings as a TOML file for --config and exit
    ///
    /// The file reproduces the run exactly. Invalid settings are an error. Without --data or --synthetic, the file does
    /// not contain the location of the images.
    #[arg(long)]
    print_config: bool,
}

/// The parser `command` for settings files: its options accept values that start with a minus, so that an invalid
/// negative number gets a specific error. Flags accept `=false`, which overrides a settings file.
pub(crate) fn settable(command: Command) -> Command {
    let flag = |arg: Arg| {
        let arg = arg.action(ArgAction::Set).value_name("BOOL").num_args(0..=1).require_equals(true);
        arg.hide_default_value(true).hide_possible_values(true)
    };
    let each = |arg: Arg| match arg.get_action() {
        ArgAction::SetTrue if arg.get_long().is_some() => {
            flag(arg).value_parser(clap::value_parser!(bool)).default_value("false").default_missing_value("true")
        }
        // A flag that turns a setting off.
        ArgAction::SetFalse => {
            let off = |text: &str| text.parse::<bool>().map(|off| !off).map_err(|_| "expected true or false");
            flag(arg).value_parser(off).default_value("false").default_missing_value("true")
        }
        action if action.takes_values() => arg.allow_negative_numbers(true),
        _ => arg,
    };
    command.mut_subcommands(|command| command.mut_args(each))
}

/// The command line of `command`, completed by the settings file. Exits with status 2 on usage errors.
pub(crate) fn matches(command: Command) -> ArgMatches {
    let typed: Vec<OsString> = env::args_os().collect();
    complete(settable(command), typed).unwrap_or_else(|error| error.exit())
}

/// The settings as a file, if `--print-config` is given.
pub(crate) fn printed(command: Command, matches: &ArgMatches) -> Option<Result<String, Error>> {
    let (name, given) = matches.subcommand()?;
    let asked = matches!(given.try_get_one("print_config"), Ok(Some(true)));
    asked.then(|| file(settable(command), name, given))
}

fn complete(mut command: Command, typed: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    let first = command.clone().ignore_errors(true).try_get_matches_from(&typed);
    let named = first.as_ref().ok().and_then(|first| first.subcommand());
    let Some((name, given, source)) = named.and_then(|(name, given)| Some((name, given, Source::of(given)?))) else {
        return command.try_get_matches_from(typed);
    };
    command.build();
    let subcommand = command.find_subcommand(name).expect("it was found").clone();
    let refuse = |reason: String| subcommand.clone().error(ErrorKind::ValueValidation, format!("{source}: {reason}"));
    let added = source.table().and_then(|table| switches(&subcommand, given, &table)).map_err(refuse)?;
    let place = typed.iter().skip(1).position(|word| word == name).map_or(typed.len(), |place| place + 2);
    let words = typed[..place].iter().cloned().chain(added.iter().map(OsString::from)).chain(typed[place..].to_vec());
    command.try_get_matches_from(words).map_err(|mut error| {
        if !added.is_empty() && error.get(ContextKind::Usage).is_some() {
            // Otherwise, the usage lists all settings of the file.
            error.insert(ContextKind::Usage, ContextValue::StyledStr(subcommand.clone().render_usage()));
        }
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.as_str(),
            _ => "",
        };
        let (switch, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
        let name = switch.split([' ', '[', '=']).next().unwrap_or_default();
        if added.iter().any(|word| *word == format!("{name}={value}")) {
            let told = error.to_string();
            let reason: Vec<_> = told.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            refuse(reason.join(" ").trim_start_matches("error: ").to_owned())
        } else {
            error
        }
    })
}

/// Settings besides those on the command line.
enum Source<'a> {
    File(&'a PathBuf),
    Recipe(&'a Recipe),
}

impl<'a> Source<'a> {
    /// The source that the options of a command name.
    fn of(given: &'a ArgMatches) -> Option<Self> {
        let file = given.try_get_one("config").ok().flatten().map(Self::File);
        file.or_else(|| given.try_get_one("recipe").ok().flatten().map(Self::Recipe))
    }

    fn table(&self) -> Result<Table, String> {
        let text = match self {
            Self::Recipe(recipe) => recipe.text().to_owned(),
            Self::File(path) => {
                let bytes = files::read(path, LONGEST).map_err(|error| match error {
                    klayer_store::Error::File { error, .. } => error.to_string(),
                    error => error.to_string(),
                })?;
                String::from_utf8(bytes).map_err(|error| error.to_string())?
            }
        };
        text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Recipe(recipe) => write!(f, "--recipe {recipe}"),
        }
    }
}

/// The settings of `table` as command-line arguments, without those overridden by the options in `given`.
fn switches(command: &Command, given: &ArgMatches, table: &Table) -> Result<Vec<String>, String> {
    let typed = |arg: &Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let mut switches = Vec::new();
    for (key, value) in table {
        let arg = settings(command).find(|arg| arg.get_long() == Some(key)).ok_or_else(|| {
            let names = settings(command).filter_map(Arg::get_long);
            let similar =
                names.map(|name| (strsim::jaro_winkler(name, key), name)).filter(|(likeness, _)| *likeness > 0.7);
            let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0));
            let hint = nearest.map_or(String::new(), |(_, name)| format!("; did you mean '{name}'?"));
            format!("unknown setting '{key}' of klayer {}{hint}", command.get_name())
        })?;
        let excludes = |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).contains(&other);
        if settings(command)
            .filter(|other| typed(other))
            .any(|other| other == arg || excludes(other, arg) || excludes(arg, other))
        {
            continue;
        }
        match value {
            Value::Boolean(given) if !is_flag(arg) && arg.get_num_args().is_some_and(|n| n.min_values() == 0) => {
                switches.extend(given.then(|| format!("--{key}")));
            }
            value if is_flag(arg) && !value.is_bool() => {
                return Err(format!("'{key}' must be true or false, not {value}"));
            }
            value => switches.push(format!("--{key}={}", word(key, value)?)),
        }
    }
    Ok(switches)
}

/// Whether the option is a flag.
fn is_flag(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == clap::value_parser!(bool).type_id()
}

/// A value as a command-line argument.
fn word(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(answer) => Ok(answer.to_string()),
        Value::Array(items) if items.is_empty() => Ok("none".to_owned()),
        Value::Array(items) => Ok(items.iter().map(|item| word(key, item)).collect::<Result<Vec<_>, _>>()?.join(",")),
        Value::Table(_) | Value::Datetime(_) => {
            Err(format!("'{key}' is a {}; expected a string, a number, a boolean or an array", value.type_str()))
        }
    }
}

/// The options that are settings.
fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    let about = ["help", "version", "config", "recipe", "print_config"];
    command.get_arguments().filter(move |arg| arg.get_long().is_some() && !about.contains(&arg.get_id().as_str()))
}

/// All settings of the command `name` as a file, including defaults.
fn file(mut command: Command, name: &str, given: &ArgMatches) -> Result<String, Error> {
    command.build();
    let command = command.find_subcommand(name).expect("it was found");
    let mut text = format!("# klayer {name} --config FILE, klayer {}\n", env!("CARGO_PKG_VERSION"));
    let source = |arg: &Arg| given.value_source(arg.get_id().as_str());
    let excludes = |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).contains(&other);
    for arg in settings(command) {
        let mut set = settings(command).filter(|other| source(other) == Some(ValueSource::CommandLine));
        if source(arg) == Some(ValueSource::DefaultValue) && set.any(|set| excludes(set, arg) || excludes(arg, set)) {
            continue;
        }
        let key = arg.get_long().expect("settings have names");
        let values = given.get_raw(arg.get_id().as_str()).into_iter().flatten();
        let no_text = || Error::NoText { switch: format!("--{key}") };
        let words: Vec<_> = values.map(|value| value.to_str().ok_or_else(no_text)).collect::<Result<_, _>>()?;
        if !words.is_empty() && words != ["false"] {
            let _ = writeln!(text, "{key} = {}", value(arg.get_value_parser(), &words.join(",")));
        }
    }
    Ok(text)
}

/// An argument as a value that [`word`] converts back to the same argument.
fn value(parser: &ValueParser, word: &str) -> Value {
    let is = |other: ValueParser| parser.type_id() == other.type_id();
    let number = || match (word.parse(), word.parse::<u64>()) {
        (Ok(number), _) => Some(Value::Integer(number)),
        // TOML integers are signed.
        (_, Ok(_)) => None,
        _ => word.parse().map(Value::Float).ok(),
    };
    let found = if is(clap::value_parser!(bool)) {
        word.parse().map(Value::Boolean).ok()
    } else if is(clap::value_parser!(String)) || is(clap::value_parser!(PathBuf)) {
        None
    } else if word.contains(',') {
        word.split(',')
            .map(|item| item.trim().parse().map(Value::Integer))
            .collect::<Result<_, _>>()
            .map(Value::Array)
            .ok()
    } else {
        number()
    };
    found.unwrap_or_else(|| Value::String(word.to_owned()))
}
