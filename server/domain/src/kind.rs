//! Closed sets: what an artifact is, what was found in it, who sees it, what a save does.

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// Data: tables, arrays, images, text.
    #[default]
    Dataset,
    /// A trained model.
    Model,
    /// Code kept as an artifact.
    Code,
}

impl Kind {
    /// The integer that stands for it in the database.
    pub fn code(self) -> i16 {
        match self {
            Self::Dataset => 1,
            Self::Model => 2,
            Self::Code => 3,
        }
    }

    /// The kind that an integer in the database stands for.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::Dataset, Self::Model, Self::Code]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// What a name with a dtype is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Role {
    /// A feature: annotates datasets.
    #[default]
    Feature,
    /// A param: annotates models.
    Param,
}

impl Role {
    /// The integer that stands for it in the database.
    pub fn code(self) -> i16 {
        match self {
            Self::Feature => 1,
            Self::Param => 2,
        }
    }

    /// The role that an integer in the database stands for.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::Feature, Self::Param]
            .into_iter()
            .find(|role| role.code() == code)
    }

    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Feature => "feature",
            Self::Param => "param",
        }
    }

    /// The kind of artifact that it annotates.
    pub fn host(self) -> Kind {
        match self {
            Self::Feature => Kind::Dataset,
            Self::Param => Kind::Model,
        }
    }
}

/// What a look into the content of an artifact found, and so how it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accessor {
    /// A table: columns with names and types, and rows.
    DataFrame,
}

impl Accessor {
    /// The integer that stands for it in the database.
    pub fn code(self) -> i16 {
        match self {
            Self::DataFrame => 1,
        }
    }

    /// The accessor that an integer in the database stands for.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::DataFrame].into_iter().find(|accessor| accessor.code() == code)
    }

    /// Its name, as the model writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataFrame => "DataFrame",
        }
    }
}

/// Who sees an artifact without asking for it by uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// Shown everywhere.
    #[default]
    Default,
    /// Left out of lists and of look-ups by key or stem.
    Hidden,
    /// Deleted, and can be restored.
    Trash,
}

impl Visibility {
    /// The integer that stands for it in the database; the model's codes.
    pub fn code(self) -> i16 {
        match self {
            Self::Default => 1,
            Self::Hidden => 0,
            Self::Trash => -1,
        }
    }

    /// The visibility that an integer in the database stands for.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::Default, Self::Hidden, Self::Trash]
            .into_iter()
            .find(|visibility| visibility.code() == code)
    }
}

/// What to do when the same content is already an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IfContentExists {
    /// Answer the existing artifact unchanged.
    #[default]
    ReturnExisting,
    /// Make a new record on the same bytes.
    Create,
    /// Refuse.
    Fail,
}

/// What a save did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaveOutcome {
    /// A new family with its first version.
    Created,
    /// A new version of an existing family.
    NewVersion,
    /// Nothing new: the same content was there already.
    Existing,
}

impl SaveOutcome {
    /// Its name in stored answers and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::NewVersion => "new_version",
            Self::Existing => "existing",
        }
    }

    /// The outcome that a stored answer names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Created, Self::NewVersion, Self::Existing]
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_unknown_ones_are_none() {
        for kind in [Kind::Dataset, Kind::Model, Kind::Code] {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(
            Accessor::from_code(Accessor::DataFrame.code()),
            Some(Accessor::DataFrame)
        );
        for visibility in [Visibility::Default, Visibility::Hidden, Visibility::Trash] {
            assert_eq!(Visibility::from_code(visibility.code()), Some(visibility));
        }
        for role in [Role::Feature, Role::Param] {
            assert_eq!(Role::from_code(role.code()), Some(role));
        }
        for outcome in [SaveOutcome::Created, SaveOutcome::NewVersion, SaveOutcome::Existing] {
            assert_eq!(SaveOutcome::from_name(outcome.as_str()), Some(outcome));
        }
        assert_eq!(
            (Kind::from_code(0), Visibility::from_code(7), SaveOutcome::from_name("")),
            (None, None, None)
        );
    }
}
