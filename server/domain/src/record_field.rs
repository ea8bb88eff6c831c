//! What filters can test of the record around an artifact.
//!
//! | field or function | is |
//! |---|---|
//! | `features.x`, `params.x` | the values of a feature or param, typed as it says |
//! | `labels.Registry` | the names of its labels of a registry, also of those that are values of features |
//! | `run`, `run_uid` | the uid of the run that made it |
//! | `transform`, `transform_uid` | the key, stem or uid of the transform of that run |
//! | `collection` | the key, stem or uid of a collection that it is in; key and stem mean the latest version |
//! | `input_of("run")` | holds when the run has used it |
//! | `output_of("run")` | holds when the run has made it, made it again or changed it |
//! | `derived_from("artifact")` | holds when it was made out of the artifact, in any number of steps |
//!
//! Of labels `=` asks for the label itself, `:` for it or any that lies below it.

use std::collections::BTreeMap;

use crate::{
    ArtifactField, ArtifactFields, Dtype, Item, Role,
    filter::{Comparator, Field, Filter, Function, Resolved, Schema, Subject, TimeUnit, Type, Unresolved},
};

/// Something in the record around an artifact, by the ids of its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordField {
    /// The values of a feature or param that is no categorical.
    Value {
        /// Its id.
        feature_id: i64,
        /// What its values are.
        holds: Held,
        /// Whether these are the items of lists.
        in_list: bool,
    },
    /// The labels that are values of a categorical.
    Category(i64),
    /// The same, and all above them.
    CategoryWithin(i64),
    /// Its labels of a registry.
    Labels(i64),
    /// The same, and all above them.
    LabelsWithin(i64),
    /// Whatever features or params it has.
    Annotated(Role),
    /// Whatever labels it has.
    Labelled,
    /// The run that made it.
    Run,
    /// The transform of that run.
    Transform,
    /// The collections that it is in.
    Collection,
    /// `input_of`
    InputOf,
    /// `output_of`
    OutputOf,
    /// `derived_from`
    DerivedFrom,
}

/// What the values of a feature are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Held {
    /// Whole numbers.
    Int,
    /// Finite floats.
    Float,
    /// True or false.
    Bool,
    /// Text.
    Text,
    /// Days since 1970.
    Date,
    /// Microseconds since 1970.
    Time,
    /// JSON objects.
    Dict,
}

impl RecordField {
    /// What it, or the map that it is in, is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value { .. } | Self::Category(_) | Self::CategoryWithin(_) | Self::Annotated(Role::Feature) => {
                "features"
            }
            Self::Annotated(Role::Param) => "params",
            Self::Labels(_) | Self::LabelsWithin(_) | Self::Labelled => "labels",
            Self::Run => "run",
            Self::Transform => "transform",
            Self::Collection => "collection",
            Self::InputOf => "input_of",
            Self::OutputOf => "output_of",
            Self::DerivedFrom => "derived_from",
        }
    }

    /// What a filter can ask of it.
    pub fn field(self) -> Field<ArtifactField> {
        let id = ArtifactField::Record(self);
        match self {
            Self::Value { holds, .. } => {
                let r#type = match holds {
                    Held::Int => Type::Int,
                    Held::Float => Type::Float,
                    Held::Bool => Type::Bool,
                    Held::Text => Type::Text,
                    Held::Date => Type::Date,
                    Held::Time => Type::Time(TimeUnit::Microsecond),
                    Held::Dict => Type::Opaque,
                };
                Field::new(id, r#type).repeated()
            }
            Self::Category(feature) => {
                let within = ArtifactField::Record(Self::CategoryWithin(feature));
                Field::new(id, Type::Text).repeated().has(within)
            }
            Self::Labels(registry) => {
                let within = ArtifactField::Record(Self::LabelsWithin(registry));
                Field::new(id, Type::Text).repeated().has(within)
            }
            Self::CategoryWithin(_) | Self::LabelsWithin(_) => Field::new(id, Type::Text).repeated(),
            Self::Run | Self::Transform => Field::new(id, Type::Name).nullable(),
            Self::Collection => Field::new(id, Type::Name).repeated(),
            Self::Annotated(_) | Self::Labelled | Self::InputOf | Self::OutputOf | Self::DerivedFrom => {
                Field::new(id, Type::Opaque).nullable()
            }
        }
    }
}

