//! The sources of settings, read into one list.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Place},
    parse::Raw,
};

const ENVIRONMENT_PREFIX: &str = "ARTIFACTD_";

/// Variables without a section. Others without one are not ours: Kubernetes, for
/// one, sets `ARTIFACTD_PORT` in every container beside a service of our name.
const ENVIRONMENT_WITHOUT_SECTION: [&str; 2] = ["data_dir", "master_key"];

/// Where settings are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file that `--config` names; it must exist.
    pub file: Option<PathBuf>,
    /// The file that is read when none is named, if it exists.
    pub default_file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags: their name, the setting that they set, and its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// One value of one setting.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) setting: String,
    pub(super) raw: Raw,
    pub(super) place: Place,
}

/// Reads all sources, the weakest first.
pub(super) fn read(sources: Sources) -> (Vec<Entry>, Vec<ConfigError>) {
    let mut read = Read::default();
    match (&sources.file, &sources.default_file) {
        (Some(file), _) => read.named_file(file),
        (None, Some(file)) => read.default_file(file),
        (None, None) => {}
    }
    for (name, value) in sources.environment {
        read.variable(name, value);
    }
    for (flag, setting, value) in sources.flags {
        read.entries.push(Entry {
            setting: setting.to_owned(),
            raw: Raw::Untyped(value),
            place: Place::Flag(flag.to_owned()),
        });
    }
    (read.entries, read.errors)
}

#[derive(Default)]
struct Read {
    entries: Vec<Entry>,
    errors: Vec<ConfigError>,
}

impl Read {
    fn named_file(&mut self, path: &Path) {
        match fs::read_to_string(path) {
            Ok(text) => self.file(path, &text),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn default_file(&mut self, path: &Path) {
        match fs::read_to_string(path) {
            Ok(text) => self.file(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let place = Place::File {
            file: path.display().to_string(),
            line: 0,
            setting: String::new(),
        };
        self.refuse(place, format!("cannot be read: {error}"));
    }

    fn file(&mut self, path: &Path, text: &str) {
        let file = File {
            name: path.display().to_string(),
            text,
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            self.table(&file, "", table.get_ref());
        }
        for error in errors {
            let place = file.place(error.span().map_or(0, |span| span.start), String::new());
            self.refuse(place, error.message().to_owned());
        }
    }

    fn table(&mut self, file: &File<'_>, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let setting = match section {
                "" => key.get_ref().to_string(),
                section => format!("{section}.{}", key.get_ref()),
            };
            match value.get_ref() {
                // A section may be empty, with all that it could say left to the defaults.
                DeValue::Table(inner) if !inner.is_empty() || SECTIONS.contains(&setting.as_str()) => {
                    self.table(file, &setting, inner)
                }
                _ => self.leaf(file, setting, key.span().start, value),
            }
        }
    }

    fn leaf(&mut self, file: &File<'_>, setting: String, at: usize, value: &Spanned<DeValue<'_>>) {
        let place = file.place(at, setting.clone());
        self.entries.push(Entry {
            setting,
            raw: Raw::of_toml(value.get_ref()),
            place,
        });
    }

    fn variable(&mut self, name: OsString, value: OsString) {
        let Some(name) = name.to_str().filter(|name| name.starts_with(ENVIRONMENT_PREFIX)) else {
            return;
        };
        let setting = name[ENVIRONMENT_PREFIX.len()..].to_lowercase().replace("__", ".");
        if !setting.contains('.') && !ENVIRONMENT_WITHOUT_SECTION.contains(&setting.as_str()) {
            return;
        }
        let place = Place::Environment(name.to_owned());
        match value.into_string() {
            // Compose files pass what is unset on as an empty value.
            Ok(value) if value.is_empty() => {}
            Ok(value) => self.entries.push(Entry {
                setting,
                raw: Raw::Untyped(value),
                place,
            }),
            Err(_) => self.refuse(place, "is not UTF-8".to_owned()),
        }
    }

    fn refuse(&mut self, place: Place, message: String) {
        self.errors.push(ConfigError { place, message });
    }
}

/// The sections of a file.
const SECTIONS: [&str; 5] = ["server", "database", "storage", "limits", "log"];

struct File<'a> {
    name: String,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, at: usize, setting: String) -> Place {
        let before = self.text.as_bytes().iter().take(at);
        Place::File {
            file: self.name.clone(),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            setting,
        }
    }
}
