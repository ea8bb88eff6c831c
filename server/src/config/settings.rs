//! All settings of all sources, taken one by one by those who know them.

use super::{
    error::{ConfigError, ConfigErrors, Place},
    parse::Raw,
    source::{self, Entry, Sources},
};

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Settings that are yet to be taken, and what was wrong so far.
#[derive(Debug)]
pub(super) struct Settings {
    entries: Vec<Entry>,
    errors: Vec<ConfigError>,
}

impl Settings {
    /// Reads all sources.
    pub(super) fn new(sources: Sources) -> Self {
        let (entries, errors) = source::read(sources);
        Self { entries, errors }
    }

    /// Whether any source has this setting.
    pub(super) fn has(&self, setting: &str) -> bool {
        self.entries.iter().any(|entry| entry.setting == setting)
    }

    /// Takes a setting out of every source; the strongest one counts, all are checked.
    pub(super) fn take<T>(&mut self, setting: &str, parse: impl Fn(&Raw) -> Result<T, String>) -> Option<Placed<T>> {
        let mut strongest = None;
        for entry in self.entries.extract_if(.., |entry| entry.setting == setting) {
            let place = entry.place;
            match parse(&entry.raw) {
                Ok(value) => strongest = Some(Placed { value, place }),
                Err(message) => self.errors.push(ConfigError { place, message }),
            }
        }
        strongest
    }

    /// Takes a setting that has a default.
    pub(super) fn take_or<T>(
        &mut self,
        setting: &str,
        default: T,
        parse: impl Fn(&Raw) -> Result<T, String>,
    ) -> Placed<T> {
        self.take(setting, parse).unwrap_or_else(|| Placed {
            value: default,
            place: Place::Default(setting.to_owned()),
        })
    }

    /// Notes that a value does not fit, or not beside the others.
    pub(super) fn refuse(&mut self, place: &Place, message: impl Into<String>) {
        self.errors.push(ConfigError {
            place: place.clone(),
            message: message.into(),
        });
    }

    /// Refuses what nobody took, and reports everything.
    pub(super) fn finish(mut self) -> Result<(), ConfigErrors> {
        for entry in self.entries {
            self.errors.push(ConfigError {
                place: entry.place,
                message: "unknown setting".to_owned(),
            });
        }
        self.errors.sort();
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(ConfigErrors(self.errors)),
        }
    }
}