/// Names of the record that a filter mentions, to be looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentioned {
    /// Features.
    pub features: Vec<String>,
    /// Params.
    pub params: Vec<String>,
    /// Label registries.
    pub registries: Vec<String>,
}

impl Mentioned {
    /// What a filter mentions.
    pub fn of(filter: &Filter) -> Self {
        let mut mentioned = Self::default();
        for restriction in filter.restrictions() {
            let Subject::Field(name) = &restriction.subject else {
                continue;
            };
            let (map, rest) = match name.path().as_slice() {
                [map] => match &restriction.against {
                    Some((Comparator::Has, value)) if !value.is_pattern() => (*map, value.text.clone()),
                    _ => continue,
                },
                [map, rest @ ..] => (*map, rest.join(".")),
                [] => continue,
            };
            let names = match map {
                "features" => &mut mentioned.features,
                "params" => &mut mentioned.params,
                "labels" => &mut mentioned.registries,
                _ => continue,
            };
            if !names.contains(&rest) {
                names.push(rest);
            }
        }
        mentioned
    }
}

/// The fields of artifacts, and those of what a filter mentions of their record.
#[derive(Debug, Clone, Default)]
pub struct RecordFields {
    /// Ids and dtypes of features, by name.
    pub features: BTreeMap<String, (i64, Dtype)>,
    /// Ids and dtypes of params.
    pub params: BTreeMap<String, (i64, Dtype)>,
    /// Ids of label registries.
    pub registries: BTreeMap<String, i64>,
}

impl Schema for RecordFields {
    type Id = ArtifactField;

    fn field(&self, path: &[&str]) -> Result<Resolved<ArtifactField>, Unresolved> {
        let field = |record: RecordField| Resolved::Field(record.field());
        let map = |record| Resolved::Map(ArtifactField::Record(record));
        let unknown = |what: &str| Unresolved::Because(format!("is not registered: no {what} has this name"));
        let of_feature = |known: &BTreeMap<String, (i64, Dtype)>, name: &[&str], what| {
            let found = known.get(&name.join("."));
            found
                .map(|(id, dtype)| field(of_dtype(*id, dtype)))
                .ok_or_else(|| unknown(what))
        };
        match path {
            ["features"] => Ok(map(RecordField::Annotated(Role::Feature))),
            ["params"] => Ok(map(RecordField::Annotated(Role::Param))),
            ["labels"] => Ok(map(RecordField::Labelled)),
            ["features", name @ ..] => of_feature(&self.features, name, "feature"),
            ["params", name @ ..] => of_feature(&self.params, name, "param"),
            ["labels", name @ ..] => {
                let found = self.registries.get(&name.join("."));
                let found = found.ok_or_else(|| unknown("label registry"))?;
                Ok(field(RecordField::Labels(*found)))
            }
            ["run" | "run_uid"] => Ok(field(RecordField::Run)),
            ["transform" | "transform_uid"] => Ok(field(RecordField::Transform)),
            ["collection"] => Ok(field(RecordField::Collection)),
            other => ArtifactFields.field(other),
        }
    }

    fn function(&self, path: &[&str]) -> Option<Function<ArtifactField>> {
        let record = match path {
            ["input_of"] => RecordField::InputOf,
            ["output_of"] => RecordField::OutputOf,
            ["derived_from"] => RecordField::DerivedFrom,
            _ => return None,
        };
        Some(Function {
            id: ArtifactField::Record(record),
            arguments: vec![Type::Name],
        })
    }

    fn names(&self) -> Vec<String> {
        let own = ["features", "params", "labels", "run", "transform", "collection"];
        let own = own.into_iter().map(str::to_owned);
        ArtifactFields.names().into_iter().chain(own).collect()
    }
}

