//! What JSON values are, found by looking at them.

use std::{fmt, sync::Arc};

use arrow_schema::{DataType, Field, FieldRef};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What a value is, or what several are together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    Bool,
    Int,
    Float,
    Text,
    List(Box<Shape>),
    /// Names in the order in which they came first.
    Object(Vec<(String, Shape)>),
}

impl Shape {
    /// An object without names.
    pub(super) fn object() -> Self {
        Self::Object(Vec::new())
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Becomes what holds for both; fails with a name whose values are of kinds that do not mix.
    pub(super) fn merge(&mut self, other: Self) -> Result<(), String> {
        match (&mut *self, other) {
            (_, Self::Null) => {}
            (Self::Null, other) => *self = other,
            (Self::Int, Self::Float) => *self = Self::Float,
            (Self::Float, Self::Int) => {}
            (Self::List(one), Self::List(other)) => one.merge(*other)?,
            (Self::Object(one), Self::Object(other)) => {
                for (number, (name, shape)) in other.into_iter().enumerate() {
                    // Most objects have their names in one order.
                    let place = match one.get(number) {
                        Some((known, _)) if *known == name => Some(number),
                        _ => one.iter().position(|(known, _)| *known == name),
                    };
                    match place {
                        Some(place) => one[place].1.merge(shape).map_err(|inner| match inner.is_empty() {
                            true => name,
                            false => format!("{name}.{inner}"),
                        })?,
                        None => one.push((name, shape)),
                    }
                }
            }
            (one, other) if *one == other => {}
            _ => return Err(String::new()),
        }
        Ok(())
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::List(items) => DataType::List(Arc::new(Field::new_list_field(items.data_type(), true))),
            Self::Object(_) => DataType::Struct(self.into_fields().into()),
        }
    }

    /// The columns that an object is.
    pub(super) fn into_fields(self) -> Vec<FieldRef> {
        let Self::Object(names) = self else { return Vec::new() };
        let fields = names
            .into_iter()
            .map(|(name, shape)| Arc::new(Field::new(name, shape.data_type(), true)));
        fields.collect()
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Looking)
    }
}

struct Looking;

impl<'de> Visitor<'de> for Looking {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Int)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        Ok(if i64::try_from(number).is_ok() {
            Shape::Int
        } else {
            Shape::Float
        })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Float)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut shape = Shape::Null;
        while let Some(item) = items.next_element::<Shape>()? {
            shape.merge(item).map_err(mixed)?;
        }
        Ok(Shape::List(Box::new(shape)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut names: Vec<(String, Shape)> = Vec::new();
        while let Some((name, shape)) = entries.next_entry::<String, Shape>()? {
            if names.iter().any(|(known, _)| *known == name) {
                return Err(serde::de::Error::custom(format!("the name {name} is there twice")));
            }
            names.push((name, shape));
        }
        Ok(Shape::Object(names))
    }
}

fn mixed<E: serde::de::Error>(name: String) -> E {
    E::custom(format!("a list mixes kinds of values {name}"))
}