fn of_dtype(feature_id: i64, dtype: &Dtype) -> RecordField {
    let holds = match dtype.item {
        Item::Cat(_) => return RecordField::Category(feature_id),
        Item::Int => Held::Int,
        Item::Float => Held::Float,
        Item::Bool => Held::Bool,
        Item::Str | Item::Url => Held::Text,
        Item::Date => Held::Date,
        Item::DateTime => Held::Time,
        Item::Dict => Held::Dict,
    };
    RecordField::Value {
        feature_id,
        holds,
        in_list: dtype.is_list,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Comparison, Predicate, Test, Value};

    fn fields() -> RecordFields {
        let dtype = |text: &str| -> Dtype { text.parse().unwrap() };
        RecordFields {
            features: BTreeMap::from([
                ("temperature".to_owned(), (1, dtype("float"))),
                ("n.genes".to_owned(), (2, dtype("int"))),
                ("species".to_owned(), (3, dtype("cat[Organism]"))),
                ("extra".to_owned(), (4, dtype("dict"))),
            ]),
            params: BTreeMap::from([("lr".to_owned(), (5, dtype("float")))]),
            registries: BTreeMap::from([("CellType".to_owned(), 6)]),
        }
    }

    fn checked(text: &str) -> Result<Predicate<ArtifactField>, String> {
        let filter: Filter = text.parse().unwrap();
        filter.check(&fields()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_filter_mentions_what_has_to_be_looked_up() {
        let text = "features.x > 1 AND (features:y OR params.lr = 0.1) AND labels.CellType:'T cell' AND features.\"n.g\":* \
                    AND -params:* AND NOT features.x = 2 AND size > 1";
        let mentioned = Mentioned::of(&text.parse().unwrap());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            mentioned,
            Mentioned {
                features: names(&["x", "y", "n.g"]),
                params: names(&["lr"]),
                registries: names(&["CellType"]),
            }
        );
    }

    #[test]
    fn a_colon_asks_for_a_label_or_what_lies_below_it() {
        let tested = |text: &str| match checked(text).unwrap() {
            Predicate::Is(Test::Compare(field, Comparison::Equal, Value::Text(name))) => (field.id, name),
            other => panic!("{other:?}"),
        };
        let (exact, _) = tested("labels.CellType = 'T cell'");
        assert_eq!(exact, ArtifactField::Record(RecordField::Labels(6)));
        let (within, name) = tested("labels.CellType:'T cell'");
        assert_eq!(within, ArtifactField::Record(RecordField::LabelsWithin(6)));
        assert_eq!(name, "T cell");
        let (within, _) = tested("features.species:iris");
        assert_eq!(within, ArtifactField::Record(RecordField::CategoryWithin(3)));
    }

    #[test]
    fn faults_say_where_and_why() {
        for (text, message) in [
            (
                "size > 1 AND features.humidity > 1",
                "at character 14: `features.humidity` is not registered: no feature has this name",
            ),
            (
                "labels.Tissue = x",
                "at character 1: `labels.Tissue` is not registered: no label registry has this name",
            ),
            (
                "features.temperature = warm",
                "at character 24: `features.temperature` takes a number, not `warm`",
            ),
            (
                "features.extra = 1",
                "at character 18: `features.extra` takes no value, it is tested by `:*` only, not `1`",
            ),
            (
                "run > x",
                "at character 5: `>` does not go with `run`, which is a name: it has only `=`, `!=` and `:*`",
            ),
            (
                "features = 1",
                "at character 10: `features` is a map: write `features:name`, or `features.name = value`",
            ),
            (
                "input_of(a, b)",
                "at character 1: the function `input_of` takes 1 values, not 2",
            ),
            ("used_by(a)", "at character 1: there is no function `used_by`"),
            (
                "colection = a",
                "at character 1: there is no field `colection`; did you mean `collection`?",
            ),
        ] {
            assert_eq!(checked(text), Err(message.to_owned()), "{text}");
        }
        for text in [
            "features.n.genes = 9007199254740993",
            "features:*",
            "-features.extra:*",
            "params:lr",
            "size > 1",
        ] {
            assert!(checked(text).is_ok(), "{text}");
        }
    }
}
